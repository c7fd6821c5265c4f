"""Runs and qrels as other tools write them: CSV or TSV with a header, and JSON objects by query and document.

It names columns and finds JSON records; what becomes of them is known to `trec` and `qrels`.
"""

from __future__ import annotations

import csv
import math
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.readers.rows import Row, json_object, json_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER_QUERIES = ("query_id", "query-id", "qid", "q_id", "queryid", "topic_id", "query", "topic")
HEADER_DOCUMENTS = (
    "docno", "id", "_id", "docid", "doc_id", "document_id", "corpus-id", "corpus_id", "pid", "passage_id", "doc",
    "document",
)  # fmt: skip
DOCUMENT_HINT = "is the file complete? a JSON object per line needs no list around them"
DELIMITERS = ("\t", ",", ";", None)  # None: blanks


class Header(NamedTuple):
    """A first line that names columns, in lower case, and what separates them (None: blanks)."""

    delimiter: str | None
    names: tuple[str, ...]

    def column(self, wanted: tuple[str, ...]) -> str | None:
        """The first of these names that there is."""
        return next((name for name in wanted if name in self.names), None)


def header_of(first: Row) -> Header | None:
    """The header of a file of runs or qrels, None if its first line is none.

    Raises InputError for a header that names a query or a document column, but not both, or a column twice.
    """
    for delimiter in DELIMITERS:
        try:
            cells = next(csv.reader([first.text], delimiter=delimiter)) if delimiter else first.text.split()
        except csv.Error:  # a carriage return, or one field of more than 128 KB
            continue
        names = tuple(cell.strip().lower() for cell in cells)
        header = Header(delimiter, names)
        if not header.column(HEADER_DOCUMENTS) or not header.column(HEADER_QUERIES) or any(map(_is_number, names)):
            continue
        if len(set(names)) < len(names):
            raise InputError("two columns have the same name", "give each column its own name", first.where)
        return header
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def headed_rows(header: Header, rows: Iterable[Row]) -> Iterator[tuple[dict[str, str], Row]]:
    """The rows below a header: filled cells by name. Raises InputError with `file:line`."""
    if header.delimiter is None:
        for row in rows:
            yield _cells(header, row.text.split(), row), row
        return
    last: list[Row] = []

    def lines() -> Iterator[str]:
        for row in rows:
            last[:] = [row]
            yield row.text + "\n"

    csv.field_size_limit(1 << 30)
    reader = csv.reader(lines(), delimiter=header.delimiter, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as exc:
            where = last[0].where if last else None
            raise InputError(f"broken quoting: {exc}", "quote fields that contain quotes or newlines", where) from exc
        if cells is None:
            return
        yield _cells(header, cells, last[0]), last[0]


def _cells(header: Header, cells: list[str], row: Row) -> dict[str, str]:
    if len(cells) != len(header.names):
        message = f"the row has {len(cells)} fields, the header has {len(header.names)}"
        raise InputError(message, "every row needs as many fields as the header", row.where)
    return {name: cell.strip() for name, cell in zip(header.names, cells, strict=True) if cell.strip()}


def named_cell(header: Header, cells: dict[str, str], wanted: tuple[str, ...], row: Row) -> str:
    """The cell that must be there, as the id of a query. Raises InputError."""
    name = header.column(wanted) or wanted[0]
    if name not in cells:
        raise InputError(f"column `{name}` is empty", "every row names its query and its document", row.where)
    return cells[name]


def number(text: str, what: str, where: str) -> float:
    """A finite number. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} `{text}` is not a finite number", "leave the row out, or give it a number", where)
    return value


def json_records(first: Row, stream: Iterator[Row]) -> Iterator[tuple[dict[str, Any], Row]]:
    """JSON lines, or the records of one JSON document over several lines, whose place is its first line."""
    everything = chain([first], stream)
    if first.text.rstrip().endswith("}") and not first.text.lstrip().startswith("["):
        for row in everything:
            yield json_object(row), row
        return
    lines = list(everything)
    try:
        value = json_value("\n".join(row.text for row in lines), "", DOCUMENT_HINT)
    except InputError as error:
        line = getattr(error.__cause__, "lineno", 1)  # of those that are not blank
        raise InputError(error.message, error.hint, lines[line - 1].where) from None
    for record in value if isinstance(value, list) else [value]:
        if not isinstance(record, dict):
            raise InputError("a list of JSON objects is expected", "each is a result or a judgement", first.where)
        yield record, first


def is_nested(record: Mapping[str, Any]) -> bool:
    """Whether an object is `{query: {document: number}}`, as ranx, ir_measures and pytrec_eval write runs and qrels."""
    inner = list(record.values())
    if not inner or not all(isinstance(value, dict) for value in inner) or not any(inner):
        return False
    if any("relevance_score" in value for value in inner):  # a result under --result-key
        return False
    return all(isinstance(number, int | float) for value in inner for number in value.values())
