"""Query files for `batch` and `eval`: one query with its id per row, as TSV, JSON lines or plain lines.

It ranks nothing and knows no documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.readers.rows import Row, json_object, record_id, rows
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QueryFormat = Literal["auto", "tsv", "jsonl", "lines"]
ID_KEYS = ("id", "_id", "query_id", "query-id", "qid")
TEXT_KEYS = ("query", "text", "title")
TSV_HEADERS = {(name, text) for name in ID_KEYS for text in TEXT_KEYS}


class Query(NamedTuple):
    """A query with its id (the line number where a plain line has none) and its place."""

    id: str
    text: str
    where: str


def read_queries(path: str, query_format: QueryFormat = "auto", stdin: BinaryIO | None = None) -> Iterator[Query]:
    """The queries of a file in its order. Raises InputError with `file:line` for broken rows and repeated ids.

    `auto`: a first line that starts with `{` means JSON lines, one with a tab TSV (id, text), else one query per line.
    """
    seen: set[str] = set()
    for number, row in enumerate(rows(path, stdin)):
        if number == 0 and query_format == "auto":
            query_format = _sniff(row.text)
        if number == 0 and query_format == "tsv" and tuple(row.text.lower().split("\t")) in TSV_HEADERS:
            continue
        query = PARSERS[query_format](row)
        if query.id in seen:
            raise InputError(f"query id `{query.id}` appears twice", "give each query its own id", row.where)
        seen.add(query.id)
        yield query


def _sniff(text: str) -> QueryFormat:
    if text.lstrip().startswith("{"):
        return "jsonl"
    return "tsv" if "\t" in text else "lines"


def _line(row: Row) -> Query:
    return Query(str(row.number), row.text, row.where)


def _tsv(row: Row) -> Query:
    name, tab, text = row.text.partition("\t")
    if not tab or not name.strip() or not text.strip():
        raise InputError("a query line is `id<TAB>text`", "plain lines: `--query-format lines`", row.where)
    return Query(name.strip(), text.strip(), row.where)


def _json(row: Row) -> Query:
    record = json_object(row)
    text = next((record[key] for key in TEXT_KEYS if isinstance(record.get(key), str)), None)
    if text is None or is_blank(text):
        hint = 'as in `{"id": "q1", "query": "…"}`'
        raise InputError("a query needs its text in `query` or `text`", hint, row.where)
    return Query(record_id(record, ID_KEYS, row.where) or str(row.number), text, row.where)


PARSERS: dict[str, Callable[[Row], Query]] = {"tsv": _tsv, "jsonl": _json, "lines": _line}
