"""Tab-separated lines without a header: an id, a tab and the text, as in MS MARCO's collections and queries.

Quotes mean nothing in these files. A line becomes an object, `{"id": …, "text": …}`, so that ids reach every output.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.fields import build_document, build_document_fast
from rerank_cli.readers.chunks import in_chunks
from rerank_cli.readers.values import json_text, not_utf8
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

# Usual names of columns, in lower case.
ID_NAMES = frozenset(
    ("id", "_id", "docid", "doc_id", "document_id", "docno", "pid", "corpus-id", "corpus_id", "qid", "query_id",
     "query-id", "queryid", "doc-id", "passage_id")
)  # fmt: skip
TEXT_NAMES = frozenset(
    ("text", "query", "title", "question", "body", "content", "contents", "passage", "abstract", "document", "url")
)
PAIR = ("id", "text")
WEB_PAGE = ("id", "url", "title", "text")  # MS MARCO's documents
_ID_LIKE = re.compile(r"\S*\d\S*")


def is_header(cells: Sequence[str], fields: FieldSettings) -> bool:
    """Whether the cells of a first line name columns: an id and a text, or a field that options name."""
    names = {cell.strip().lower() for cell in cells}
    named = {fields.text_field, *fields.rank_fields, *fields.id_fields} if _are_named(fields) else {fields.text_field}
    return bool(names & ID_NAMES and names & TEXT_NAMES) or bool({cell.strip() for cell in cells} & named)


def _are_named(fields: FieldSettings) -> bool:
    return bool(fields.rank_fields) or fields.explicit_text_field


def columns_of(line: bytes, fields: FieldSettings) -> tuple[str, ...] | None:
    """The columns of tab-separated documents that have no header, by their first line; None if it is a header.

    Only what is beyond doubt counts: an id with a digit, and a text of several words unless the id is a number.
    """
    cells = line.decode("utf-8", "replace").split("\t")
    columns = columns_without_header(cells)
    if columns is None or is_header(cells, fields) or not _ID_LIKE.fullmatch(cells[0].strip()):
        return None
    return columns if cells[0].strip().isdigit() or " " in cells[-1].strip() else None


def columns_without_header(cells: Sequence[str]) -> tuple[str, ...] | None:
    """What the cells of a line hold if no header says it; None if that is unknown."""
    if len(cells) == len(WEB_PAGE) and cells[1].startswith(("http://", "https://")):
        return WEB_PAGE
    return PAIR if len(cells) == len(PAIR) else None


def record_of(text: str, columns: tuple[str, ...], where: str) -> dict[str, str]:
    """A line as an object; further tabs belong to its last column. Raises InputError for one with fewer columns."""
    cells = text.split("\t", len(columns) - 1)
    if len(cells) < len(columns) or not cells[0].strip():
        hint = "without a header a line is " + "<TAB>".join(columns)
        raise InputError(f"the line has {len(cells)} of {len(columns)} columns", hint, where)
    return dict(zip(columns, (cells[0].strip(), *cells[1:]), strict=True))


def numbered_lines(stream: InputStream) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, as text. Raises InputError with `file:line` for invalid UTF-8."""
    for number, raw in stream.lines():
        try:
            yield number, raw.decode()
        except UnicodeDecodeError as exc:
            raise not_utf8(raw, exc.start, stream.name, number) from exc


def read_tabbed(
    stream: InputStream, columns: tuple[str, ...], report: Report, fields: FieldSettings, start: int
) -> Iterator[list[Document]]:
    """Chunks of documents, numbered from `start`. Raises InputError with `file:line`."""
    shown = ", ".join(columns)
    report.note(f"{stream.name} has no header: its columns are read as {shown}")
    return in_chunks(_documents(stream, columns, report, fields, start))


def _documents(
    stream: InputStream, columns: tuple[str, ...], report: Report, fields: FieldSettings, start: int
) -> Iterator[Document]:
    build_fast, build = build_document_fast(fields), build_document(fields, report)
    source = Source(stream.name, "json")
    for index, (number, text) in enumerate(numbered_lines(stream), start):
        where = f"{stream.name}:{number}"
        value = record_of(text, columns, where)
        raw = json_text(value, where)
        yield build_fast(value, index, raw, source) or build(value, where, index, raw, source)
