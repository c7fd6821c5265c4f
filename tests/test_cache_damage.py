"""The score cache under damage, locks, full disks and foreign files: a miss or a warning, never a wrong score."""

from __future__ import annotations

import contextlib
import random
import sqlite3

import pytest
from cache_support import VALUES, fill, key, opened

from rerank_cli import cache, cache_file
from rerank_cli.errors import InputError, OutputError
from rerank_cli.records import Score
from rerank_cli.report import Report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "cache.sqlite"


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
    rows = cache.info(path).rows
    assert cache.clear(path) == rows > 0
    assert cache.info(path).rows == 0


@pytest.mark.parametrize("value", [*VALUES, "absent"])
def test_a_counter_of_any_type_is_counted_again(path, value):
    known = fill(path, 50)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        if value == "absent":
            connection.execute("DELETE FROM meta")
        elif value != "NULL":
            connection.execute(f"UPDATE meta SET value = {value}")
    cache.info(path)
    cache.verify(path)
    store = opened(path, report := Report())
    store.put({key(99): Score(1.0)})
    assert len(store.get([*known, key(99)])) == 51, "a wrong counter must not cost the scores"
    store.close()
    assert report.warnings() == ()
    counted = 2 if value == "1" else 51  # a wrong count that may be right is believed
    assert cache.info(path).rows == counted
    assert cache.clear(path) == counted


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
