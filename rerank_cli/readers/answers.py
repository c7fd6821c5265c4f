"""Documents in answers of search engines: whole answers, lists and lines of their records, and --records.

`engines` knows what answers look like. The original text of a record is kept; its members are what `engines` says.
"""

from __future__ import annotations

import shlex
from itertools import chain
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, did_you_mean
from rerank_cli.field_hints import has_scored_field, lists_hint, name_list
from rerank_cli.fields import type_name
from rerank_cli.paths import expand, is_list_of_records, lookup
from rerank_cli.readers.engines import is_number, members_of_record, paired, shape_of_answer, shape_of_record
from rerank_cli.readers.jsontext import guarded
from rerank_cli.readers.spans import parse_path, spans
from rerank_cli.readers.values import Element, Parsed, decode, elements_in, json_text, one_line, values_in
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rerank_cli.readers.engines import Shape
    from rerank_cli.readers.spans import Step
    from rerank_cli.readers.values import Span
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

# Members of a request that an answer may have too: a batch holds answers with the query beside them.
REQUEST = ("id", "query_id", "top_n", "max_tokens_per_doc", "max_chunks_per_doc")


def read_answer(parsed: Parsed, where: str, fields: FieldSettings) -> Parsed:
    """The records of an answer, or of the path that --records names; anything else comes back as it is.

    Raises InputError for a path that leads nowhere, for answers to several queries, and for one without documents.
    """
    if fields.records:
        return _named(parsed, fields.records, where)
    keys = parsed.keys
    prefix = "documents." if isinstance(keys.get("documents"), dict) else ""
    if not keys or ("documents" in keys and not (prefix or "ids" in keys)):
        shape = None  # a list or a request: `elements_of` looks at its documents
    elif not prefix and has_scored_field(keys, fields):
        return parsed
    else:
        value = keys["documents"] if prefix else value_of(parsed) if "ids" in keys else keys
        shape = shape_of_answer(value)
    if shape is None:
        if parsed.error:
            raise parsed.error
        return parsed
    if shape.refused:
        raise InputError(f"{shape.name}: {_reason(shape, value)}", shape.refused, where)
    query = lookup(value, shape.query) if shape.query else None
    kept = _request_members(keys, query)
    if shape.columns:
        rows = _columns(shape, value, where)
        return Parsed(kept, lambda: iter(rows), shape=shape)
    text = parsed.text or json_text(value_of(parsed), where).decode("utf-8", "surrogatepass")
    return Parsed(kept, _at(text, prefix + _only_path(shape, value, where), where), shape=shape)


def _reason(shape: Shape, value: dict[str, Any]) -> str:
    """What an error reply says, on one line."""
    found = [lookup(value, path) for path in shape.reason]
    texts = [text for one in found for text in (one if isinstance(one, list) else [one]) if isinstance(text, str)]
    return shown(texts[0], 200) if texts else "there is nothing to rank"


def elements_of(
    parsed: Parsed, fields: FieldSettings, report: Report, where: str
) -> tuple[Iterator[Element], Shape | None]:
    """The documents of a text, and their shape if they are an engine's records, with the members of that shape."""
    elements, shape = parsed.elements(), parsed.shape
    if shape is None:
        elements, shape = _shape_of_list(elements, fields, where)
    return (_described(elements, shape, fields, report, where) if shape else elements), shape


def _shape_of_list(
    elements: Iterator[Element], fields: FieldSettings, where: str
) -> tuple[Iterator[Element], Shape | None]:
    """The documents of a list, and their shape if they are an engine's records."""
    first = next(elements, None)
    if first is None:
        return elements, None
    if isinstance(first.value, list) and is_list_of_records(first.value) and paired(first.value) is first.value:
        return _shape_of_list(_only_list(first, elements, where), fields, where)
    record = paired(first.value)
    known = not isinstance(record, dict) or has_scored_field(record, fields)
    shape = None if known else shape_of_record(record)
    return chain([first], elements), shape and shape._replace(records="")


def _only_list(first: Element, others: Iterator[Element], where: str) -> Iterator[Element]:
    """The elements of a list of one list, as Milvus gives for one query. Raises InputError for several lists."""
    if next(others, None) is not None:
        raise InputError("several lists of records", "name one of them: `--records '[0][]'`", where)
    yield from _part(first, (None,))


def _part(whole: Element, steps: tuple[int | None, ...]) -> list[Element]:
    """The elements of an element that is a list."""
    text = whole.raw.decode("utf-8", "surrogatepass")
    found = spans(text, 0, steps)
    return [
        Element(value, text[start:end].encode("utf-8", "surrogatepass"), whole.where) for value, start, end in found
    ]


def _described(
    elements: Iterator[Element], shape: Shape, fields: FieldSettings, report: Report, where: str
) -> Iterator[Element]:
    """An engine's records with the members of the objects inside them; a note says what was recognised."""
    for number, element in enumerate(elements):
        record = paired(element.value)
        raw = element.raw if record is element.value else _part(element, (0,))[0].raw
        if isinstance(record, dict):
            record = members_of_record(record, shape)
            if number == 0:
                _note(record, shape, fields, report, where)
        yield Element(record, raw, element.where)


def _note(members: dict[str, Any], shape: Shape, fields: FieldSettings, report: Report, where: str) -> None:
    """Say what was recognised, and which option finds the engine's own score."""
    if fields.prior_field in shape.distance:
        report.warn(
            f"`{fields.prior_field}` is low for good documents, and fusion takes high scores for good ones: "
            "`--prior-field score` is its negative"
        )
    names = (*shape.score, *(("score",) if shape.distance else ()))
    score = next((name for name in names if is_number(lookup(members, name))), None)
    offer = f"; `--prior-field {score}` fuses the engine's own score" if score and not fields.prior_field else ""
    records = f"the records of `{shape.records}`" if "*" not in shape.records and shape.records else "its records"
    report.note(f"{where.partition(':')[0]} looks like a response from {shape.name}: {records} are ranked{offer}")


def _request_members(value: dict[str, Any], query: Any) -> dict[str, Any]:
    """The members of an answer that count as those of a request: the query, in a batch its id and limits."""
    query = value["query"] if isinstance(value.get("query"), str) else query
    kept: dict[str, Any] = {name: value[name] for name in REQUEST if isinstance(value.get(name), int | str)}
    return {**kept, "query": query} if isinstance(query, str) else kept


def _only_path(shape: Shape, value: dict[str, Any], where: str) -> str:
    """The one path of the records. Raises InputError if there are several, as in answers to several queries."""
    queries = lookup(value, shape.queries) if shape.queries else [value]
    paths = [shape.records.replace("[0]", f"[{number}]", 1) for number in range(len(queries))]
    if not shape.queries:
        paths = expand(value, shape.records)
    if len(paths) > 1:
        hint = " or ".join(f"`--records {shlex.quote(path)}`" for path in paths[:3])
        raise InputError(f"{shape.name}: {len(paths)} lists of records", f"name one of them: {hint}", where)
    return paths[0]


def _columns(shape: Shape, value: dict[str, Any], where: str) -> list[Element]:
    """The records of columns, which are nested once more in an answer to a query."""
    columns = {name: value[column] for column, name in shape.columns if isinstance(value.get(column), list)}
    if columns["id"] and isinstance(columns["id"][0], list):
        if len(columns["id"]) > 1:
            first = ", ".join(f"{column}: [.{column}[0]]" for column, name in shape.columns if name in columns)
            hint = f"take one of them, as with `jq '{{{first}}}'`"
            message = f"{shape.name}: answers to {len(columns['id'])} queries"
            raise InputError(message, hint, where)
        columns = {name: column[0] for name, column in columns.items() if column}
    count = len(columns["id"])
    if any(not isinstance(column, list) or len(column) != count for column in columns.values()):
        raise InputError(f"{shape.name}: the columns differ in length", "is the answer complete?", where)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    places = (f"{where}: record {number}" for number in range(count))
    return [Element(row, json_text(row, place), place) for row, place in zip(rows, places, strict=True)]


def _named(parsed: Parsed, path: str, where: str) -> Parsed:
    """The records of the path that --records names in one value. Raises InputError if it leads nowhere."""
    return records_at(parsed.text or json_text(value_of(parsed), where), path, where)


def records_at(text: str | bytes, path: str, where: str) -> Parsed:
    """The records at a path of each of the JSON values of a text. Raises InputError if it leads nowhere."""
    text = decode(text, where) if isinstance(text, bytes) else text
    elements, steps, values = (
        _at(text, path, where),
        parse_path(path),
        [value for value, _, _ in guarded(values_in(text), where)],
    )
    if values and next(elements(), None) is None:
        list_at = path.strip().removeprefix(".").removesuffix("[]")
        if not is_list_of_records(lookup(values[0], list_at) if list_at else values[0]):
            raise _leads_nowhere(values[0], steps, path, where)
    single = values[0] if len(values) == 1 and isinstance(values[0], dict) else None
    return Parsed({} if single is None else _request_members(single, None), elements)


def _leads_nowhere(value: Any, steps: tuple[Step, ...], path: str, where: str) -> InputError:
    """The error for a path that leads nowhere: the name that is not there, and those that are."""
    names = list(chain.from_iterable(step.split(".") if isinstance(step, str) else [step] for step in steps))
    for number, step in enumerate(names):
        if isinstance(step, str) and isinstance(value, dict):
            if step not in value:
                hint = did_you_mean(step, value) or f"`--records` names a list of these: {name_list(value)}"
                return InputError(f"`{path}` leads nowhere: there is no `{step}`", hint, where)
            value = value[step]
        elif isinstance(value, list) and not isinstance(step, str):
            if len(value) <= (step or 0):
                break
            value = value[step or 0]
        else:
            known = "".join(f".{name}" if isinstance(name, str) else "[]" for name in names[:number])[1:] or "."
            hint = lists_hint(value) or "`.` is the whole, `[]` every element of a list"
            return InputError(f"`{path}` leads nowhere: `{known}` is {type_name(value)}", hint, where)
    return InputError(f"`{path}` leads nowhere: the list has fewer elements", "`[]` names all of them", where)


def _at(text: str, path: str, where: str) -> Callable[[], Iterator[Element]]:
    """The elements at a path, with their own text and their place. A list at its end stands for its elements."""
    steps = parse_path(path)

    def elements() -> Iterator[Element]:
        found = chain.from_iterable(spans(text, start, steps) for _, start, _ in values_in(text))
        lists = (_of_list(text, span) for span in found)
        for number, (record, start, end) in enumerate(chain.from_iterable(lists)):
            raw = one_line(text[start:end]).encode("utf-8", "surrogatepass")
            yield Element(record, raw, f"{where}: record {number} of `{path}`")

    return elements


def _of_list(text: str, span: Span) -> Iterable[Span]:
    """The elements of a list that is not a pair of record and score; else the value alone."""
    whole = not isinstance(span[0], list) or paired(span[0]) is not span[0]
    return (span,) if whole else elements_in(text, span[1])


def value_of(parsed: Parsed) -> Any:
    """The whole value of a text that was read as a request or a list."""
    if not parsed.keys or (parsed.keys.get("documents", ...) is None and not parsed.error):
        documents = [element.value for element in parsed.elements()]
        return {**parsed.keys, "documents": documents} if parsed.keys else documents
    return parsed.keys
