"""A corpus by document id: JSON lines indexed once, then read by position, in memory that does not grow with its size.

The index is a temporary SQLite database that is deleted with the process. It does not choose what is scored.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.readers.rows import decoded_row, json_object, name_of_file, raw_rows, record_id
from rerank_cli.readers.trec import DOCUMENT_KEYS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

LOOKUP = 900  # ids per SELECT: below the oldest SQLite's limit of 999 variables
INSERT = 10_000


class CorpusRow(NamedTuple):
    """A document of a corpus: its id and the bytes of its JSON object."""

    id: str
    raw: bytes


class Corpus:
    """An indexed corpus, for one thread. Close it after use."""

    def __init__(self, name: str, connection: sqlite3.Connection, spool: BinaryIO) -> None:
        self.name = name
        self._connection = connection
        self._spool = spool

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The raw JSON objects of those ids that the corpus has."""
        documents: dict[str, bytes] = {}
        for start in range(0, len(ids), LOOKUP):
            part = ids[start : start + LOOKUP]
            placeholders = ",".join("?" * len(part))
            query = f"SELECT id, start, length FROM documents WHERE id IN ({placeholders}) ORDER BY start"  # noqa: S608
            for name, position, length in self._connection.execute(query, part):
                self._spool.seek(position)
                documents[name] = self._spool.read(length)
        return documents

    def close(self) -> None:
        """Drop the index."""
        self._connection.close()
        self._spool.close()


def open_corpus(path: str, needed: Collection[str] | None = None, stdin: BinaryIO | None = None) -> Corpus:
    """Index a corpus (JSON lines, plain or compressed), or only its `needed` documents.

    Raises InputError with `file:line` for broken lines, rows without an id, and repeated ids.
    """
    import sqlite3

    connection = sqlite3.connect("", isolation_level=None)  # a private file, already unlinked
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute(
        "CREATE TABLE documents (id TEXT PRIMARY KEY, start INTEGER, length INTEGER, line INTEGER) WITHOUT ROWID"
    )
    spool = tempfile.TemporaryFile()  # noqa: SIM115 closed with the corpus
    corpus = Corpus(name_of_file(path), connection, spool)
    try:
        _index(corpus.name, connection, _spooled(corpus_rows(path, stdin), spool, needed))
        spool.flush()
    except BaseException:
        corpus.close()
        raise
    return corpus


def corpus_rows(path: str, stdin: BinaryIO | None = None) -> Iterator[tuple[int, CorpusRow]]:
    """The numbered documents of a corpus in its order. Raises InputError with `file:line`."""
    name = name_of_file(path)
    for number, raw in raw_rows(path, stdin):
        row = decoded_row(name, number, raw)
        document_id = record_id(json_object(row), DOCUMENT_KEYS, row.where)
        if document_id is None:
            hint = 'add one, as in `{"id": "d1", "text": "…"}`'
            raise InputError("a corpus document needs an id (`_id`, `id` or `docid`)", hint, row.where)
        yield number, CorpusRow(document_id, raw)


def title_and_text(record: Mapping[str, Any]) -> str:
    """What BEIR scores of a record: title and text joined by a blank; a missing one is left out."""
    parts = (record.get("title"), record.get("text"))
    return " ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def _spooled(
    numbered: Iterable[tuple[int, CorpusRow]], spool: BinaryIO, needed: Collection[str] | None
) -> Iterator[tuple[str, int, int, int]]:
    """Index rows of the needed documents, whose bytes are appended to the spool."""
    position = 0
    for number, (name, raw) in numbered:
        if needed is None or name in needed:
            spool.write(raw)
            yield name, position, len(raw), number
            position += len(raw)


def _index(name: str, connection: sqlite3.Connection, entries: Iterable[tuple[str, int, int, int]]) -> None:
    block: list[tuple[str, int, int, int]] = []
    for entry in entries:
        block.append(entry)
        if len(block) == INSERT:
            _insert(name, connection, block)
            block = []
    _insert(name, connection, block)


def _insert(name: str, connection: sqlite3.Connection, block: list[tuple[str, int, int, int]]) -> None:
    connection.execute("BEGIN")
    before = connection.total_changes
    connection.executemany("INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?)", block)
    connection.execute("COMMIT")
    if connection.total_changes - before == len(block):
        return
    for document, position, _, line in block:
        stored = connection.execute("SELECT start, line FROM documents WHERE id = ?", (document,)).fetchone()
        if stored[0] != position or stored[1] != line:
            raise InputError(f"document id `{document}` appears twice", f"first on line {stored[1]}", f"{name}:{line}")
