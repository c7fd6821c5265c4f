"""`--min-score builtin=0.3,cohere=0.1`: each model of a run has its own threshold."""

from __future__ import annotations

import pytest
from free_scorer import FreeScorer
from remote.loopback import Loopback, Seen, as_json
from remote.scoring import KEY

from rerank_cli.records import Score
from rerank_cli.report import Report
from rerank_cli.settings import RankSettings
from rerank_cli.stage_checks import note_best

ENV = {"CO_API_KEY": KEY}
COHERE = ("-q", "q", "-m", "cohere:rerank-v3.5", "--retries", "0", "-f", "ids", "--endpoint")
SCORES = [0.9, 0.5, 0.1]
DOCS = b"a\nb\nc\n"


def scored(_: Seen):
    return as_json({"results": [{"index": i, "relevance_score": score} for i, score in enumerate(SCORES)]})


# The key that says most about a model counts: 0.5 keeps two documents, 0.6 one, 0 all.
KEYS = {
    "0.5": 2,
    "cohere=0.5": 2,
    "cohere=0.6": 1,
    "cohere=0.5,default=0.95": 2,
    "default=0.6": 1,
    "builtin=0.95,default=0": 3,
    "builtin=0.95": 3,
    "cohere:rerank-v3.5=0.6,cohere=0.95": 1,
    "cohere-v2=0.6": 1,
    "cohere-v2:rerank-v3.5=0.5,cohere=1": 2,
    "builtin=0.2, cohere = 5e-1": 2,
    "cohere=-1": 3,
}


@pytest.mark.parametrize("given", KEYS)
def test_the_number_of_the_model_that_scores_counts(run, given: str) -> None:
    with Loopback(scored) as server:
        found = run(*COHERE, server.url, "--fallback", "builtin", "--min-score", given, stdin=DOCS, env=ENV)
    assert found.code == 0, found.err
    assert found.lines == ["0", "1", "2"][: KEYS[given]]


def test_the_next_model_has_its_own(run) -> None:
    """What the embedded model is asked to keep is not what the provider is."""
    texts = b"the router is reset by a pin\ncats\n"
    both = "builtin=0.5,cohere=0.95"
    with Loopback(lambda _: as_json({}, 401)) as server:
        call = ("-q", "reset the router", *COHERE[2:], server.url, "--fallback", "builtin", "--min-score")
        own = run(*call, both, stdin=texts, env=ENV)
        none = run(*call, "cohere=0.95", stdin=texts, env=ENV)
        plain = run(*call, "0.5", stdin=texts, env=ENV)
    assert (own.lines, none.lines, plain.lines) == (["0"], ["0", "1"], ["0"])


def test_the_number_shown_is_compared(run) -> None:
    texts = b"the router is reset by a pin\ncats\n"
    call = ("-q", "reset the router", "-f", "ids", "--min-score")
    assert run(*call, "builtin=0.5", stdin=texts).lines == ["0"]
    assert run(*call, "builtin=0", "--raw-scores", stdin=texts).lines == ["0"]
    assert run(*call, "builtin=-100", "--raw-scores", stdin=texts).lines == ["0", "1"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("buitlin=0.5", "`buitlin` is not a model of this run\nhint: did you mean `builtin`?"),
        ("cohere=0.5", "`cohere` is not a model of this run\nhint: this run has builtin"),
        ("builtin=much", "`much` is not a number"),
        ("builtin=nan", "`nan` is not a number"),
        ("builtin=", "`` is not a number"),
        ("=0.5", "is not a model and its number"),
        ("builtin=0.5,", "is not a model and its number"),
        ("builtin=0.5,builtin=0.6", "each model once"),
        ("much", "`much` is not a number"),
    ],
)
def test_wrong_thresholds_are_refused(run, given: str, words: str) -> None:
    found = run("-q", "q", "--min-score", given, stdin=DOCS)
    assert (found.code, found.out) == (2, b"")
    assert words in found.err


def test_a_file_may_speak_of_models_of_other_runs(run, user, project) -> None:
    user.write_text(
        '[min_score]\nbuiltin = 0.5\n"cohere:rerank-v3.5" = 0.1\n"BAAI/bge-reranker-v2-m3" = 1\nvoyage = 0\n'
    )
    texts = b"the router is reset by a pin\ncats\n"
    assert run("-q", "reset the router", "-f", "ids", stdin=texts).lines == ["0"]
    assert run("-q", "reset the router", "-f", "ids", "--min-score", "0", stdin=texts).lines == ["0", "1"]
    env = {"RERANK_MIN_SCORE": "builtin=0,jina=0.5"}
    assert run("-q", "reset the router", "-f", "ids", stdin=texts, env=env).lines == ["0", "1"]
    assert run("config", "--json").json["options"]["min_score"]["value"]["builtin"] == 0.5
    user.write_text("[min_score]\nchoere = 0.5\n")
    wrong = run("-q", "q", stdin=DOCS)
    assert (wrong.code, wrong.out) == (2, b"")
    assert "`choere` is neither a model nor a provider\nhint: did you mean `cohere`?" in wrong.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[min_score]\nbuiltin = "0.5"', "min_score.builtin: expected a number, found a string"),
        ("[min_score]\nbuiltin = true", "min_score.builtin: expected a number, found a boolean"),
        ("[min_score]\nbuiltin = inf", "min_score.builtin: expected a finite number"),
        ("[min_score]", "min_score: expected a number, found a table"),
        ('min_score = "builtin=0.5"', "min_score: expected a number, found a string"),
        ("[top_n]\nbuiltin = 5", "top_n: expected a whole number, found a table"),
    ],
)
def test_wrong_thresholds_of_a_file_are_refused(run, user, text: str, words: str) -> None:
    user.write_text(text)
    found = run("-q", "q", stdin=DOCS)
    assert (found.code, found.out) == (2, b"")
    assert words in found.err


def test_a_threshold_that_no_score_can_reach_is_reported(run, free) -> None:
    ask = ("-q", "q", "-f", "ids", "--min-score")
    found = run(*ask, "30", stdin=DOCS)
    assert (found.code, found.out) == (0, b"")
    assert "warning: --min-score 30: relevance scores go from 0 to 1, so no document can have it" in found.err
    for argv in (("1",), ("0.5",), ("30", "--raw-scores")):
        assert "go from 0 to 1" not in run(*ask, *argv, stdin=DOCS).err


def test_scores_of_a_provider_may_go_beyond_1(run) -> None:
    with Loopback(scored) as server:
        assert "go from 0 to 1" not in run(*COHERE, server.url, "--min-score", "30", stdin=DOCS, env=ENV).err


def test_an_empty_result_names_the_best_score() -> None:
    info, report = FreeScorer.info, Report()
    for logits in ([-2.0, None], [-1.0, -3.0], []):
        note_best([Score(logit) for logit in logits], info, RankSettings(min_score=0.5), report)
    assert report.best == pytest.approx(0.26894142)
    note_best([Score(7.0)], info, RankSettings(min_score=9, raw_scores=True), report)
    assert report.best == 7.0
