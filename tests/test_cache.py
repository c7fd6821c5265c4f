"""The score cache returns what was stored, survives any damage to its file and stays within its size."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_cli import cache, cache_file
from rerank_cli.cache import ScoreCache
from rerank_cli.cache_file import CACHE_FILE, cache_path, pack, unpack
from rerank_cli.errors import InputError, OutputError
from rerank_cli.records import Score
from rerank_cli.report import Report

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
        lambda data: data.replace(b"CREATE TABLE scores", b"CREATE \xbd\xff\xfe\x80\x80 scores"),
    ],
    ids=["empty", "foreign", "cut", "overwritten", "noise", "bit-flips", "not UTF-8"],
)
def test_a_damaged_file_never_raises_and_never_gives_a_wrong_score(path, damage):
    known = fill(path, 2000)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    report = Report()
    store = opened(path, report)
    found = store.get(list(known))
    assert all(found[name] == known[name] for name in found)
    store.put({name: score for name, score in known.items() if name not in found})
    store.close()
    assert len(found) == len(known) or report.warnings() or not damaged  # an empty file is a new cache
    with contextlib.suppress(InputError):
        cache.verify(path)


VALUES = [
    "NULL",
    "1",
    "-1",
    "1.5",
    "9e999",
    "''",
    "'text'",
    "X'00'",
    "zeroblob(29)",
    "CAST(X'FFFE' AS TEXT)",
    "1 << 62",
]


@pytest.mark.parametrize("column", ["key", "row", "used"])
@pytest.mark.parametrize("value", VALUES)
def test_a_row_of_any_type_is_a_miss(path, column, value):
    """SQLite keeps any type in any column: a bad row must not end a run, nor what looks at the cache."""
    known = fill(path, 50)
    victim = key(5)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        if value == "NULL":  # as a bit in the schema would allow it
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'scores'")
            connection.commit()
    # a primary key is never null
    with contextlib.suppress(sqlite3.IntegrityError), contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE scores SET {column} = {value} WHERE key = ?", (victim,))
        connection.commit()
    report = Report()
    store = opened(path, report)
    others = {name: score for name, score in known.items() if name != victim}
    found = store.get(list(known))
    assert others.items() <= found.items()
    assert found.get(victim, known[victim]) == known[victim]
    store.put({victim: known[victim]})
    assert store.get(list(known)) == known
    store.close()
    small = opened(path, report, max_bytes=10 * cache_file.BYTES_PER_ROW)
    small.put({key(99): Score(1.0)})
    small.close()
    assert all("unusable" not in warning for warning in report.warnings())
    cache.info(path)
    cache.verify(path)
    assert cache.clear(path) >= 0
    assert cache.info(path).rows == 0


@pytest.mark.parametrize("value", [*VALUES, "absent"])
def test_a_counter_of_any_type_is_counted_again(path, value):
    known = fill(path, 50)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        if value == "absent":
            connection.execute("DELETE FROM meta")
        elif value != "NULL":
            connection.execute(f"UPDATE meta SET value = {value}")
    assert cache.info(path).rows >= 0
    cache.verify(path)
    store = opened(path, report := Report())
    store.put({key(99): Score(1.0)})
    assert len(store.get([*known, key(99)])) == 51, "a wrong counter must not cost the scores"
    store.close()
    assert report.warnings() == ()
    assert cache.clear(path) >= 0


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE scores", "DROP TABLE meta", "ALTER TABLE scores RENAME COLUMN row TO line",
        "CREATE TRIGGER more AFTER INSERT ON scores BEGIN DELETE FROM scores; END",
        "ALTER TABLE scores RENAME TO old; CREATE VIEW scores AS SELECT * FROM old",
    ],
)  # fmt: skip
def test_a_cache_of_other_tables_is_not_used_and_can_be_cleared(path, change):
    fill(path, 50)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(change)
    store = opened(path, report := Report())
    assert store.get([key(1)]) == {}
    store.put({key(1): Score(1.0)})
    store.close()
    assert "is unusable" in report.warnings()[0]
    with pytest.raises(InputError, match="cannot read the score cache"):
        cache.info(path)
    with pytest.raises(InputError, match="cannot read the score cache"):
        cache.verify(path)
    cache.clear(path)
    assert len(fill(path, 5)) == cache.info(path).rows == 5


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


def test_a_database_of_another_program_is_left_unchanged(path):
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


def test_an_impossible_path_gives_a_warning(tmp_path):
    (tmp_path / "file").write_text("x")
    report = Report()
    store = opened(tmp_path / "file" / "c.sqlite", report)
    store.put({key(1): Score(1.0)})
    assert store.get([key(1)]) == {}
    store.close()
    assert len(report.warnings()) == 1
    store = opened(tmp_path, report)
    assert store.get([key(1)]) == {}


def test_a_write_lock_of_another_process_stops_writing_but_not_reading(path):
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


def test_an_exclusive_lock_gives_one_warning_and_no_scores(path):
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
    left = opened(path).get([key(i) for i in range(1200)])
    assert len(left) == cache.info(path).rows == 800
    kept = [
        sum(key(i) in left for i in span) for span in (range(300), range(300, 600), range(600, 900), range(1000, 1200))
    ]
    assert kept == [300, 0, 300, 200]
    assert cache.verify(path).problems == ()


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
