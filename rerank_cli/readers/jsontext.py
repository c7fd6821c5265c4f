"""A whole JSON text: a list of documents, a Cohere-shaped request, or one document, each with its original text.

Documents are never serialised again: their spans in the text are found by parsing element by element.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError
from rerank_cli.readers.values import (
    DIGITS_HINT,
    REQUEST_HINT,
    Element,
    Parsed,
    blank_from,
    decode,
    expect_end,
    is_line,
    not_a_list,
    one_line,
    placed,
    reason,
    syntax_hint,
    value_at,
)
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Place = Callable[[int, int], str]  # (number of the element, its position in the text) -> where


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
        return Parsed({}, lambda: _guard(_elements(text, start, place, last=True), name), text)
    if text[start] != "{":
        if request:
            raise InputError("not a JSON object with `query` and `documents`", REQUEST_HINT, _where(name, text, start))
        message = "JSON input holds a list of documents or a request object"
        raise InputError(message, "for plain text use `--input-format lines`", _where(name, text, start))
    return _object(text, start, name, place)


def parse_values(data: bytes, name: str) -> tuple[str, list[Any]]:
    """The text, and all JSON values in it, one after the other as in JSON lines; raises InputError with the line."""
    text = decode(data, name)
    values: list[Any] = []
    position = blank_from(text, 0)
    while position < len(text):
        try:
            value, end = value_at(text, position)
        except ValueError as exc:
            raise _broken(exc, name) from exc
        values.append(value)
        position = blank_from(text, end)
    return text, values


def _object(text: str, start: int, name: str, place: Place) -> Parsed:
    try:
        keys, documents_at, end = _members(text, start)
        expect_end(text, end)
    except ValueError as exc:
        raise _broken(exc, name) from exc
    if documents_at is None:
        whole = Element(keys, one_line(text[start:end]).encode("utf-8", "surrogatepass"), place(0, start))
        return Parsed(keys, lambda: iter((whole,)), text)
    if text[documents_at] != "[":
        error = not_a_list(keys["documents"], _where(name, text, documents_at))
        return Parsed(keys, lambda: iter(()), text, error)
    return Parsed(keys, lambda: _guard(_elements(text, documents_at, place, last=False), name), text)


def _members(text: str, start: int) -> tuple[dict[str, Any], int | None, int]:
    """The members of the object at `start`, where `documents` has its value, and the object's end."""
    keys: dict[str, Any] = {}
    documents_at = None
    position = blank_from(text, start + 1)
    if text[position : position + 1] == "}":
        return keys, None, position + 1
    while True:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("expecting a key in double quotes", text, position)
        key, position = value_at(text, position)
        position = _expect(text, position, ":")
        if key in keys:
            raise json.JSONDecodeError(f"key `{shown(key)}` appears twice", text, position)
        if key == "documents":
            documents_at = position
        value, position = value_at(text, position)
        keys[key] = None if key == "documents" and isinstance(value, list) else value
        position = blank_from(text, position)
        if text[position : position + 1] == "}":
            return keys, documents_at, position + 1
        position = _expect(text, position, ",")


def _elements(text: str, start: int, place: Place, *, last: bool) -> Iterator[Element]:
    """The elements of the list at `start`; with `last`, nothing may follow it."""
    position = blank_from(text, start + 1)
    number = 0
    if text[position : position + 1] != "]":
        while True:
            try:
                value, end = value_at(text, position)
            except json.JSONDecodeError:
                raise
            except ValueError as exc:  # too many digits: the parser does not say where
                raise InputError(f"not valid JSON: {exc}", DIGITS_HINT, place(number, position)) from exc
            raw = one_line(text[position:end]).encode("utf-8")
            yield Element(value, raw, place(number, position))
            number += 1
            position = blank_from(text, end)
            if text[position : position + 1] == "]":
                break
            position = _expect(text, position, ",")
    if last:
        expect_end(text, position + 1)


def _expect(text: str, position: int, sign: str) -> int:
    position = blank_from(text, position)
    if text[position : position + 1] != sign:
        raise json.JSONDecodeError(f"expecting `{sign}`", text, position)
    return blank_from(text, position + 1)


def _guard(elements: Iterator[Element], name: str) -> Iterator[Element]:
    try:
        yield from elements
    except ValueError as exc:
        raise _broken(exc, name) from exc


def _broken(exc: ValueError, name: str) -> InputError:
    if not isinstance(exc, json.JSONDecodeError):
        return InputError(f"not valid JSON: {exc}", DIGITS_HINT, name)
    other = "one JSON value per line is `--input-format jsonl`" if exc.msg == "more after the value" else None
    other = REQUEST_HINT if is_line(name) else other or "plain text is `--input-format lines`"
    hint = syntax_hint(exc) or other
    return InputError(f"not valid JSON: {reason(exc)} (column {exc.colno})", hint, _where(name, exc.doc, exc.pos))


def _where(name: str, text: str, position: int) -> str:
    return placed(name, text.count("\n", 0, position) + 1)


def _by_line(text: str, name: str) -> Place:
    seen, line, last = 0, 1, 0

    def place(number: int, position: int) -> str:
        nonlocal seen, line, last
        line += text.count("\n", seen, position)
        seen = position
        shared, last = last == line, line  # not the first of its line: the line alone would be ambiguous
        return f"{name}:{line}: documents[{number}]" if shared else f"{name}:{line}"

    return place
