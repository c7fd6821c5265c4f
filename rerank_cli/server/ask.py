"""A request body to what is asked: which API it speaks, its query, documents and settings, and what of it was ignored.

It refuses with `HttpError` and knows nothing of HTTP, queues or scorers. Explicit nulls count as absent and
"true"/"false" as booleans, because clients send them (LangChain, RAGFlow).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.fields import make_renderer
from rerank_cli.records import Document, Source
from rerank_cli.report import Report
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, wrong_type
from rerank_cli.server.settings import MOST_DEPTH, MOST_FIELDS, MOST_NOTES
from rerank_cli.settings import FieldSettings
from rerank_cli.text import is_blank, replace_surrogates, shown

if TYPE_CHECKING:
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.settings import Limits

Route = Literal["v1", "v2", "rerank"]

COMMON = ("model", "query", "documents", "top_n")
V1 = (*COMMON, "rank_fields", "return_documents", "max_chunks_per_doc")
# LiteLLM and older SDKs send return_documents to v2, where Cohere never documented it.
V2 = (*COMMON, "max_tokens_per_doc", "return_documents", "priority", "relevant_spans")
TEI = ("query", "texts", "truncate", "truncation_direction", "raw_scores", "return_text", "top_n")
ANY = tuple(dict.fromkeys((*V1, *V2, "raw_scores")))
STRICT: dict[str, tuple[str, ...]] = {"v1": V1, "v2": V2, "rerank": ANY}
NO_EFFECT = frozenset({"priority", "relevant_spans", "truncation_direction"})
DOCUMENTS = frozenset({"documents", "texts"})
BOOLEANS = {"true": True, "false": False}
SOURCE = Source("documents", "json")
# orjson reads integers beyond 64 bits as floats: a body that may hold one is read exactly, like one it refuses.
_LONG_NUMBER = re.compile(rb"\d{19}")


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """One request as the core wants it. `values` are the documents as sent, `documents` what is scored of them."""

    tei: bool
    route: Route
    query: str
    values: list[Any]
    documents: list[Document]
    limits: Limits
    top_n: int | None = None
    with_documents: bool = False
    raw_scores: bool = False
    model: str | None = None
    warnings: tuple[str, ...] = ()


def parse(body: bytes, route: Route, settings: ServeSettings) -> RerankRequest:
    """The request that a body holds; a body with `texts` is TEI's, whatever the path. Raises HttpError."""
    value = load(body)
    if not isinstance(value, dict):
        raise wrong_type("body", value, "object")
    tei = value.get("texts") is not None
    try:
        keys = {key: item for key, item in value.items() if item is not None}
        return _tei(keys, route, settings) if tei else _cohere(keys, route, settings)
    except HttpError as fault:
        fault.tei = tei
        raise


def load(body: bytes) -> Any:
    """The value of JSON text; raises HttpError 400 for anything that is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _load_exactly(body)
    return _load_exactly(body) if _LONG_NUMBER.search(body) else value


def _load_exactly(body: bytes) -> Any:
    """By the standard library's parser, which also reads lone surrogates (JavaScript cuts emoji in half)."""
    from rerank_cli.readers.values import exact

    try:
        return exact(body.decode("utf-8-sig"), "body")
    except UnicodeDecodeError as error:
        raise HttpError(400, http_errors.BAD_JSON.format(reason=f"invalid UTF-8 at byte {error.start}")) from None
    except InputError as error:
        reason = error.message.removeprefix("body: ").removeprefix("not valid JSON: ")
        if "set_int_max_str_digits" in reason:  # Python's advice is none for a client
            reason = "a number has too many digits"
        raise HttpError(400, http_errors.BAD_JSON.format(reason=reason)) from None


def _cohere(keys: dict[str, Any], route: Route, settings: ServeSettings) -> RerankRequest:
    notes = _unknown(keys, STRICT[route] if settings.strict else ANY, settings)
    model = _typed(keys, "model", str, "string")
    if settings.strict and route == "v2" and not model:
        raise HttpError(400, http_errors.NO_MODEL)
    query = _query(keys, settings)
    chunks = _count(keys, "max_chunks_per_doc") or 1
    values = _documents(keys, "documents", settings, chunks, objects=not settings.strict or route != "v2")
    report = Report()
    documents = _render(values, _rank_fields(keys), settings, report)
    _refuse_blank(documents)
    return RerankRequest(
        tei=False,
        route=route,
        query=query,
        values=values,
        documents=documents,
        limits=_limits(keys, settings),
        top_n=_count(keys, "top_n"),
        with_documents=_boolean(keys, "return_documents"),
        raw_scores=_boolean(keys, "raw_scores"),
        model=model,
        warnings=(*notes, *report.warnings()),
    )


def _tei(keys: dict[str, Any], route: Route, settings: ServeSettings) -> RerankRequest:
    notes = _unknown(keys, TEI, settings)
    query = _query(keys, settings)
    values = _documents(keys, "texts", settings, 1, objects=False)
    report = Report()
    documents = _render(values, (), settings, report)
    _refuse_blank(documents)
    limits = settings.limits
    if not _boolean(keys, "truncate", default=True):
        limits = replace(limits, long_documents="error")
    return RerankRequest(
        tei=True,
        route=route,
        query=query,
        values=values,
        documents=documents,
        limits=limits,
        top_n=_count(keys, "top_n"),
        with_documents=_boolean(keys, "return_text"),
        raw_scores=_boolean(keys, "raw_scores"),
        warnings=(*notes, *report.warnings()),
    )


def _unknown(keys: dict[str, Any], known: tuple[str, ...], settings: ServeSettings) -> list[str]:
    """What the reply says of fields that change nothing. Raises HttpError 422 for an unknown one if strict."""
    notes = []
    for key, value in keys.items():
        name = shown(key)
        if isinstance(value, dict | list) and key not in DOCUMENTS:
            _refuse_odd(f"field `{name}`", value)
        if key in NO_EFFECT and key in known:
            notes.append(f"field `{name}` has no effect on this server")
        elif key not in known:
            if settings.strict:
                raise HttpError(422, http_errors.UNKNOWN_FIELD.format(name=name))
            if len(notes) < MOST_NOTES:
                near = did_you_mean(name, known)
                notes.append(f"unknown field `{name}` is ignored" + (f"; {near}" if near else ""))
    return notes[:MOST_NOTES]


def _query(keys: dict[str, Any], settings: ServeSettings) -> str:
    query = replace_surrogates(_typed(keys, "query", str, "string") or "")
    if is_blank(query):
        raise HttpError(400, http_errors.BLANK_QUERY, kind="empty")
    if len(query) > settings.max_query:
        raise HttpError(422, f"the query has {len(query)} characters; this server takes at most {settings.max_query}")
    return query


def _documents(keys: dict[str, Any], name: str, settings: ServeSettings, chunks: int, *, objects: bool) -> list[Any]:
    """The documents as sent, not too many and none too large. TEI and Cohere's v2 (if strict) know no objects."""
    values: list[Any] = _typed(keys, name, list, "array") or []
    if not values:
        raise HttpError(400, http_errors.NO_DOCUMENTS, kind="empty")
    most = settings.max_documents
    if len(values) * chunks >= most:
        raise HttpError(400, http_errors.TOO_MANY.format(most=most))
    for index, value in enumerate(values):
        if isinstance(value, str):
            _refuse_long(index, len(value), settings)
        elif isinstance(value, dict) and objects:
            _refuse_odd(f"document at index {index}", value)
        else:
            raise wrong_type(f"{name}[{index}]", value, "string or object" if objects else "string")
    return values


def _refuse_long(index: int, length: int, settings: ServeSettings) -> None:
    if length > settings.max_document:
        most = settings.max_document
        raise HttpError(422, f"document at index {index} has {length} characters; this server takes at most {most}")


def _refuse_odd(what: str, value: Any) -> None:
    """Raises HttpError 422 for what is nested too deep, or holds a number that could not be sent back (1e999)."""
    level: list[Any] = [value]
    for _ in range(MOST_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if any(isinstance(inner, float) and math.isinf(inner) for inner in level):
            raise HttpError(422, f"{what} has a number beyond the range of a double")
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return
    raise HttpError(422, f"{what} is nested deeper than {MOST_DEPTH} levels")


def _render(values: list[Any], rank_fields: tuple[str, ...], settings: ServeSettings, report: Report) -> list[Document]:
    """What is scored of each document: a string itself, of an object its `text` or the rank fields, in order."""
    plain = make_renderer(FieldSettings(), report)
    chosen = make_renderer(FieldSettings(rank_fields=rank_fields), report) if rank_fields else plain
    made = []
    for index, value in enumerate(values):
        where = f"document at index {index}"
        try:
            text, head = plain(value, where) if isinstance(value, str) else chosen(value, where)
        except InputError as error:
            raise HttpError(400, f"invalid request: {error.message}") from None
        _refuse_long(index, len(text), settings)
        made.append(Document(index, b"", text, SOURCE, None, head))
    return made


def _refuse_blank(documents: list[Document]) -> None:
    blank = [document.index for document in documents if is_blank(document.text)]
    if len(blank) == len(documents) > 1:
        raise HttpError(400, http_errors.ALL_BLANK, kind="empty")
    if blank:
        raise HttpError(400, http_errors.BLANK_DOCUMENT.format(index=blank[0]), kind="empty")


def _limits(keys: dict[str, Any], settings: ServeSettings) -> Limits:
    own = settings.limits
    tokens, chunks = _count(keys, "max_tokens_per_doc"), _count(keys, "max_chunks_per_doc")
    return replace(
        own,
        max_tokens_per_doc=tokens or own.max_tokens_per_doc,
        max_chunks_per_doc=chunks or own.max_chunks_per_doc,
    )


def _rank_fields(keys: dict[str, Any]) -> tuple[str, ...]:
    names = _typed(keys, "rank_fields", list, "array")
    if names is None:
        return ()
    if not names:
        raise HttpError(400, http_errors.NO_FIELDS)
    if len(names) > MOST_FIELDS:
        raise HttpError(422, f"rank_fields has {len(names)} names; this server takes at most {MOST_FIELDS}")
    for name in names:
        if not isinstance(name, str) or not name:
            raise wrong_type("rank_fields", name, "non-empty string")
    return tuple(names)


def _typed(keys: dict[str, Any], name: str, kind: type, wanted: str) -> Any:
    value = keys.get(name)
    if value is not None and not isinstance(value, kind):
        raise wrong_type(name, value, wanted)
    return value


def _count(keys: dict[str, Any], name: str) -> int | None:
    """A whole number of at least 1; `5.0` is one, as in JSON Schema."""
    value = keys.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, value, "integer")
    if value < 1:
        raise HttpError(400, f"invalid request: {name} must be at least 1")
    return value


def _boolean(keys: dict[str, Any], name: str, *, default: bool = False) -> bool:
    value = keys.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    if not isinstance(value, bool):
        raise wrong_type(name, value, "boolean")
    return value
