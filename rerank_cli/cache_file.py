"""The file of the score cache: its path, how it is opened, its rows, and eviction when it is full.

SQLite in WAL mode: readers never wait, a killed process leaves whole transactions. Everything here may raise
what `failures` lists: `cache` decides what to do when something fails.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from zlib import crc32

from rerank_cli import lookup
from rerank_cli.records import Score

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

CacheMode = Literal["rw", "ro"]
CACHE_FILE = "scores-v1.sqlite"  # the version of the row is in the name: an older rerank never reads newer rows
BYTES_PER_ROW = 64  # of the file, after 10^6 random insertions (measured 61): turns the limit in bytes into rows
APPLICATION_ID = 0x72726B31  # "rrk1" in the file's header: no other database is ever written to
DAY_S = 86_400
_MAGIC = b"SQLite format 3\x00"

# flags, value, tokens, windows, best start, best end; then a CRC of key and row: SQLite checks no pages.
_ROW = struct.Struct("<BdIIII")
_CHECK = struct.Struct("<I")
_HAS_VALUE, _HAS_BEST, _TRUNCATED = 1, 2, 4
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, row BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT OR IGNORE INTO meta VALUES ('rows', 0)",  # counted, because count(*) would read the whole file
    f"PRAGMA application_id = {APPLICATION_ID}",
)
_COLUMNS = {"scores": [b"key", b"row", b"used"], "meta": [b"name", b"value"]}
_COUNT = "REPLACE INTO meta SELECT 'rows', count(*) FROM scores"


class ForeignFileError(Exception):
    """A database that is not a score cache of this version."""


class DamagedError(Exception):
    """A score cache whose tables are not as they were created."""


def is_day(used: object) -> bool:
    """Whether a `used` column holds a day that can be: not damaged, and not after tomorrow."""
    return isinstance(used, int) and 0 <= used <= today() + 1


def cache_path(env: Mapping[str, str], chosen: Path | None = None) -> Path:
    """The path of the cache: --cache-path, else RERANK_CACHE_DIR, else the user's cache folder."""
    if chosen is not None:
        return chosen.expanduser()
    if folder := env.get("RERANK_CACHE_DIR"):
        return Path(folder).expanduser() / CACHE_FILE
    from platformdirs import user_cache_path

    return user_cache_path("rerank", appauthor=False) / CACHE_FILE


def pack(key: bytes, score: Score) -> bytes:
    """A score as the bytes of its row; the value keeps all 64 bits."""
    value, tokens, windows, best, truncated, *_ = score  # what follows only scores of a reply or of queries have
    start, end = best or (0, 0)
    flags = (value is not None) * _HAS_VALUE | (best is not None) * _HAS_BEST | truncated * _TRUNCATED
    body = _ROW.pack(flags, 0.0 if value is None else value, tokens, windows, start, end)
    return body + _CHECK.pack(crc32(body, crc32(key)))


def unpack(key: object, row: object) -> Score | None:
    """The score of a row; None if a column has another type or the row lacks its own checksum (damaged or swapped)."""
    if not isinstance(key, bytes) or not isinstance(row, bytes):
        return None
    if len(row) != _ROW.size + _CHECK.size or _CHECK.unpack_from(row, _ROW.size)[0] != crc32(row[:-4], crc32(key)):
        return None
    flags, value, tokens, windows, start, end = _ROW.unpack_from(row)
    best = (start, end) if flags & _HAS_BEST else None
    return Score(value if flags & _HAS_VALUE else None, tokens, windows, best, bool(flags & _TRUNCATED))


def today() -> int:
    """Days since 1970: the unit of the `used` column, coarse so that reading rarely writes."""
    return int(time.time()) // DAY_S


def open_file(path: Path, mode: CacheMode, busy_s: float) -> sqlite3.Connection | None:
    """A connection to a score cache, created if necessary; None if mode is `ro` and there is no file."""
    if mode == "ro":
        return _open_to_read(path, busy_s) if lookup.exists(path) else None
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path, "rwc", busy_s)
    try:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            _create(connection, busy_s)
        _check_owner(connection)
        _count_again(connection)
        connection.execute("PRAGMA synchronous = NORMAL")  # a dying process loses nothing, a dying machine little
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_read(path: Path, busy_s: float) -> sqlite3.Connection:
    """A reading connection; in a folder that cannot be written, WAL needs `immutable`, right if nobody writes."""
    import sqlite3

    try:
        return _owned(_connect(path, "ro", busy_s))
    except sqlite3.OperationalError:
        if path.with_name(path.name + "-wal").exists():
            raise  # `immutable` would not see the log
        return _owned(_connect(path, "ro&immutable=1", busy_s))


def _owned(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, if it is to a score cache; else it is closed, and what `_check_owner` raises goes on."""
    try:
        _check_owner(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    import sqlite3

    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # text in a damaged row need not be UTF-8
    return connection


def _create(connection: sqlite3.Connection, busy_s: float) -> None:
    _switch_to_wal(connection, busy_s)
    with transaction(connection):
        for statement in _SCHEMA:
            connection.execute(statement)


def _check_owner(connection: sqlite3.Connection) -> None:
    """Raise ForeignFileError or DamagedError unless a file is a cache with our two tables and nothing besides."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise ForeignFileError("it was not created by this version of rerank")
    # no views and triggers: what is read would be what somebody else computes
    found = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
    if set(found) != {(b"table", b"scores"), (b"table", b"meta")}:
        raise DamagedError("its tables are not those of a score cache")
    for table, columns in _COLUMNS.items():
        if [line[1] for line in connection.execute(f"PRAGMA table_info({table})")] != columns:
            raise DamagedError(f"the table {table} has other columns")


def _count_again(connection: sqlite3.Connection) -> None:
    """Repair a counter that is lost or not a number."""
    if _counter(connection) is None:
        with transaction(connection):
            connection.execute(_COUNT)


def _counter(connection: sqlite3.Connection) -> int | None:
    row = connection.execute("SELECT value FROM meta WHERE name = 'rows'").fetchone()
    return row[0] if row and isinstance(row[0], int) and row[0] >= 0 else None


def _switch_to_wal(connection: sqlite3.Connection, busy_s: float) -> None:
    """SQLite does not wait for this one lock, so processes that start together try again."""
    import sqlite3

    end = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the write lock is taken at once, because upgrading a read lock can fail without waiting."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def count_rows(connection: sqlite3.Connection) -> int:
    """Rows of the cache, as counted by the writers; counted here where their number is lost."""
    counted = _counter(connection)
    return int(connection.execute("SELECT count(*) FROM scores").fetchone()[0]) if counted is None else counted


def evict(connection: sqlite3.Connection, max_rows: int) -> None:
    """Delete the rows that were not used for longest, down to 80 % of `max_rows`; the last day in part.

    Keys are hashes, so a range of keys is a random sample, and deleting range by range keeps every transaction short.
    """
    if count_rows(connection) <= max_rows:
        return
    with transaction(connection):  # a counter that is wrong must not cost the scores
        connection.execute(_COUNT)
    rows = count_rows(connection)
    if rows <= max_rows:
        return
    surplus = rows - max_rows * 4 // 5
    day, fraction = _cut(connection, surplus)
    limit = int(fraction * (1 << 32)).to_bytes(5, "big")[1:] if fraction < 1 else b"\xff" * 17
    for first in range(256):
        low, high = bytes([first]), bytes([first + 1]) if first < 255 else b"\xff" * 17
        with transaction(connection):
            gone = connection.execute(
                "DELETE FROM scores WHERE key >= ? AND key < ? AND (used < ? OR (used = ? AND key < ?))",
                (low, high, day, day, limit),
            )
            connection.execute("UPDATE meta SET value = value - ? WHERE name = 'rows'", (gone.rowcount,))


def _cut(connection: sqlite3.Connection, surplus: int) -> tuple[int, float]:
    """The day up to which rows go, and which fraction of that day itself."""
    day = today()
    for day, count in connection.execute("SELECT used, count(*) FROM scores GROUP BY used ORDER BY used"):
        if count >= surplus:
            return day, surplus / count
        surplus -= count
    return day, 1.0


def may_write(path: Path) -> bool:
    """Whether this process may write the file and its folder, where SQLite keeps the log."""
    return os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)


def failures() -> tuple[type[Exception], ...]:
    """What a file may raise, whatever is in it: also what SQLite answers to damaged pages besides its own errors."""
    import sqlite3

    return sqlite3.Error, ForeignFileError, DamagedError, OSError, MemoryError, ValueError, OverflowError


def is_in_use(error: Exception) -> bool:
    """Whether SQLite could not get at a file, which may be sound: busy, locked, read-only, full, not to be opened."""
    import sqlite3

    codes = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL}
    codes |= {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def is_cache_file(path: Path) -> bool:
    """Whether a file that SQLite cannot open was a score cache: by its name or the rest of its header."""
    if path.name == CACHE_FILE:
        return True
    with path.open("rb") as file:
        header = file.read(72)
    return header.startswith(_MAGIC) and header[68:72] == APPLICATION_ID.to_bytes(4, "big")
