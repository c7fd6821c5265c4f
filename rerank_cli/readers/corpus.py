"""A corpus by document id: records indexed once, then read by position, in memory that does not grow with its size.

The index is a temporary SQLite database that is deleted with the process. It does not choose what is scored.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.field_hints import name_list
from rerank_cli.readers.collection import read_records
from rerank_cli.readers.folders import in_folder
from rerank_cli.readers.rows import name_of_file, record_id
from rerank_cli.readers.trec import CORPUS_KEYS
from rerank_cli.readers.values import json_text
from rerank_cli.report import Report
from rerank_cli.settings import DEFAULT_ID_FIELDS, InputSettings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from rerank_cli.readers.collection import Record

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


def open_corpus(
    path: str,
    needed: Collection[str] | None = None,
    stdin: BinaryIO | None = None,
    inputs: InputSettings | None = None,
    report: Report | None = None,
) -> Corpus:
    """Index a corpus, or only its `needed` documents.

    Args:
        path: a file in any input format, plain or compressed, or a collection's folder; `-` is stdin.
        needed: ids; None: all.
        stdin: what `-` stands for.
        inputs: the format and the fields that options name.
        report: receives notes.

    Raises:
        InputError: with `file:line`, for broken records, records without an id, and repeated ids.
    """
    import sqlite3

    path = in_folder(path, "documents")

    connection = sqlite3.connect("", isolation_level=None)  # a private file, already unlinked
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute(
        "CREATE TABLE documents (id TEXT PRIMARY KEY, start INTEGER, length INTEGER, line INTEGER) WITHOUT ROWID"
    )
    spool = tempfile.TemporaryFile()  # noqa: SIM115 closed with the corpus
    corpus = Corpus(name_of_file(path), connection, spool)
    try:
        _index(corpus.name, connection, _spooled(corpus_rows(path, stdin, inputs, report), spool, needed))
        spool.flush()
    except BaseException:
        corpus.close()
        raise
    return corpus


def corpus_rows(
    path: str, stdin: BinaryIO | None = None, inputs: InputSettings | None = None, report: Report | None = None
) -> Iterator[tuple[int, CorpusRow]]:
    """The documents of a corpus in its order, with their lines. Raises InputError with `file:line`."""
    inputs = inputs or InputSettings()
    named = inputs.fields.id_fields if inputs.fields.id_fields != DEFAULT_ID_FIELDS else ()
    for record in read_records(path, inputs.input_format, inputs, report or Report(), stdin, answers=True):
        value = record.value
        document_id = record_id(value, named or CORPUS_KEYS, record.where) if isinstance(value, dict) else None
        if document_id is None:
            raise _without_id(record, named)
        yield record.line, CorpusRow(document_id, record.raw or json_text(value, record.where))


def _without_id(record: Record, named: tuple[str, ...]) -> InputError:
    if isinstance(record.value, str):
        hint = "a run names documents by id: give JSON lines, CSV with a header, or lines of id<TAB>text"
        return InputError("a corpus document needs an id; this is plain text", hint, record.where)
    wanted = name_list(named) if named else "`_id`, `id`, `docid`, `docno` or `pid`"
    message = f"a corpus document needs an id ({wanted}); it has {name_list(record.value)}"
    return InputError(message, "name the field with `--id-field`", record.where)


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
            raise InputError(
                f"document id `{document}` appears twice",
                f"first on line {stored[1]}; remove one of the two",
                f"{name}:{line}",
            )
