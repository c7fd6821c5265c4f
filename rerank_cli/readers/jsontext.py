"""A whole JSON text: a list of documents, a Cohere-shaped request, or values one after the other, as jq reads them.

Documents are never serialised again: their spans in the text are found by parsing element by element.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from rerank_cli.errors import InputError
from rerank_cli.readers.values import (
    REQUEST_HINT,
    SINGLE_QUOTES,
    Element,
    Parsed,
    blank_from,
    decode,
    elements_in,
    expect_end,
    is_line,
    members_in,
    not_a_list,
    one_line,
    placed,
    reason,
    syntax_hint,
    value_at,
)
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    Place = Callable[[int, int], str]  # (number of the element, its position in the text) -> where

T = TypeVar("T")


def parse_json(data: bytes, name: str, place: Place | None = None) -> Parsed:
    """What a JSON text holds; `place` names the position of a document, by default `name:line`.

    Raises:
        InputError: not JSON, with the line; also while the elements are read.
    """
    text = decode(data, name)
    request = place is not None
    place = place or _by_line(text, name)
    start = blank_from(text, 0)
    if start == len(text):
        return Parsed({}, lambda: iter(()))
    if text[start] == "[":
        read = _list if request else _values
        return Parsed({}, lambda: guarded(read(text, start, place), name), text)
    if text[start] != "{":
        if request:
            raise InputError("not a JSON object with `query` and `documents`", REQUEST_HINT, _where(name, text, start))
        message = "JSON input holds a list of documents or a request object"
        raise InputError(message, "for plain text use `--input-format lines`", _where(name, text, start))
    return _object(text, start, name, place, alone=request)


def parse_values(text: str, name: str, first_line: int = 1) -> list[Element]:
    """Several JSON values, objects, strings or lists of them, that may stand on several lines each; for documents.

    Raises:
        InputError: not JSON, or a value that is not a document.
    """
    return list(guarded(_values(text, blank_from(text, 0), _by_line(text, name, first_line)), name, first_line))


def _object(text: str, start: int, name: str, place: Place, *, alone: bool) -> Parsed:
    try:
        keys, documents_at, end = _members(text, start)
        if not alone and blank_from(text, end) < len(text):
            return Parsed({}, lambda: guarded(_values(text, start, place), name), text)
        expect_end(text, end)
    except json.JSONDecodeError as exc:
        raise _broken(exc, name) from exc
    if documents_at is None:
        whole = Element(keys, one_line(text[start:end]).encode("utf-8", "surrogatepass"), place(0, start))
        return Parsed(keys, lambda: iter((whole,)), text)
    if text[documents_at] != "[":
        error = not_a_list(keys["documents"], _where(name, text, documents_at))
        return Parsed(keys, lambda: iter(()), text, error=error)
    return Parsed(keys, lambda: guarded(_elements(text, documents_at, place), name), text)


def _values(text: str, position: int, place: Place) -> Iterator[Element]:
    """The documents of values that stand one after the other; the elements of lists among them."""
    number = 0
    while position < len(text):
        if text[position] == "[":
            end = yield from _elements(text, position, place)
        else:
            value, end = value_at(text, position)
            where = place(number, position)
            if isinstance(value, dict) and isinstance(value.get("documents"), list):
                hint = "`rerank batch` takes many requests, one per line"
                raise InputError("a request among other values; `rank` takes one request", hint, where)
            yield Element(value, one_line(text[position:end]).encode("utf-8", "surrogatepass"), where)
        position = blank_from(text, end)
        number += 1


def _list(text: str, start: int, place: Place) -> Iterator[Element]:
    end = yield from _elements(text, start, place)
    expect_end(text, end)


def _members(text: str, start: int) -> tuple[dict[str, Any], int | None, int]:
    """The members of the object at `start`, where `documents` has its value, and the object's end."""
    keys: dict[str, Any] = {}
    documents_at, end = None, start + 1
    for key, value, position, end in members_in(text, start):  # noqa: B007 the last end counts
        if key in keys:
            raise json.JSONDecodeError(f"key `{shown(key)}` appears twice", text, position)
        if key == "documents":
            documents_at = position
        keys[key] = None if key == "documents" and isinstance(value, list) else value
    return keys, documents_at, blank_from(text, end) + 1


def _elements(text: str, start: int, place: Place) -> Generator[Element, None, int]:
    """The elements of the list at `start`; returns where it ends."""
    end = start + 1
    for number, (value, position, end) in enumerate(elements_in(text, start)):
        yield Element(value, one_line(text[position:end]).encode("utf-8"), place(number, position))
    return blank_from(text, end) + 1


def guarded(elements: Iterator[T], name: str, first_line: int = 1) -> Iterator[T]:
    """What is read of a text; an error of the parser becomes an InputError with the line."""
    try:
        yield from elements
    except json.JSONDecodeError as exc:
        raise _broken(exc, name, first_line) from exc


def _broken(exc: json.JSONDecodeError, name: str, first_line: int = 1) -> InputError:
    hint = syntax_hint(exc) or (REQUEST_HINT if is_line(name) else "plain text is `--input-format lines`")
    if hint == SINGLE_QUOTES and not is_line(name):
        hint += "; YAML may have single ones (`--input-format yaml`)"
    where = _where(name, exc.doc, exc.pos, first_line)
    return InputError(f"not valid JSON: {reason(exc)} (column {exc.colno})", hint, where)


def _where(name: str, text: str, position: int, first_line: int = 1) -> str:
    return placed(name, text.count("\n", 0, position) + first_line)


def _by_line(text: str, name: str, first_line: int = 1) -> Place:
    seen, line, last = 0, first_line, 0

    def place(number: int, position: int) -> str:
        nonlocal seen, line, last
        line += text.count("\n", seen, position)
        seen = position
        shared, last = last == line, line  # not the first of its line: the line alone would be ambiguous
        return f"{name}:{line}: documents[{number}]" if shared else f"{name}:{line}"

    return place
