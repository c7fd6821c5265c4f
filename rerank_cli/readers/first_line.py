"""What JSON lines hold, by the first of them: documents, a request, or what a search engine answered.

It reads one line ahead and builds no documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import orjson

from rerank_cli.errors import InputError
from rerank_cli.field_hints import has_scored_field, lists_hint
from rerank_cli.readers.engines import paired, shape_of_answer, shape_of_record
from rerank_cli.request import members_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.settings import FieldSettings

LinesHold = Literal["documents", "request", "answer", "records"]


def lines_hold(stream: InputStream, fields: FieldSettings, *, only_known: bool = False) -> LinesHold:
    """Documents, one request (correct or not), one answer as a whole, or the records of an answer, one per line.

    An only line with a list and no text counts as an answer too, unless `only_known` ones do. Raises InputError for
    several requests.
    """
    line, more = stream.first_line()
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = _exact(line)
    if type(value) is dict and "documents" not in value and (fields.rank_fields or (fields.text_field,))[0] in value:
        return "documents"  # the usual case, at once
    if not only_known and isinstance(value, dict) and _is_request(value, fields, stream.name, more=more):
        return "request"
    record = paired(value)
    if not isinstance(record, dict) or has_scored_field(record, fields):
        return "documents"
    if not more and (shape_of_answer(record) or (not only_known and lists_hint(record))):
        return "answer"
    return "records" if shape_of_record(record) else "documents"


def _exact(line: bytes) -> Any:
    """The value of a line that orjson refuses; None if it is not JSON: the reader says what is wrong."""
    from rerank_cli.readers.values import exact

    try:
        return exact(line.decode(), "")
    except (InputError, UnicodeDecodeError):
        return None


def _is_request(value: Mapping[str, Any], fields: FieldSettings, name: str, *, more: bool) -> bool:
    """Whether an object is a request rather than a document that has a `query`, or a list of `documents`."""
    listed = isinstance(value.get("documents"), list)
    if listed and more and isinstance(value.get("query"), str):
        hint = "`rerank batch` takes one request per line"
        raise InputError("several requests, one per line; `rank` takes one", hint, name)
    if more or listed:
        return listed and not more
    known = all(key in members_of("file") or isinstance(item, list) for key, item in value.items())
    return known and isinstance(value.get("query"), str) and not has_scored_field(value, fields)
