"""The score cache: what was put is what comes back, from many processes and whatever happens to the file."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_cli import cache, cache_file
from rerank_cli.cache import ScoreCache
from rerank_cli.cache_file import CACHE_FILE, cache_path, pack, unpack
from rerank_cli.errors import InputError, ModelError, OutputError, RemoteError
from rerank_cli.records import Pair, Score
from rerank_cli.report import Report
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.cached import CachedScorer, CachePolicy, pair_keys, remote_policy
from rerank_cli.scorers.remote.scorer import PartialError
from rerank_cli.settings import Limits

ROOT = Path(__file__).resolve().parent.parent
scores = st.builds(
    Score,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**31),
    st.integers(0, 2**20),
    st.none() | st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
    st.booleans(),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


def opened(path, report=None, **options):
    return ScoreCache(path, report or Report(), **options)


def key(number: int) -> bytes:
    return random.Random(number).randbytes(16)


def fill(path, count: int, first: int = 0) -> dict[bytes, Score]:
    known = {key(i): Score(i / 7, i, 1, (0, i), False) for i in range(first, first + count)}
    store = opened(path)
    store.put(known)
    store.close()
    return known


# --- rows -----------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=16, max_size=16), scores)
def test_a_row_gives_back_every_bit(name, score):
    found = unpack(name, pack(name, score))
    assert found == score
    assert score.value is None or str(found.value) == str(score.value)  # -0.0 too


@given(st.binary(min_size=16, max_size=16), scores, st.integers(0, 28), st.integers(1, 255))
def test_a_changed_row_is_no_score(name, score, place, change):
    row = bytearray(pack(name, score))
    row[place] ^= change
    assert unpack(name, bytes(row)) is None
    assert unpack(bytes([name[0] ^ 1]) + name[1:], pack(name, score)) is None
    assert unpack(name, b"") is None


@given(st.lists(st.dictionaries(st.integers(0, 50), scores, max_size=20), max_size=6))
@settings(deadline=None, max_examples=30)
def test_the_first_score_of_a_key_is_kept_and_found_again(tmp_path_factory, rounds):
    path = tmp_path_factory.mktemp("cache") / "c.sqlite"
    known: dict[bytes, Score] = {}
    for added in rounds:
        store = opened(path)
        new = {key(number): score for number, score in added.items()}
        store.put(new)
        known = new | known
        assert store.get([key(number) for number in range(60)]) == known
        store.close()
    assert cache.info(path).rows == len(known)
    assert cache.verify(path) == cache.Verification(len(known), 0, ())


def test_more_keys_than_a_statement_holds(path):
    known = fill(path, 5000)
    store = opened(path)
    assert store.get([*known, *known, key(-1)]) == known
    assert store.get([]) == {}
    store.close()


# --- what happens to files ------------------------------------------------------------------------------------------


def test_ro_neither_writes_nor_makes_a_file(path):
    report = Report()
    store = opened(path, report, mode="ro")
    store.put({key(1): Score(1.0)})
    assert store.get([key(1)]) == {}
    store.close()
    assert not path.parent.exists()
    assert "there is no score cache" in report.notes[0]
    known = fill(path, 3)
    before = path.read_bytes()
    store = opened(path, mode="ro")
    store.put({key(9): Score(1.0)})
    assert store.get([*known, key(9)]) == known
    store.close()
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_can_be_read(path):
    known = fill(path, 3)
    code = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(path), key(0).hex()],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    warning = f"the score cache {path} cannot be written: new scores are not kept"
    assert code.stdout == f"{known[key(0)].value}|{warning}\n", code.stderr
    path.parent.chmod(0o755)


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
import platformdirs, sqlite3
from rerank_cli.cache import ScoreCache
from rerank_cli.records import Score
from rerank_cli.report import Report
path, name = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])
for folder in (path, *path.parents):
    if folder.owner() == "root" and os.geteuid() == 0 and str(folder).startswith("/tmp/"):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
path.parent.chmod(0o555)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
report = Report()
store = ScoreCache(path, report)
found = store.get([name])
store.put({b"x" * 16: Score(1.0)})
store.close()
print(found[name].value, *report.warnings(), sep="|")
"""


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no database at all, but long enough to look like one" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
        lambda data: data[:100] + random.Random(3).randbytes(len(data) - 100),
        lambda data: bytes(b ^ (random.Random(i).random() < 0.0005) * 7 for i, b in enumerate(data)),
    ],
    ids=["empty", "foreign", "cut", "overwritten", "noise", "bit-flips"],
)
def test_a_damaged_file_never_raises_and_never_gives_a_wrong_score(path, damage):
    known = fill(path, 2000)
    path.write_bytes(damage(path.read_bytes()))
    report = Report()
    store = opened(path, report)
    found = store.get(list(known))
    assert all(found[name] == known[name] for name in found)
    store.put({name: score for name, score in known.items() if name not in found})
    store.close()
    assert len(found) == len(known) or report.warnings() or path.stat().st_size > 0
    with contextlib.suppress(InputError):
        cache.verify(path)


def test_a_damaged_row_is_scored_again_and_replaced(path):
    known = fill(path, 100)
    victim = key(5)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        row = bytearray(connection.execute("SELECT row FROM scores WHERE key = ?", (victim,)).fetchone()[0])
        row[3] ^= 1
        connection.execute("UPDATE scores SET row = ? WHERE key = ?", (bytes(row), victim))
    assert cache.verify(path).damaged == 1
    report = Report()
    store = opened(path, report)
    assert victim not in store.get(list(known))
    store.put({victim: known[victim]})
    assert store.get(list(known)) == known
    store.close()
    assert "damaged rows" in report.warnings()[0]
    assert cache.verify(path) == cache.Verification(100, 0, ())


def test_a_foreign_database_is_left_alone(path):
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    report = Report()
    store = opened(path, report)
    store.put({key(1): Score(1.0)})
    store.close()
    assert "is unusable" in report.warnings()[0]
    for admin in (cache.info, cache.verify, cache.clear):
        with pytest.raises(InputError):
            admin(path)
    assert path.read_bytes() == before
    text = path.with_name("thesis.txt")
    text.write_text("words " * 1000)
    with pytest.raises(InputError, match="is not a score cache"):
        cache.clear(text)
    assert text.exists()


def test_a_path_that_cannot_be_is_a_warning(tmp_path):
    (tmp_path / "file").write_text("x")
    report = Report()
    store = opened(tmp_path / "file" / "c.sqlite", report)
    store.put({key(1): Score(1.0)})
    assert store.get([key(1)]) == {}
    store.close()
    assert len(report.warnings()) == 1
    store = opened(tmp_path, report)
    assert store.get([key(1)]) == {}


def test_a_lock_held_by_another_stops_writing_but_not_reading(path):
    known = fill(path, 10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    report = Report()
    store = opened(path, report, busy_s=0.05)
    assert store.get(list(known)) == known
    store.put({key(99): Score(1.0)})
    store.put({key(98): Score(1.0)})
    assert store.get(list(known)) == known
    store.close()
    assert len(report.warnings()) == 1
    assert "cannot be written" in report.warnings()[0]
    with pytest.raises(OutputError, match="cannot clear"):
        clear_quickly(path)
    other.execute("ROLLBACK")
    other.close()
    assert cache.info(path).rows == 10


def clear_quickly(path):
    wait = cache.BUSY_S
    cache.BUSY_S = 0.05
    try:
        return cache.clear(path)
    finally:
        cache.BUSY_S = wait


def test_an_exclusive_lock_is_one_warning_and_no_scores(path):
    known = fill(path, 10)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE meta SET value = value")
    other.execute("COMMIT")
    report = Report()
    store = opened(path, report, busy_s=0.05)
    assert store.get(list(known)) == {}
    store.close()
    assert len(report.warnings()) == 1
    other.close()


def test_a_full_disk_stops_writing_only(path, monkeypatch):
    known = fill(path, 10)

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    store = opened(path, report := Report())
    monkeypatch.setattr(cache, "_insert", full)
    store.put({key(50): Score(1.0)})
    assert store.get(list(known)) == known
    store.close()
    assert "disk is full" in report.warnings()[0]


# --- many processes -------------------------------------------------------------------------------------------------

WORKER = """
import random, sys
from pathlib import Path
from rerank_cli.cache import ScoreCache
from rerank_cli.records import Score
from rerank_cli.report import Report
path, seed, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
def key(number): return random.Random(number).randbytes(16)
def score(number): return Score(number / 7, number, 1, (0, number), number % 2 == 0)
report = Report()
for turn in range(rounds):
    cache = ScoreCache(path, report)
    wanted = [dice.randrange(3000) for _ in range(400)]
    names = {key(number): number for number in wanted}
    found = cache.get(list(names))
    wrong = [names[name] for name in found if found[name] != score(names[name])]
    if wrong: sys.exit(f"wrong: {wrong[:3]}")
    cache.put({name: score(number) for name, number in names.items() if name not in found})
    lost = set(names) - set(cache.get(list(names)))
    if lost: sys.exit(f"lost: {len(lost)}")
    cache.close()
    print(turn, flush=True)
if report.warnings(): sys.exit(f"warned: {report.warnings()}")
"""


def start(path, seed, rounds):
    arguments = [sys.executable, "-c", WORKER, str(path), str(seed), str(rounds)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_on_one_cache_lose_nothing(path):
    workers = [start(path, seed, 12) for seed in range(4)]
    ends = [worker.communicate(timeout=100) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, ends
    checked = cache.verify(path)
    assert (checked.damaged, checked.problems) == (0, ())
    assert 2900 <= checked.rows <= 3000


def test_a_kill_in_the_middle_leaves_whole_rows(path):
    dice = random.Random(8)
    for seed in range(4):
        worker = start(path, seed, 10_000)
        for _ in range(dice.randrange(1, 4)):
            worker.stdout.readline()
        time.sleep(dice.random() * 0.02)  # anywhere within a round
        worker.send_signal(signal.SIGKILL)
        worker.communicate(timeout=60)
        checked = cache.verify(path)
        assert (checked.damaged, checked.problems) == (0, ())
    last = start(path, 9, 2)
    assert last.communicate(timeout=60)[1] == ""
    assert last.returncode == 0


# --- size -----------------------------------------------------------------------------------------------------------


def test_a_full_cache_forgets_what_was_not_used_for_longest(path, monkeypatch):
    limit = 1000 * cache_file.BYTES_PER_ROW
    days = iter(range(20_000, 20_100))
    for first in (0, 300, 600):
        day = next(days)
        monkeypatch.setattr(cache, "today", lambda day=day: day)
        fill(path, 300, first)
    day = next(days)
    monkeypatch.setattr(cache, "today", lambda: day)
    reader = opened(path)
    assert len(reader.get([key(i) for i in range(300)])) == 300  # the oldest, but used today
    reader.close()
    store = opened(path, max_bytes=limit)
    store.put({key(i): Score(1.0) for i in range(1000, 1200)})  # 1,100 rows: down to 800
    store.close()
    left = opened(path).get([key(i) for i in range(1200)])
    assert len(left) == cache.info(path).rows == 800
    kept = [
        sum(key(i) in left for i in span) for span in (range(300), range(300, 600), range(600, 900), range(1000, 1200))
    ]
    assert kept == [300, 0, 300, 200]
    assert cache.verify(path).problems == ()


def test_within_one_day_a_random_part_goes(path):
    store = opened(path, max_bytes=1000 * cache_file.BYTES_PER_ROW)
    store.put({key(i): Score(1.0) for i in range(4000)})
    store.close()
    rows = cache.info(path).rows
    assert 700 <= rows <= 900  # keys are hashes: the part that goes is a sample, 800 on average
    assert cache.verify(path) == cache.Verification(rows, 0, ())


# --- admin ----------------------------------------------------------------------------------------------------------


def test_info_verify_and_clear(path):
    assert cache.info(path) == cache.CacheInfo(path, 0, 0, None, None)
    assert cache.verify(path) == cache.Verification(0, 0, ())
    assert cache.clear(path) == 0
    fill(path, 50)
    found = cache.info(path)
    assert found.rows == 50
    assert found.bytes >= 50 * 40
    assert found.oldest_day == found.newest_day == int(time.time()) // 86_400
    user = opened(path)  # still open while it is cleared
    assert len(user.get([key(1)])) == 1
    assert cache.clear(path) == 50
    assert user.get([key(1)]) == {}
    user.put({key(1): Score(2.0)})
    user.close()
    assert cache.info(path).rows == 1


def test_a_damaged_cache_of_ours_can_be_cleared(tmp_path):
    path = tmp_path / CACHE_FILE
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(InputError, match="cannot read the score cache"):
        cache.info(path)
    assert cache.clear(path) == 0
    assert not path.exists()
    named = tmp_path / "mine.sqlite"
    fill(named, 100)
    named.write_bytes(named.read_bytes()[:4096] + b"\xff" * 9000)
    with pytest.raises(InputError):
        cache.info(named)
    cache.clear(named)
    assert not named.exists() or cache.info(named).rows == 0


def test_the_cache_lies_where_it_is_told(tmp_path):
    assert cache_path({}, tmp_path / "x") == tmp_path / "x"
    assert cache_path({"RERANK_CACHE_DIR": str(tmp_path)}) == tmp_path / CACHE_FILE
    assert cache_path({}).name == CACHE_FILE
    assert "rerank" in cache_path({}).parts


# --- the scorer behind it -------------------------------------------------------------------------------------------

FACTS = ScorerInfo("m", None, "test", "fp64", "log-odds", "digest")


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


def test_what_was_scored_before_a_failure_is_not_scored_again(path):
    log = []
    scorer = cached(path, log, fail_at=1)
    with pytest.raises(ModelError):
        scorer.score(PAIRS, Limits())
    scorer.close()
    scorer = cached(path, log := [])
    scorer.score(PAIRS, Limits())
    scorer.close()
    assert log == ["open", 2, "close"]


def test_what_a_remote_endpoint_answered_before_it_failed_is_kept(path):
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


def test_listwise_scores_are_known_only_for_the_same_list(path):
    habits = CachePolicy(None, listwise=True)
    scorer = cached(path, log := [], habits=habits)
    pairs = [Pair("q", "a"), Pair("r", "a"), Pair("q", "b")]
    scorer.score(pairs, Limits())
    scorer.score([*pairs, Pair("r", "c")], Limits())  # q is known, r has another document: all of r again
    scorer.score(pairs, Limits())
    scorer.score(pairs[:1], Limits())
    assert log == ["open", 3, 2, 1]
    scorer.close()


def test_listwise_models_are_known_by_name():
    assert remote_policy("jina:jina-reranker-v3") == CachePolicy(None, listwise=True)
    assert remote_policy("cohere-v2:rerank-v3.5") == CachePolicy(None, listwise=False)


def test_a_score_that_is_no_number_is_not_remembered(path):
    class Broken(Counting):
        def score(self, pairs, limits, advance=None):
            return [Score(float("nan")), Score(None), Score(1.0)][: len(pairs)]

    report = Report()
    scorer = CachedScorer(FACTS, lambda: Broken([]), ScoreCache(path, report), report)
    scorer.score([Pair("q", "nan"), Pair("q", "none"), Pair("q", "one")], Limits())
    scorer.close()
    assert cache.info(path).rows == 2


def test_a_model_that_changed_meanwhile_is_refused(path):
    other = ScorerInfo("m", None, "test", "fp64", "log-odds", "another digest")
    with pytest.raises(ModelError, match="changed while it was opened"):
        cached(path, [], facts=other).score(PAIRS, Limits())


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
    cached(path, []).score(PAIRS, Limits())
    code = (
        "import sys\nfrom pathlib import Path\nfrom rerank_cli.cache import ScoreCache\n"
        "from rerank_cli.records import Pair\nfrom rerank_cli.report import Report\n"
        "from rerank_cli.scorers.base import ScorerInfo\nfrom rerank_cli.scorers.cached import CachedScorer\n"
        "from rerank_cli.settings import Limits\n"
        "report = Report()\ninfo = ScorerInfo('m', None, 'test', 'fp64', 'log-odds', 'digest')\n"
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
