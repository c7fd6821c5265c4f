"""The score cache returns what was stored, survives any damage to its file and stays within its size."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from cache_support import fill, key, opened
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_cli import cache, cache_file
from rerank_cli.cache_file import CACHE_FILE, cache_path, pack, unpack
from rerank_cli.errors import InputError
from rerank_cli.records import Score
from rerank_cli.report import Report

scores = st.builds(
    Score,
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.integers(0, 2**31),
    st.integers(0, 2**20),
    st.none() | st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
    st.booleans(),
    st.just(()),  # `by_query`, which no scorer fills
    st.none(),  # a provider's spans are not kept
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


# --- rows -----------------------------------------------------------------------------------------------------------


@given(st.binary(min_size=16, max_size=16), scores)
def test_a_stored_row_returns_every_bit(name, score):
    found = unpack(name, pack(name, score))
    assert found == score
    assert score.value is None or str(found.value) == str(score.value)  # -0.0 too


@given(st.binary(min_size=16, max_size=16), scores, st.integers(0, 28), st.integers(1, 255))
def test_an_altered_row_gives_no_score(name, score, place, change):
    row = bytearray(pack(name, score))
    row[place] ^= change
    assert unpack(name, bytes(row)) is None
    assert unpack(bytes([name[0] ^ 1]) + name[1:], pack(name, score)) is None
    assert unpack(name, b"") is None


@given(st.lists(st.dictionaries(st.integers(0, 50), scores, max_size=20), max_size=6))
@settings(deadline=None, max_examples=30)
def test_the_first_score_of_a_key_is_kept(tmp_path_factory, rounds):
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


def test_more_keys_than_one_sql_statement_takes_are_read(path):
    known = fill(path, 5000)
    store = opened(path)
    assert store.get([*known, *known, key(-1)]) == known
    assert store.get([]) == {}
    store.close()


# --- what happens to files ------------------------------------------------------------------------------------------


def test_read_only_mode_creates_and_writes_nothing(path):
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


def test_a_cache_in_a_read_only_folder_can_be_read(path):
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
import platformdirs, sqlite3, urllib.parse  # before the rights to read them are given up
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


# --- size -----------------------------------------------------------------------------------------------------------


def test_a_full_cache_evicts_the_least_recently_used_rows(path, monkeypatch):
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
    reader = opened(path)
    left = reader.get([key(i) for i in range(1200)])
    reader.close()
    assert len(left) == cache.info(path).rows == 800
    kept = [
        sum(key(i) in left for i in span) for span in (range(300), range(300, 600), range(600, 900), range(1000, 1200))
    ]
    assert kept == [300, 0, 300, 200]
    assert cache.verify(path).problems == ()


def test_a_process_that_runs_for_weeks_marks_what_it_used_now_and_then(path, monkeypatch):
    """A server closes its cache only at its end: until then it may not forget, nor remember without bound."""
    fill(path, 10)
    tomorrow = cache_file.today() + 1
    monkeypatch.setattr(cache, "today", lambda: tomorrow)
    monkeypatch.setattr(cache, "TRANSACTION", 4)
    reader = opened(path)
    for i in range(10):
        reader.get([key(i)])
    assert len(reader._stale) < 4
    assert cache.info(path).newest_day == tomorrow
    reader.close()


def test_rows_used_on_the_same_day_are_evicted_at_random(path):
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


def test_a_damaged_cache_can_be_cleared(tmp_path):
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


def test_the_cache_path_follows_option_and_environment(tmp_path):
    assert cache_path({}, tmp_path / "x") == tmp_path / "x"
    assert cache_path({"RERANK_CACHE_DIR": str(tmp_path)}) == tmp_path / CACHE_FILE
    assert cache_path({}).name == CACHE_FILE
    assert "rerank" in cache_path({}).parts
