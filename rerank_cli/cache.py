"""The score cache: 16-byte keys to scores, shared by many processes; its failures never cost a result.

`scorers/cached.py` makes the keys. If the file fails (damaged, locked, read-only, full disk), a run continues
without it after one warning. The functions at the end (`rerank cache …`) raise errors instead.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank_cli import lookup
from rerank_cli.cache_file import (
    BYTES_PER_ROW,
    CacheMode,
    ForeignFileError,
    count_rows,
    evict,
    failures,
    is_cache_file,
    is_day,
    is_in_use,
    may_write,
    open_file,
    pack,
    today,
    transaction,
    unpack,
)
from rerank_cli.errors import InputError, OutputError
from rerank_cli.files import reason_of
from rerank_cli.settings import DEFAULT_CACHE_BYTES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rerank_cli.records import Score
    from rerank_cli.report import Report

WRITING_FAILS = ("locked", "full", "readonly")  # existing rows can still be read
BUSY_S = 10.0  # how long to wait for another process's write
LOOKUP = 900  # keys a SELECT: below the oldest SQLite's limit of 999 variables
TRANSACTION = 20_000  # rows written at once: short enough that other processes hardly wait


class ScoreCache:
    """An open cache. `get`, `put` and `close` never raise errors of the file.

    Threads may share one; forked processes may not. Opening is part of the construction and imports sqlite3.
    """

    def __init__(
        self,
        path: Path,
        report: Report,
        mode: CacheMode = "rw",
        max_bytes: int = DEFAULT_CACHE_BYTES,
        busy_s: float = BUSY_S,
    ) -> None:
        self._path = path
        self._report = report
        self._writable = mode == "rw"
        self._max_rows = max(1, max_bytes // BYTES_PER_ROW)
        self._lock = threading.Lock()
        self._stale: set[bytes] = set()  # read for the first time today: marked as used at the end, or once many
        self._damaged: list[bytes] = []  # failed their checksum, to be replaced
        self._connection: sqlite3.Connection | None = None
        with self._guarded():
            if self._writable and lookup.exists(path) and not may_write(path):
                self._writable = False
                report.warn(f"the score cache {path} cannot be written: new scores are not kept")
            self._connection = open_file(path, "rw" if self._writable else "ro", busy_s)
            if self._connection is None:
                report.note(f"there is no score cache at {path} yet (--cache-mode ro creates none)")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Score]:
        """The scores of those keys that are known; duplicates in `keys` cost nothing extra."""
        scores: dict[bytes, Score] = {}
        with self._lock, self._guarded():
            ordered = sorted(set(keys))  # neighbours in the file are read together
            for start in range(0, len(ordered), LOOKUP):
                self._read(ordered[start : start + LOOKUP], scores)
            if len(self._stale) >= TRANSACTION:  # of a server, which runs for weeks
                self._mark_used()
        return scores

    def _mark_used(self) -> None:
        if self._connection is not None and self._writable and self._stale:
            _touch(self._connection, sorted(self._stale))
        self._stale.clear()

    def _read(self, keys: Sequence[bytes], scores: dict[bytes, Score]) -> None:
        if self._connection is None:
            return
        day = today()
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, row, used FROM scores WHERE key IN ({marks})"  # noqa: S608 only question marks
        for key, row, used in self._connection.execute(query, keys):
            score = unpack(key, row)
            if score is None or not is_day(used):
                self._damaged.append(key)
                continue
            scores[key] = score
            if used < day:
                self._stale.add(key)

    def put(self, scores: Mapping[bytes, Score]) -> None:
        """Store scores; they survive a kill right after the return."""
        with self._lock, self._guarded():
            if self._connection is None or not self._writable or not scores:
                return
            self._drop_damaged(self._connection)
            day = today()
            rows = [(key, pack(key, scores[key]), day) for key in sorted(scores)]
            for start in range(0, len(rows), TRANSACTION):
                _insert(self._connection, rows[start : start + TRANSACTION])
            evict(self._connection, self._max_rows)

    def _drop_damaged(self, connection: sqlite3.Connection) -> None:
        if not self._damaged:
            return
        self._report.warn(f"the score cache {self._path} had damaged rows: scored again (see `rerank cache verify`)")
        with transaction(connection):
            gone = connection.executemany("DELETE FROM scores WHERE key = ?", [(key,) for key in self._damaged])
            connection.execute("UPDATE meta SET value = value - ? WHERE name = 'rows'", (gone.rowcount,))
        self._damaged.clear()

    def close(self) -> None:
        """Mark what was used today, so that eviction removes other rows first, and close the file."""
        with self._lock, self._guarded():
            connection = self._connection
            if connection is None:
                return
            try:
                self._mark_used()
            finally:
                self._connection = None
                connection.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn every failure of the file into one warning and a run without the cache, or without writing to it."""
        import sqlite3

        try:
            yield
        except sqlite3.OperationalError as error:
            if self._connection is not None and self._writable and any(word in str(error) for word in WRITING_FAILS):
                self._writable = False
                self._report.warn(f"the score cache {self._path} cannot be written ({error}): new scores are not kept")
            else:
                self._give_up(error)
        except failures() as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        import sqlite3

        self._report.warn(f"the score cache {self._path} is unusable ({error}): continuing without it")
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _insert(connection: sqlite3.Connection, rows: list[tuple[bytes, bytes, int]]) -> None:
    """Add rows; those that another process added meanwhile are equal."""
    with transaction(connection):
        before = connection.total_changes
        connection.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?, ?)", rows)
        added = connection.total_changes - before
        connection.execute("UPDATE meta SET value = value + ? WHERE name = 'rows'", (added,))


def _touch(connection: sqlite3.Connection, keys: list[bytes]) -> None:
    day = today()
    for start in range(0, len(keys), TRANSACTION):
        with transaction(connection):
            connection.executemany(
                "UPDATE scores SET used = ? WHERE key = ?", [(day, key) for key in keys[start : start + TRANSACTION]]
            )


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache holds; days count from 1970, None when it is empty."""

    path: Path
    rows: int
    bytes: int
    oldest_day: int | None
    newest_day: int | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a check: rows read, rows whose checksum fails, and SQLite's own messages."""

    rows: int
    damaged: int
    problems: tuple[str, ...]


def info(path: Path) -> CacheInfo:
    """Size and age of a cache; an absent one is empty. Raises InputError if it cannot be read."""
    with _opened(path, "ro") as connection:
        if connection is None:
            return CacheInfo(path, 0, 0, None, None)
        days = "SELECT min(used), max(used) FROM scores WHERE typeof(used) = 'integer' AND used BETWEEN 0 AND ?"
        oldest, newest = connection.execute(days, (today() + 1,)).fetchone()
        size = sum(file.stat().st_size for file in _files(path) if file.exists())
        return CacheInfo(path, count_rows(connection), size, oldest, newest)


def verify(path: Path) -> Verification:
    """Read every page and check every row. Raises InputError if it cannot be read at all."""
    with _opened(path, "ro") as connection:
        if connection is None:
            return Verification(0, 0, ())
        lines = [bytes(line[0]).decode("utf-8", "replace") for line in connection.execute("PRAGMA integrity_check")]
        problems = [line for line in lines if line != "ok"]
        rows = damaged = 0
        for key, row, used in connection.execute("SELECT key, row, used FROM scores"):
            rows += 1
            damaged += unpack(key, row) is None or not is_day(used)
        if not problems and rows != count_rows(connection):
            problems.append(f"{rows} rows, but {count_rows(connection)} were counted")
        return Verification(rows, damaged, tuple(problems))


def clear(path: Path) -> int:
    """Delete all scores; returns how many there were (0 if the file was damaged and has been deleted).

    A healthy file is emptied in place, because other processes may have it open. Raises InputError for another
    file, OutputError if another process holds it.
    """
    try:
        return _empty(path) if lookup.exists(path) else 0
    except failures() as error:
        if isinstance(error, OSError) or is_in_use(error):
            hint = "check its permissions, and whether another rerank is writing to it"
            raise OutputError(f"cannot clear the score cache {path}: {error}", hint) from error
        _refuse_foreign(path, error)
    for file in _files(path):
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot clear the score cache {path}: {reason_of(error)}", "check its permissions"
            ) from None
    return 0


def _refuse_foreign(path: Path, error: Exception) -> None:
    """Raise InputError if SQLite's error means that a file is not a score cache: `clear` would not replace it."""
    if isinstance(error, ForeignFileError) or not is_cache_file(path):
        hint = "it was not changed; choose another with --cache-path"
        raise InputError(f"{path} is not a score cache: {error}", hint) from error


def _empty(path: Path) -> int:
    connection = open_file(path, "rw", BUSY_S)
    if connection is None:  # pragma: no cover - rw always opens or raises
        return 0
    with contextlib.closing(connection):
        with transaction(connection):
            rows = count_rows(connection)
            connection.execute("DELETE FROM scores")
            connection.execute("UPDATE meta SET value = 0 WHERE name = 'rows'")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return rows


def _files(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(path.name + end) for end in ("", "-wal", "-shm"))


@contextlib.contextmanager
def _opened(path: Path, mode: CacheMode) -> Iterator[sqlite3.Connection | None]:
    """A connection for the admin functions; failures become InputError with a hint."""
    try:
        connection = open_file(path, mode, BUSY_S)
        try:
            yield connection
        finally:
            if connection is not None:
                connection.close()
    except failures() as error:
        if not isinstance(error, OSError) and not is_in_use(error):
            _refuse_foreign(path, error)
            hint = "`rerank cache clear` makes a new one"
            raise InputError(f"cannot read the score cache {path}: {error}", hint) from error
        hint = "check its permissions, and whether another rerank is writing to it"
        raise InputError(f"cannot read the score cache {path}: {error}", hint) from error
