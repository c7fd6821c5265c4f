"""Cached scores equal fresh ones, a known pair is never scored again, and a full hit loads no engine."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import cache
from rerank_cli.cache import ScoreCache
from rerank_cli.errors import ModelError, RemoteError
from rerank_cli.records import Pair, Score
from rerank_cli.report import Report
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.cached import CachedScorer, CachePolicy, pair_keys, remote_policy
from rerank_cli.scorers.remote.scorer import PartialError
from rerank_cli.settings import Limits


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


# --- the scorer behind it -------------------------------------------------------------------------------------------

FACTS = ScorerInfo("m", None, "test", "fp64", "log-odds", lambda: "digest")


class Counting:
    """A scorer with the real interface; it says how often it was opened and asked."""

    def __init__(self, log, facts=FACTS, fail_at=None):
        self.log, self.info, self.fail_at = log, facts, fail_at
        log.append("open")

    def score(self, pairs, limits, advance=None):
        if self.fail_at is not None and sum(entry != "open" for entry in self.log) >= self.fail_at:
            raise ModelError("gone")
        self.log.append(len(pairs))
        if advance:
            advance(len(pairs))
        return [Score(float(len(pair.text)) + pair.title_chars, len(pair.query)) for pair in pairs]

    def usage(self):
        return {"search_units": 1.0}

    def close(self):
        self.log.append("close")


def cached(path, log, report=None, facts=FACTS, habits=None, **options):
    report = report or Report()
    return CachedScorer(
        facts, lambda: Counting(log, **options), ScoreCache(path, report), report, habits or CachePolicy(3)
    )


PAIRS = [Pair("q", "a"), Pair("q", "bb"), Pair("q", "a"), Pair("q", "a", 1), Pair("r", "a"), Pair("q", "")]


def test_a_full_hit_never_opens_the_scorer_and_gives_equal_scores(path):
    log, done = [], []
    scorer = cached(path, log)
    first = scorer.score(PAIRS, Limits(), done.append)
    scorer.close()
    assert log == ["open", 3, 2, "close"]  # the repeated pair is scored once
    assert sum(done) == len(PAIRS)
    again, report = [], Report()
    scorer = cached(path, again, report)
    assert scorer.score(PAIRS, Limits()) == first == Counting([]).score(PAIRS, Limits())
    assert scorer.usage() == {}
    assert scorer.info == FACTS
    scorer.close()
    assert again == []
    assert report.counts == {"cache_hits": 6}


def test_pairs_scored_before_a_failure_are_not_scored_again(path):
    log = []
    scorer = cached(path, log, fail_at=1)
    with pytest.raises(ModelError):
        scorer.score(PAIRS, Limits())
    scorer.close()
    scorer = cached(path, log := [])
    scorer.score(PAIRS, Limits())
    scorer.close()
    assert log == ["open", 2, "close"]


def test_scores_returned_before_an_endpoint_fails_are_kept(path):
    class Failing(Counting):
        def score(self, pairs, limits, advance=None):
            self.log.append(len(pairs))
            raise PartialError(RemoteError("gone"), [Score(1.0), None, Score(3.0), None][: len(pairs)])

    report = Report()
    scorer = CachedScorer(FACTS, lambda: Failing([]), ScoreCache(path, report), report, CachePolicy(None))
    with pytest.raises(RemoteError, match="2 of 4 documents were scored"):
        scorer.score(PAIRS[1:5], Limits())
    scorer.close()
    scorer = cached(path, log := [], habits=CachePolicy(None))
    assert [score.value for score in scorer.score(PAIRS[1:5], Limits())] == [1.0, 1.0, 3.0, 1.0]
    scorer.close()
    assert log == ["open", 2, "close"]


def test_listwise_scores_are_reused_only_for_the_same_list(path):
    habits = CachePolicy(None, listwise=True)
    scorer = cached(path, log := [], habits=habits)
    pairs = [Pair("q", "a"), Pair("r", "a"), Pair("q", "b")]
    scorer.score(pairs, Limits())
    scorer.score([*pairs, Pair("r", "c")], Limits())  # q is known, r has another document: all of r again
    scorer.score(pairs, Limits())
    scorer.score(pairs[:1], Limits())
    assert log == ["open", 3, 2, 1]
    scorer.close()


def test_listwise_models_are_recognised_by_name():
    assert remote_policy("jina:jina-reranker-v3") == CachePolicy(None, listwise=True)
    assert remote_policy("cohere-v2:rerank-v3.5") == CachePolicy(None, listwise=False)


def test_a_nan_score_is_not_stored(path):
    class Broken(Counting):
        def score(self, pairs, limits, advance=None):
            return [Score(float("nan")), Score(None), Score(1.0)][: len(pairs)]

    report = Report()
    scorer = CachedScorer(FACTS, lambda: Broken([]), ScoreCache(path, report), report)
    scorer.score([Pair("q", "nan"), Pair("q", "none"), Pair("q", "one")], Limits())
    scorer.close()
    assert cache.info(path).rows == 2


def test_a_model_that_changed_since_its_digest_was_taken_is_refused(path):
    other = ScorerInfo("m", None, "test", "fp64", "log-odds", lambda: "another digest")
    with (
        contextlib.closing(cached(path, [], facts=other)) as scorer,
        pytest.raises(ModelError, match="changed while it was opened"),
    ):
        scorer.score(PAIRS, Limits())


texts = st.text(st.characters(codec=None), max_size=6)


@given(st.lists(st.tuples(texts, texts, st.integers(0, 3)), min_size=2, max_size=2, unique=True))
def test_different_pairs_have_different_keys(pairs):
    first, second = pair_keys("d", Limits(), [Pair(*pair) for pair in pairs])
    assert first != second
    assert pair_keys("d", Limits(), [Pair(*pairs[1])]) == [second]


def test_digest_and_limits_are_part_of_the_key():
    pair = [Pair("q", "t")]
    variants = [
        ("d", Limits()),
        ("e", Limits()),
        ("d", Limits(512)),
        ("d", Limits(4096, "truncate")),
        ("d", Limits(4096, "chunk", 2)),
    ]
    keys = [pair_keys(digest, limits, pair)[0] for digest, limits in variants]
    assert len(set(keys)) == len(keys)
    assert pair_keys("dq", Limits(), [Pair("", "t")]) != pair_keys("d", Limits(), [Pair("q", "t")])


def test_a_full_hit_imports_no_engine(path):
    with contextlib.closing(cached(path, [])) as scorer:
        scorer.score(PAIRS, Limits())
    code = (
        "import sys\nfrom pathlib import Path\nfrom rerank_cli.cache import ScoreCache\n"
        "from rerank_cli.records import Pair\nfrom rerank_cli.report import Report\n"
        "from rerank_cli.scorers.base import ScorerInfo\nfrom rerank_cli.scorers.cached import CachedScorer\n"
        "from rerank_cli.settings import Limits\n"
        "report = Report()\ninfo = ScorerInfo('m', None, 'test', 'fp64', 'log-odds', lambda: 'digest')\n"
        "scorer = CachedScorer(info, lambda: 1 / 0, ScoreCache(Path(sys.argv[1]), report), report)\n"
        "print(scorer.score([Pair('q', 'bb')], Limits())[0].value)\n"
        "print([m for m in ('onnxruntime', 'tokenizers', 'torch', 'numpy') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "2.0\n[]\n", done.stderr


def test_the_second_run_of_rank_prints_the_same_bytes_and_loads_no_engine(run, process, tmp_path):
    lines = "Washington is the capital.\nMars is a planet.\n\nMars is a planet.\n" + "long words " * 900 + "\n"
    argv = ("-q", "capital of the United States", "--cache", "--json", "--explain", "-v")
    env = {"RERANK_CACHE_DIR": str(tmp_path / "cache")}
    plain = run(*[arg for arg in argv if arg != "--cache"], stdin=lines)
    first = run(*argv, stdin=lines, env=env)
    second = process(*argv, stdin=lines, env=env | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert plain.out == first.out == second.out
    assert "score cache: 0 pairs known, 3 scored" in first.err
    assert "score cache: 3 pairs known, 0 scored" in second.err
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in second.err.splitlines() if "|" in line}
    assert {"sqlite3", "orjson"} <= loaded
    assert not loaded & {"onnxruntime", "tokenizers", "torch", "numpy", "openvino"}
