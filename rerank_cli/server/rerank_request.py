"""The members of a body to a `RerankRequest`: its query, documents and options, and warnings of what was ignored.

It refuses with `HttpError` in Cohere's words and knows nothing of HTTP, queues or scorers. Explicit nulls count as
absent and "true"/"false" as booleans, because clients send them (LangChain, RAGFlow).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli.absence import FieldCheck
from rerank_cli.errors import InputError, UsageError, did_you_mean
from rerank_cli.field_hints import for_members
from rerank_cli.fields import identity, make_renderer
from rerank_cli.pipeline import without_repeats
from rerank_cli.records import Document, Source
from rerank_cli.report import Report
from rerank_cli.request import NAMES, MemberError, as_members, members_of, read_options
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, too_many, wrong_type
from rerank_cli.server.json_body import dump
from rerank_cli.server.members import name_in, our_members, text_of
from rerank_cli.server.records import Adapter, RerankRequest
from rerank_cli.server.settings import CHARS_PER_TOKEN, MAX_DEPTH, MAX_FIELDS, MAX_NOTES
from rerank_cli.settings import DEFAULT_ID_FIELDS, FieldSettings, StageSettings
from rerank_cli.text import is_blank, replace_surrogates, shown

if TYPE_CHECKING:
    from rerank_cli.records import RequestOptions
    from rerank_cli.request import Api, Member
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.settings import Limits

SOURCE = Source("documents", "json")
JSON_TYPES = {
    "string": "string", "count": "integer", "number": "number", "boolean": "boolean", "negation": "boolean",
    "switch": "string or boolean", "count or true": "integer or boolean", "names": "array",
    "texts": "string or array",
}  # fmt: skip


def read_request(body: dict[str, Any], adapter: Adapter, settings: ServeSettings) -> RerankRequest:
    """The request that a body holds. Raises HttpError."""
    strict = settings.strict and adapter.api != "provider"  # the letter of Cohere's API
    rules = adapter if strict or adapter.lenient is None else adapter.lenient
    members = our_members(body, rules, strict=strict)
    notes = _unknown_members(members, members_of(rules.api), strict=strict)
    queries = _queries(members, rules)
    options = _options(members, rules)
    if rules.needs_model and not options.model:
        raise HttpError(400, http_errors.NO_MODEL)
    _check_stages(options)
    query = options.query if isinstance(options.query, str) else ""  # only files have several for all documents
    for each in queries or (query,):
        _check_query(each, settings)
    values = _documents(members, rules, settings)
    chunks = options.max_chunks_per_doc or 1
    if strict and len(values) * chunks >= settings.max_documents:
        raise HttpError(400, http_errors.TOO_MANY_CHUNKS.format(most=settings.max_documents))
    report = Report()
    try:
        texts = values if strict or options.rank_fields else list(map(text_of, values))
        documents = _render(texts, options.rank_fields or (), settings, report)
    except InputError as error:
        raise _invalid(error, rules.api) from None
    if strict:
        _refuse_blank(documents)
    if options.stages.get("dedupe"):
        documents = without_repeats(documents, set(), report)
    if options.stages or options.context:  # they may look at the fields of objects
        documents = [_whole(each, values[each.index]) for each in documents]
    limits = _limits(options, settings, report)
    shortened = _shorten(documents, limits)
    warnings = (*notes, *map(as_members, report.warnings()))
    return RerankRequest(adapter, query, options, values, documents, limits, warnings, shortened, strict, queries)


def _unknown_members(members: dict[str, Any], known: dict[str, Member], *, strict: bool) -> list[str]:
    """Warnings of members that change nothing. Raises HttpError 422 for an unknown one if strict."""
    notes = []
    for key, value in members.items():
        name = shown(key)
        member = known.get(key)
        if isinstance(value, dict | list) and (member is None or member.type != "documents"):
            _refuse_unsendable(f"field `{name}`", value)
        if member is not None and member.type == "ignored":
            notes.append(f"field `{name}` has no effect on this server")
        elif member is None:
            if strict:
                raise HttpError(422, http_errors.UNKNOWN_FIELD.format(name=name))
            if len(notes) < MAX_NOTES:
                hint = None if key in NAMES else did_you_mean(name, known)
                notes.append(f"unknown field `{name}` is ignored" + (f"; {hint}" if hint else ""))
    return notes[:MAX_NOTES]


def _options(members: dict[str, Any], rules: Adapter) -> RequestOptions:
    try:
        options = read_options(members, rules.api, lenient=True)
    except MemberError as error:
        raise _http_error(error, name_in(rules, error.member.name)) from None
    fields = len(options.rank_fields or ())
    if fields > MAX_FIELDS:
        raise HttpError(422, f"rank_fields has {fields} names; this server takes at most {MAX_FIELDS}")
    return options


def _check_stages(options: RequestOptions) -> None:
    """Raises HttpError 422 for stages that cannot be run, in the words of the command line with members for options."""
    if options.stages:
        from rerank_cli.stages import check

        try:
            check(StageSettings(**options.stages))
        except UsageError as error:
            raise HttpError(422, as_members(error.message)) from None


def _http_error(error: MemberError, name: str) -> HttpError:
    """The error of a member, in Cohere's words."""
    if error.problem == "empty":
        return HttpError(400, http_errors.NO_FIELDS)
    if error.problem == "below minimum":
        return HttpError(400, f"invalid request: {name} must be at least {error.member.minimum}")
    if error.problem == "above maximum":
        return HttpError(400, f"invalid request: {name} must be at most {error.member.maximum:g}")
    return wrong_type(name, error.value, "non-empty string" if error.element else JSON_TYPES[error.member.type])


def _queries(members: dict[str, Any], rules: Adapter) -> tuple[str, ...]:
    """The queries of a request that has one per document, the first of which stays in `members`; else none.

    Raises HttpError: their number differs from that of the documents, or one is not a string.
    """
    queries = members.get("query")
    if not rules.many_queries or not isinstance(queries, list):
        return ()
    name, others = name_in(rules, "query"), members.get(rules.documents)
    for index, query in enumerate(queries):
        if not isinstance(query, str):
            raise wrong_type(f"{name}[{index}]", query, "string")
    if len(queries) != 1 and isinstance(others, list) and len(queries) != len(others):
        both = f"{name} has {len(queries)} texts and {name_in(rules, rules.documents)} has {len(others)}"
        raise HttpError(400, f"invalid request: {both}; give one {name}, or as many")
    members["query"] = queries[0] if queries else ""
    return tuple(map(replace_surrogates, queries)) if len(queries) > 1 else ()


def _check_query(query: str, settings: ServeSettings) -> None:
    """Raises HttpError: a query is blank or too long."""
    if is_blank(query):
        raise HttpError(400, http_errors.BLANK_QUERY, error_type="empty")
    if len(query) > settings.max_query:
        raise HttpError(422, f"the query has {len(query)} characters; this server takes at most {settings.max_query}")


def _documents(members: dict[str, Any], rules: Adapter, settings: ServeSettings) -> list[Any]:
    """The documents as sent, not too many and none too large."""
    values = members.get(rules.documents, [])
    name = name_in(rules, rules.documents)
    if not isinstance(values, list):
        raise wrong_type(name, values, "array")
    if not values:
        raise HttpError(400, http_errors.NO_DOCUMENTS, error_type="empty")
    if len(values) > settings.max_documents:
        raise too_many(settings)
    for index, value in enumerate(values):
        if isinstance(value, str):
            _refuse_long(index, len(value), settings)
        elif isinstance(value, dict) and rules.objects:
            _refuse_unsendable(f"document at index {index}", value)
        else:
            expected = "string or object" if rules.objects else "string"
            raise wrong_type(f"{name}[{index}]", value, expected)
    return values


def _refuse_long(index: int, length: int, settings: ServeSettings) -> None:
    if length > settings.max_document:
        most = settings.max_document
        raise HttpError(422, f"document at index {index} has {length} characters; this server takes at most {most}")


def _refuse_unsendable(what: str, value: Any) -> None:
    """Raises HttpError 422 for what is nested too deep, or holds a number that could not be sent back (1e999)."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
        if any(isinstance(inner, float) and math.isinf(inner) for inner in level):
            raise HttpError(422, f"{what} has a number beyond the range of a double")
        level = [inner for inner in level if isinstance(inner, dict | list)]
        if not level:
            return
    raise HttpError(422, f"{what} is nested deeper than {MAX_DEPTH} levels")


def _render(values: list[Any], rank_fields: tuple[str, ...], settings: ServeSettings, report: Report) -> list[Document]:
    """What is scored of each document: a string itself, of an object its `text` or the rank fields, in order."""
    fields = FieldSettings(rank_fields=rank_fields)
    render_string, render_object = make_renderer(FieldSettings(), report), make_renderer(fields, report)
    _check_fields(values, fields, report)
    documents = []
    for index, value in enumerate(values):
        render = render_string if isinstance(value, str) else render_object
        text, head = render(value, f"document at index {index}")
        _refuse_long(index, len(text), settings)
        documents.append(Document(index, b"", text, SOURCE, None, head))
    return documents


def _whole(document: Document, value: Any) -> Document:
    return document._replace(raw=dump(value), id=identity(value, DEFAULT_ID_FIELDS))


def _invalid(error: InputError, api: Api) -> HttpError:
    """What is wrong with documents, and which member of the request would help."""
    names = '"rank_fields": [{}]' if "rank_fields" in members_of(api) else None
    hint = for_members(error.hint, names) if error.hint else None
    return HttpError(400, f"invalid request: {error.message}" + (f"; {hint}" if hint else ""))


def _check_fields(values: list[Any], fields: FieldSettings, report: Report) -> None:
    """Raises InputError if no document has a field to score; warns of a rank field that none has."""
    check = FieldCheck(fields)
    check.observe_values(values)
    check.end()
    check.finish(report, strict=False)


def _refuse_blank(documents: list[Document]) -> None:
    """Raises HttpError 400 for a blank document, as Cohere's API does."""
    blank = [document.index for document in documents if is_blank(document.text)]
    if len(blank) == len(documents) > 1:
        raise HttpError(400, http_errors.ALL_BLANK, error_type="empty")
    if blank:
        raise HttpError(400, http_errors.BLANK_DOCUMENT.format(index=blank[0]), error_type="empty")


def _shorten(documents: list[Document], limits: Limits) -> frozenset[int]:
    """Keep of each document what can hold the tokens to be scored; the indices of those that lost text.

    Tokenising takes time whether its tokens are scored or not. Text in any language has far fewer characters per token.
    Raises HttpError 422 where nothing may be cut.
    """
    most = limits.max_tokens_per_doc * CHARS_PER_TOKEN
    long = [index for index, document in enumerate(documents) if len(document.text) > most]
    for index in long:
        if limits.long_documents == "error":
            raise HttpError(422, f"document at index {index} has more than {most} characters, and may not be cut")
        documents[index] = documents[index]._replace(text=documents[index].text[:most])
    return frozenset(long)


def _limits(options: RequestOptions, settings: ServeSettings, report: Report) -> Limits:
    own, asked = settings.limits, options.max_tokens_per_doc
    most = max(settings.max_tokens, own.max_tokens_per_doc)
    if asked and asked > most:
        report.warn(f"max_tokens_per_doc is {most}, the most that this server takes")
    return replace(
        own,
        max_tokens_per_doc=min(asked, most) if asked else own.max_tokens_per_doc,
        max_chunks_per_doc=options.max_chunks_per_doc or own.max_chunks_per_doc,
        long_documents="error" if options.truncate is False else own.long_documents,
    )
