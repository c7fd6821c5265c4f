"""Requests in files: their options, their documents, and the errors of both with the place.

Which members a request has is known to `rerank_cli.request`. `where` is how the caller names the place.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any

from rerank_cli.absence import FieldCheck, without_empty
from rerank_cli.errors import InputError, UsageError, did_you_mean
from rerank_cli.field_hints import field_hint, has_scored_field, likely_fields, lists_hint, name_list
from rerank_cli.fields import build_document, build_document_fast, type_name
from rerank_cli.member_words import expected
from rerank_cli.readers.answers import elements_of, read_answer
from rerank_cli.readers.chunks import in_chunks
from rerank_cli.readers.engines import members_of_record
from rerank_cli.readers.values import (
    REQUEST_HINT,
    Element,
    Parsed,
    blank_from,
    json_text,
    members_in,
    not_a_list,
    placed,
)
from rerank_cli.records import Document, Request, RequestOptions, Source
from rerank_cli.request import MemberError, as_members, members_of, read_options
from rerank_cli.stage_settings import StageSettings
from rerank_cli.text import has_surrogates, is_blank, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings


def parse_request(
    data: bytes | dict[str, Any], where: str, fields: FieldSettings, report: Report, check: FieldCheck | None = None
) -> Request:
    """One request with its query and documents.

    Args:
        data: the JSON text (documents keep their own bytes), or the parsed object.
        where: how messages name the request, as in `requests.jsonl:3`.
        fields: what is scored; the request's own rank_fields count where no option says otherwise.
        report: receives notes on unknown keys and counts.
        check: of the run that the request belongs to; records which fields were found.

    Raises:
        InputError: not a JSON object, a member of the wrong type, no query or documents, or no document with a field.
    """
    if isinstance(data, dict):
        parsed = _parsed_object(data, where)
    else:
        from rerank_cli.readers.jsontext import parse_json

        parsed = parse_json(data, where, lambda number, _position: f"{where}: documents[{number}]")
    answer = read_answer(parsed, where, fields)
    if answer is parsed and "documents" not in parsed.keys:
        keys = f"; it has {name_list(parsed.keys)}" if parsed.keys else ""
        hint = lists_hint(parsed.keys) or REQUEST_HINT
        raise InputError(f"a request is an object with `query` and `documents`{keys}", hint, where)
    parsed = answer
    options = request_options(parsed, where, report)
    queries = (options.query,) if isinstance(options.query, str) else options.query or ()
    if options.query is None or any(map(is_blank, queries)):
        message = "the request has no `query`" if options.query is None else "`query` is blank"
        raise InputError(message, REQUEST_HINT, where)
    scored = scored_fields(fields, options)
    documents = list(_documents(parsed, Source(where, "json"), report, scored))
    _check_fields(documents, where, scored, report, check if scored is fields else None)
    return Request(options.query, without_empty(documents, scored, report), options)


def _check_fields(
    documents: list[Document], where: str, fields: FieldSettings, report: Report, check: FieldCheck | None
) -> None:
    """Raises InputError if no document has a field to score; counts a request that names a field which none has."""
    own = check or FieldCheck(fields)
    own.begin(where)
    own.observe(documents)
    own.end()
    if check is None and own.unseen_rank_fields:
        report.count("unknown_rank_fields")


def request_options(parsed: Parsed, where: str, report: Report) -> RequestOptions:
    """The options of a request; unknown members get a note.

    Raises:
        InputError: a member whose value has the wrong type, or that no stage can work with.
    """
    known = members_of("file")
    for name in parsed.keys:
        if name not in known:
            hint = did_you_mean(shown(name), known)
            report.note(f"unknown request key `{shown(name)}` is ignored" + (f"; {hint}" if hint else ""))
    try:
        options = read_options(parsed.keys, "file")
    except MemberError as error:
        raise _input_error(error, _place_of(error.member.name, parsed.text, where)) from None
    if options.stages:
        _check_stages(options, where)
    return options


def _check_stages(options: RequestOptions, where: str) -> None:
    """Raise InputError for stages that cannot be run, in the words of the command line with members for options."""
    from rerank_cli.stages import check

    try:
        check(StageSettings(**options.stages))
    except UsageError as error:
        raise InputError(as_members(error.message), as_members(error.hint or "") or None, where) from None


def _place_of(name: str, text: str | None, where: str) -> str:
    """The line of a member of the object in a JSON text, as far as it is known."""
    if text is None:
        return where
    position = next(at for key, _, at, _ in members_in(text, blank_from(text, 0)) if key == name)
    return placed(where, text.count("\n", 0, position) + 1)


def _input_error(error: MemberError, where: str) -> InputError:
    name, value = error.member.name, error.value
    if error.problem == "empty":
        return InputError(f"`{name}` is empty", "name at least one field, or leave it out", where)
    wanted, example = expected(error.member)
    if error.member.type == "names":
        alone = isinstance(value, str) and value and not error.element
        hint = f'as in `"{name}": ["{shown(value)}"]`' if alone else f'as in `"{name}": {example}`'
        return InputError(f"`{name}` must be {wanted}", hint, where)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    actual = shown(str(value)) if number and "number" in wanted else type_name(value)
    return InputError(f"`{name}` must be {wanted}, not {actual}", f'as in `"{name}": {example}`', where)


def scored_fields(fields: FieldSettings, request: RequestOptions) -> FieldSettings:
    """What is scored: options take precedence over the request's rank_fields."""
    if fields.rank_fields or fields.explicit_text_field or not request.rank_fields:
        return fields
    return replace(fields, rank_fields=request.rank_fields)


def read_elements(
    parsed: Parsed, source: Source, report: Report, fields: FieldSettings, start: int
) -> Iterator[list[Document]]:
    """Chunks of the documents of a parsed text, numbered from `start`."""
    # a request says itself what is scored
    if "documents" in parsed.keys and fields.join_titles:
        fields = replace(fields, join_titles=False)
    return in_chunks(_documents(parsed, source, report, fields, start))


def _documents(
    parsed: Parsed, source: Source, report: Report, fields: FieldSettings, start: int = 0
) -> Iterator[Document]:
    elements, shape = elements_of(parsed, fields, report, source.name)
    if shape:
        source = replace(source, members=partial(members_of_record, shape=shape))
        fields = replace(fields, join_titles=False)
    build_fast, build = build_document_fast(fields), build_document(fields, report)
    for index, (value, raw, where) in enumerate(elements, start):
        document = build_fast(value, index, raw, source) if type(value) is dict else None
        # A text that is not encodable holds a lone surrogate: `build` replaces and counts it.
        if document is None or not _encodable(document):
            document = build(value, where, index, raw, source)
        yield document


def check_document(parsed: Parsed, fields: FieldSettings, *, several: bool = False) -> Parsed:
    """An object without `documents` is one document if it has a field to score. Raises InputError otherwise.

    Of `several` inputs one may lack the field, unless it holds a list or a query.
    """
    keys = parsed.keys
    if not keys or "documents" in keys:
        return parsed
    wrapper = isinstance(keys.get("query"), str) or any(isinstance(item, list) for item in keys.values())
    if has_scored_field(keys, fields) or (several and not wrapper):
        return Parsed({}, parsed.elements)
    names = fields.rank_fields or (fields.text_field,)
    lists = [key for key, item in keys.items() if isinstance(item, list) and key != "rank_fields"]
    similar = get_close_matches("documents", lists, n=1) or (lists if len(lists) == 1 else [])
    hint = lists_hint(keys) or field_hint(fields, likely_fields(fields, keys))
    if isinstance(keys.get("query"), str):
        change = f"rename `{shown(similar[0])}`" if similar else 'add `"documents": ["…", "…"]`'
        hint = f"a request holds its documents in a list named `documents`: {change}"
    message = f"an object with neither `documents` nor {name_list(names)}; it has {name_list(keys)}"
    raise InputError(message, hint, next(parsed.elements()).where)


def _encodable(document: Document) -> bool:
    return not (has_surrogates(document.text) or has_surrogates(document.id or ""))


def _parsed_object(data: dict[str, Any], where: str) -> Parsed:
    documents = data.get("documents")
    error = not_a_list(documents, where) if "documents" in data and not isinstance(documents, list) else None

    def elements() -> Iterator[Element]:
        for number, value in enumerate(documents or ()):
            place = f"{where}: documents[{number}]"
            yield Element(value, json_text(value, place), place)

    return Parsed(data, elements, error=error)
