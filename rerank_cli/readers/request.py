"""Cohere-shaped requests: which keys they have, what each may hold, how they become `RequestOptions` and documents.

It knows nothing of files; `where` is how its caller names the place.
"""

from __future__ import annotations

import json
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.fields import build_document, build_document_fast, kind_of, lookup, name_list
from rerank_cli.readers.values import Element, Parsed, not_a_list
from rerank_cli.records import Document, Request, RequestOptions, Source
from rerank_cli.text import has_surrogates, is_blank, replace_surrogates, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

_TEXT = ("query", "model")
_COUNTS = ("top_n", "max_tokens_per_doc", "max_chunks_per_doc")
_NAMES = ("id", "query_id")
NOT_SETTINGS = ("documents", "relevance")  # relevance: labels of the documents, read by `eval`
KEYS = ("query", "documents", "rank_fields", "return_documents", "relevance", *_TEXT[1:], *_COUNTS, *_NAMES)


def parse_request(data: bytes | dict[str, Any], where: str, fields: FieldSettings, report: Report) -> Request:
    """One request with its query and documents.

    Args:
        data: the JSON text (documents keep their own bytes), or an object that was parsed already.
        where: how messages name the request, as in `requests.jsonl:3`.
        fields: what is scored; the request's own rank_fields count where no option says otherwise.
        report: receives notes on unknown keys and counts.

    Raises:
        InputError: not JSON, no object, a key of the wrong type, no query, no documents, or a document without field.
    """
    if isinstance(data, dict):
        parsed = _parsed_object(data, where)
    else:
        from rerank_cli.readers.jsontext import parse_json

        parsed = parse_json(data, where, lambda number, _position: f"{where}: documents[{number}]")
    if "documents" not in parsed.keys:
        keys = f"; it has {name_list(parsed.keys)}" if parsed.keys else ""
        raise InputError(f"a request is an object with `query` and `documents`{keys}", where=where)
    body = read_body(parsed.keys, where, report)
    if body.query is None or is_blank(body.query):
        raise InputError("the request has no `query`" if body.query is None else "`query` is blank", where=where)
    source = Source(where, "json")
    return Request(body.query, list(build(parsed.elements(), effective(fields, body), report, source)), body)


def read_body(keys: Mapping[str, Any], where: str, report: Report) -> RequestOptions:
    """The settings of a request; null means not said; unknown keys get a note.

    Raises:
        InputError: a key whose value has the wrong type.
    """
    for key in keys:
        if key not in KEYS:
            near = did_you_mean(shown(key), KEYS)
            report.note(f"unknown request key `{shown(key)}` is ignored" + (f"; {near}" if near else ""))
    said: dict[str, Any] = {key: keys[key] for key in KEYS if keys.get(key) is not None and key not in NOT_SETTINGS}
    for key in _TEXT:
        _check(said, key, str, "a string", where)
    for key in _COUNTS:
        _check(said, key, int, "a whole number of at least 1", where)
    _check(said, "return_documents", bool, "true or false", where)
    for key in _NAMES:
        if key in said:
            said[key] = said[key] if isinstance(said[key], str) else str(_check(said, key, int, "a string", where))
    if "rank_fields" in said:
        said["rank_fields"] = _rank_fields(said["rank_fields"], where)
    encodable: dict[str, Any] = {
        key: replace_surrogates(item) if isinstance(item, str) else item for key, item in said.items()
    }
    return RequestOptions(**encodable)


def _check(said: dict[str, Any], key: str, kind: type, what: str, where: str) -> Any:
    value = said.get(key)
    if value is None:
        return None
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (key in _COUNTS and value < 1):
        number = key in _COUNTS and isinstance(value, (int, float)) and not isinstance(value, bool)
        found = shown(str(value)) if number else kind_of(value)
        raise InputError(f"`{key}` must be {what}, not {found}", where=where)
    return value


def _rank_fields(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        hint = f'as in `"rank_fields": ["{shown(value)}"]`' if isinstance(value, str) else None
        raise InputError("`rank_fields` must be a list of field names", hint, where)
    if not value:
        raise InputError("`rank_fields` is empty", "name at least one field, or leave it out", where)
    return tuple(value)


def effective(fields: FieldSettings, body: RequestOptions) -> FieldSettings:
    """What is scored: options win, else the request's rank_fields."""
    if fields.rank_fields or fields.explicit_text_field or not body.rank_fields:
        return fields
    return replace(fields, rank_fields=body.rank_fields)


def build(
    elements: Iterable[Element], fields: FieldSettings, report: Report, source: Source, start: int = 0
) -> Iterator[Document]:
    """Elements as documents, numbered from `start`."""
    quick, full = build_document_fast(fields), build_document(fields, report)
    for index, (value, raw, where) in enumerate(elements, start):
        document = quick(value, index, raw, source) if type(value) is dict else None
        # A text that is not encodable holds a lone surrogate: the full way replaces and counts it.
        if document is None or not _encodable(document):
            document = full(value, where, index, raw, source)
        yield document


def check_top(parsed: Parsed, fields: FieldSettings, where: str) -> Parsed:
    """A whole file: an object without `documents` is one document if it has a field to score, else an InputError."""
    keys = parsed.keys
    if not keys or "documents" in keys:
        return parsed
    if wanted_in(keys, fields):
        return Parsed({}, parsed.elements)
    wanted = fields.rank_fields or (fields.text_field,)
    lists = [key for key, item in keys.items() if isinstance(item, list) and key != "rank_fields"]
    near = get_close_matches("documents", lists, n=1) or (lists if len(lists) == 1 else [])
    hint = f"pick the list out first, as with `jq -c '.{shown(near[0])}[]'`" if near else None
    if isinstance(keys.get("query"), str):
        how = f"rename `{shown(near[0])}`" if near else 'add `"documents": ["…", "…"]`'
        hint = f"a request holds its documents in a list named `documents`: {how}"
    message = f"an object with neither `documents` nor {name_list(wanted)}; it has {name_list(keys)}"
    raise InputError(message, hint, where)


def is_meant(value: Mapping[str, Any], fields: FieldSettings) -> bool:
    """Whether an object without a list of `documents` is a faulty request rather than a document that has a `query`."""
    known = all(key in KEYS or isinstance(item, list) for key, item in value.items())
    return known and isinstance(value.get("query"), str) and not wanted_in(value, fields)


def wanted_in(value: Mapping[str, Any], fields: FieldSettings) -> bool:
    """Whether an object has a field to score."""
    return any(lookup(value, name) is not None for name in fields.rank_fields or (fields.text_field,))


def _encodable(document: Document) -> bool:
    return not (has_surrogates(document.text) or has_surrogates(document.id or ""))


def _parsed_object(data: dict[str, Any], where: str) -> Parsed:
    documents = data.get("documents")
    if "documents" in data and not isinstance(documents, list):
        raise not_a_list(documents, where)

    def elements() -> Iterator[Element]:
        for number, value in enumerate(documents or ()):
            place = f"{where}: documents[{number}]"
            yield Element(value, json_text(value, place), place)

    return Parsed(data, elements)


def json_text(value: Any, where: str) -> bytes:
    """A value as JSON text, for documents that never were JSON text; raises InputError for what JSON cannot say."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
    except RecursionError as exc:
        raise InputError("nested too deeply", where=where) from exc
    except (TypeError, ValueError) as exc:
        raise InputError(f"no JSON value: {exc}", where=where) from exc
