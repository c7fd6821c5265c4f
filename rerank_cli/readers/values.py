"""JSON text to values, exactly: the standard library's parser where orjson would round or refuse.

orjson reads integers beyond 64 bits as floats and refuses lone surrogates and numbers beyond 1e308; the standard
library reads all of them. Neither accepts NaN or Infinity here.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.fields import type_name
from rerank_cli.nesting import MAX_NESTING, is_opened_deep, require_shallow
from rerank_cli.readers.encodings import encoding_hint
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.readers.engines import Shape

    Span = tuple[Any, int, int]  # a value and where its text starts and ends

REQUEST_HINT = 'as in `{"query": "…", "documents": ["…", "…"]}`'
DIGITS = "a number has too many digits"
_DIGITS = re.compile(r"\d{1000,}")
SINGLE_QUOTES = "JSON has double quotes"
TOO_DEEP = "nested too deeply"
_BLANKS = re.compile(r"[ \t\r\n]*")
# In valid JSON a line break is never inside a string, so the blanks around one can go without touching any value.
_AFTER_OPEN = re.compile(r"(?<=[{\[])[ \t\r]*\n[ \t\r\n]*|[ \t\r]*\n[ \t\r\n]*(?=[}\]])")
_NUMBERED = re.compile(r":\d+$")
_CONSTANT = re.compile(r'"(?:\\.|[^"\\])*"|(NaN|-?Infinity)')  # strings are matched so that they are skipped
PYTHON = {"True": "true", "False": "false", "None": "null"}
_PYTHON = re.compile("|".join(PYTHON))
_LINE_BREAK = re.compile(r"[ \t]*[\r\n][ \t\r\n]*")


class Element(NamedTuple):
    """One document of a list: its value, its own JSON text on one line, and its position."""

    value: Any
    raw: bytes
    where: str


class Parsed(NamedTuple):
    """What a JSON or YAML text holds: a request's own keys (none for a list), and its documents, read on demand."""

    keys: dict[str, Any]
    elements: Callable[[], Iterator[Element]]
    text: str | None = None  # of JSON, whole
    error: InputError | None = None  # `documents` are an object, which may be an engine's answer; else this is wrong
    shape: Shape | None = None  # of a search engine's answer, whose records these are


class _Constant(ValueError):
    """NaN or an infinity, which the standard library's parser would let pass, and does not place."""


def _refuse(constant: str) -> Any:
    raise _Constant(f"a number may not be {constant}")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def blank_from(text: str, position: int) -> int:
    """The position of the next character that is not a JSON blank, or the end."""
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def value_at(text: str, position: int) -> tuple[Any, int]:
    """One JSON value and where it ends.

    Raises:
        JSONDecodeError: no JSON value there, one nested too deeply, or a number of more digits than Python reads.
    """
    try:
        value, end = _DECODER.raw_decode(text, position)
        if end - position > 2 * MAX_NESTING:  # a shorter text cannot be too deep
            require_shallow(value)
    except RecursionError as exc:
        raise json.JSONDecodeError(TOO_DEEP, text, position) from exc
    except _Constant as exc:
        start = next(match.start() for match in _CONSTANT.finditer(text, position) if match[1])
        raise json.JSONDecodeError(str(exc), text, start) from exc
    except json.JSONDecodeError as exc:
        if is_opened_deep(text, position, exc.pos):
            raise json.JSONDecodeError(TOO_DEEP, text, position) from exc
        raise
    except ValueError as exc:  # Python does not say where
        longest = max(_DIGITS.finditer(text, position), key=lambda match: len(match[0]), default=None)
        raise json.JSONDecodeError(DIGITS, text, longest.start() if longest else position) from exc
    return value, end


def values_in(text: str) -> Iterator[Span]:
    """The JSON values that stand one after the other in a text, with their places. Raises JSONDecodeError."""
    end = 0
    while (start := blank_from(text, end)) < len(text):
        value, end = value_at(text, start)
        yield value, start, end


def elements_in(text: str, start: int) -> Iterator[Span]:
    """The elements of the list at `start`, with their places; the list ends after the last. Raises JSONDecodeError."""
    position = blank_from(text, start + 1)
    if text[position : position + 1] == "]":
        return
    while True:
        value, end = value_at(text, position)
        yield value, position, end
        position = blank_from(text, end)
        if text[position : position + 1] == "]":
            return
        position = _after(text, position, ",")


def members_in(text: str, start: int) -> Iterator[tuple[str, Any, int, int]]:
    """The members of the object at `start`: key, value, and the value's place. Raises JSONDecodeError."""
    position = blank_from(text, start + 1)
    if text[position : position + 1] == "}":
        return
    while True:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("expecting a key in double quotes", text, position)
        key, position = value_at(text, position)
        position = _after(text, blank_from(text, position), ":")
        value, end = value_at(text, position)
        yield key, value, position, end
        position = blank_from(text, end)
        if text[position : position + 1] == "}":
            return
        position = _after(text, position, ",")


def _after(text: str, position: int, sign: str) -> int:
    """What follows the sign that must stand here. Raises JSONDecodeError."""
    if text[position : position + 1] != sign:
        raise json.JSONDecodeError(f"expecting `{sign}`", text, position)
    return blank_from(text, position + 1)


def expect_end(text: str, position: int) -> None:
    """Raises JSONDecodeError if anything but blanks follows."""
    rest = blank_from(text, position)
    if rest < len(text):
        raise json.JSONDecodeError("more after the value", text, rest)


def exact(text: str, where: str, hint: str | None = None) -> Any:
    """The value of a whole JSON text; raises InputError with `where` and the column."""
    try:
        value, end = value_at(text, blank_from(text, 0))
        expect_end(text, end)
    except json.JSONDecodeError as exc:
        message = f"not valid JSON: {reason(exc)} (column {exc.colno})"
        raise InputError(message, syntax_hint(exc) or hint, where) from exc
    return value


def reason(exc: json.JSONDecodeError) -> str:
    """The parser's message, starting in lower case."""
    return exc.msg[:1].lower() + exc.msg[1:]


def syntax_hint(exc: json.JSONDecodeError) -> str | None:
    """What to change for the usual slips: NaN, a comma too many, single quotes, a text that is cut off."""
    text, position = exc.doc, exc.pos
    if exc.msg.startswith("a number may not be"):
        return "JSON has no such number: write `null` instead"
    if exc.msg == DIGITS:
        return "a number of so many digits is better a text: put it in double quotes"
    if exc.msg == TOO_DEEP:
        return "leave out what is not scored"
    if constant := _PYTHON.match(text, position):
        return f"JSON has `{PYTHON[constant[0]]}` for `{constant[0]}`"
    before, sign = text[:position].rstrip(" \t\r\n")[-1:], text[position : position + 1]
    comma = before == "," or sign == ","  # Python 3.13 places the error at the comma
    following = sign if before == "," else text[position + 1 :].lstrip(" \t\r\n")[:1]
    if comma and following in {"]", "}"}:
        return f"remove the comma before `{following}`"
    if sign in {"/", "#"}:
        return "JSON has no comments: remove it"
    if sign == "'" and before in {"", "{", "[", ",", ":"}:
        return SINGLE_QUOTES
    if exc.msg.startswith("Unterminated string") or (position >= len(text.rstrip()) and len(text) > 1):
        return "the text ends too early: is it complete?"
    return None


def one_line(text: str) -> str:
    """The same JSON text without line breaks between its tokens."""
    if "\n" not in text and "\r" not in text:
        return text
    return _LINE_BREAK.sub(" ", _AFTER_OPEN.sub("", text))


def decode(data: bytes, name: str) -> str:
    """UTF-8 text, a byte order mark dropped; raises InputError with the line that is not."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise not_utf8(data, exc.start, name) from exc


def not_a_list(value: Any, where: str) -> InputError:
    """The error for a request's `documents` that are not a list."""
    example = shown(value) if isinstance(value, str) else "…"
    hint = f'as in `"documents": ["{example}"]`: texts or objects, separated by commas'
    return InputError(f"`documents` must be a list, not {type_name(value)}", hint, where)


def not_utf8(data: bytes, position: int, name: str, first_line: int = 1) -> InputError:
    """The error for bytes that are not UTF-8; `data` starts at line `first_line` of the input."""
    return InputError(
        "invalid UTF-8", encoding_hint(data, name), placed(name, first_line + data.count(b"\n", 0, position))
    )


def is_line(name: str) -> bool:
    """Whether a name ends with a line number, as of a batch's request."""
    return bool(_NUMBERED.search(name))


def placed(name: str, line: int) -> str:
    """`name:line`; a name that already ends with a line number, as of a batch's request, gets no second one."""
    return name if line == 1 and is_line(name) else f"{name}:{line}"


def json_text(value: Any, where: str) -> bytes:
    """A value as JSON text, for documents from other formats; raises InputError for what JSON cannot represent."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
    except RecursionError as exc:
        raise InputError("nested too deeply", "leave out what is not scored", where) from exc
    except (TypeError, ValueError) as exc:
        raise InputError(
            f"not a JSON value: {exc}", "use texts, numbers, true, false, null, lists and objects", where
        ) from exc
