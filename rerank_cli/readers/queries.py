"""Queries for `batch` and `eval`: one query with its id per record, in every input format, or TREC topics.

It ranks nothing and knows no documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Literal, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.field_hints import name_list
from rerank_cli.paths import lookup
from rerank_cli.readers.collection import read_records
from rerank_cli.readers.folders import in_folder
from rerank_cli.readers.rows import name_of_file, record_id
from rerank_cli.report import Report
from rerank_cli.settings import DEFAULT_ID_FIELDS, InputSettings
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.readers.collection import Record
    from rerank_cli.settings import FieldSettings

QueryFormat = Literal["auto", "tsv", "csv", "jsonl", "json", "yaml", "lines", "topics"]
ID_KEYS = ("id", "_id", "query_id", "query-id", "qid", "queryid", "topic_id", "num", "number")
TEXT_KEYS = ("query", "text", "title", "question")


class Query(NamedTuple):
    """A query with its id (its number where a record has none) and its place."""

    id: str
    text: str
    where: str


def read_queries(
    path: str,
    query_format: QueryFormat = "auto",
    stdin: BinaryIO | None = None,
    inputs: InputSettings | None = None,
    report: Report | None = None,
) -> Iterator[Query]:
    """The queries of a file, or of a collection's folder, in their order; made-up ids are noted at the end.

    Args:
        path: the file; `-` is stdin.
        query_format: its format; `auto` goes by name and content.
        stdin: what `-` stands for.
        inputs: the fields that options name; a record that lacks them is read by the usual names.
        report: receives notes.

    Raises:
        InputError: with `file:line`, for records without a text, broken records and repeated ids.
    """
    try:
        yield from _queries(
            in_folder(path, "queries"), query_format, stdin, inputs or InputSettings(), report or Report()
        )
    except InputError as error:
        raise InputError(
            error.message, error.hint and error.hint.replace("--input-format", "--query-format")
        ) from error


def _queries(
    path: str, query_format: QueryFormat, stdin: BinaryIO | None, inputs: InputSettings, report: Report
) -> Iterator[Query]:
    seen: set[str] = set()
    unnamed = 0
    for record in read_records(path, query_format, inputs, report, stdin):
        query, named = _query(record, inputs.fields)
        unnamed += not named
        if query.id in seen:
            raise InputError(f"query id `{query.id}` appears twice", "each query needs its own id", query.where)
        seen.add(query.id)
        yield query
    if unnamed:
        subject = f"{unnamed} query has" if unnamed == 1 else f"{unnamed} queries have"
        stands = "its number stands" if unnamed == 1 else "their numbers stand"
        report.note(f"{name_of_file(path)}: {subject} no id: {stands} instead (--id-field names the field)")


def _query(record: Record, fields: FieldSettings) -> tuple[Query, bool]:
    """A record as a query, and whether it has an id of its own."""
    value = record.value
    if isinstance(value, str):
        text, name = value, None
    else:
        own = fields.id_fields if fields.id_fields != DEFAULT_ID_FIELDS else ()
        name = record_id(value, (*own, *ID_KEYS), record.where)
        text = _text(record, value, fields)
    if is_blank(text):
        raise _blank(record)
    return Query(name or str(record.number), text.strip(), record.where), bool(name)


def _text(record: Record, value: dict[str, object], fields: FieldSettings) -> str:
    named = fields.rank_fields or ((fields.text_field,) if fields.explicit_text_field else ())
    texts = [text for name in named if isinstance(text := lookup(value, name), str) and not is_blank(text)]
    if texts:
        return " ".join(text.strip() for text in texts)
    text = next((item for key in TEXT_KEYS if isinstance(item := value.get(key), str) and not is_blank(item)), None)
    if text is None and any(isinstance(value.get(key), str) for key in TEXT_KEYS):
        raise _blank(record)
    if text is None:
        hint = "name the field with `--text-field`" if value.keys() - set(ID_KEYS) else "remove it, or give it a text"
        message = f"a query needs its text in `query` or `text`; it has {name_list(value)}"
        raise InputError(message, hint, record.where)
    return text


def _blank(record: Record) -> InputError:
    return InputError("the query is blank", "remove it, or give it a text", record.where)
