"""JSON objects as bytes: find their members, take some out, put some in, without parsing or re-serialising the rest.

Everything here takes the text of valid JSON, as the readers checked it. Knows nothing of rankings.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import orjson

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY = re.compile(rb"\s*(%b)\s*:" % _STRING, re.DOTALL)
_SCALAR = re.compile(rb"\s*(?:%b|[^\s\"{}\[\],]++)\s*" % _STRING, re.DOTALL)
_BRACKET = re.compile(rb"%b|[{}\[\]]" % _STRING, re.DOTALL)
# Every ASCII letter and the underscore, written as an escape: how a key may hide from a search for its plain form.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_STEP = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}  # a string does not count
_SPACE = re.compile(rb"\s*")


class Member(NamedTuple):
    """One member of an object: its key, and its bytes between the commas (or braces) around it."""

    key: str
    start: int
    end: int
    value: int  # where the value starts, white space included


def members(raw: bytes) -> list[Member]:
    """The top-level members of an object, in order, repeated keys included."""
    result: list[Member] = []
    start = raw.index(b"{") + 1
    while key := _KEY.match(raw, start):
        end = value_end(raw, key.end())
        name = key[1]
        text = decode_string(name) if b"\\" in name else name[1:-1].decode()
        result.append(Member(text, start, end, key.end()))
        start = end + 1  # behind the comma, or behind the closing brace, where no key follows
    return result


def value_end(raw: bytes, start: int) -> int:
    """The position of the comma or brace behind a value; of objects and lists the brackets are counted."""
    scalar = _SCALAR.match(raw, start)
    if scalar:
        return scalar.end()
    depth = 0
    for token in _BRACKET.finditer(raw, start):
        depth += _STEP.get(token[0], 0)
        if depth == 0:
            return _SPACE.match(raw, token.end()).end()  # type: ignore[union-attr]
    raise ValueError("not the text of a JSON object")


def decode_string(raw: bytes) -> str:
    """The value of a JSON string; lone surrogates come out as such (orjson refuses them, json does not)."""
    if b"\\" not in raw:
        return raw.strip()[1:-1].decode("utf-8")
    try:
        return str(orjson.loads(raw))
    except ValueError:
        return str(json.loads(raw, strict=False))


def encode(value: Any) -> bytes:
    """Any JSON value on one line, with lone surrogates (as escapes) and whole numbers of any size."""
    try:
        return orjson.dumps(value, default=float)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), default=float).encode("ascii")


def encode_string(text: str) -> bytes:
    """A JSON string of any text, lone surrogates included (as escapes)."""
    try:
        return orjson.dumps(text)
    except TypeError:
        return json.dumps(text).encode("ascii")


def numbers(values: list[float | None]) -> list[bytes]:
    """The shortest text that reads back as each number, `null` for None; a sixth of the time of repr."""
    return orjson.dumps(values, default=float)[1:-1].split(b",") if values else []


def one_line(raw: bytes) -> bytes:
    """JSON text on one line: stripped; line ends, which occur only between tokens, become spaces."""
    return raw.strip().replace(b"\n", b" ").replace(b"\r", b" ")


def splice(raw: bytes, tail: bytes) -> bytes:
    """An object's text with more members before its closing brace."""
    return b"%b%b%b}" % (raw[:-1], b"," if raw[1:-1].strip() else b"", tail)


class Names:
    """Keys to look for in many objects: a fast search over bytes whose no is reliable, and the exact scan behind it."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = frozenset(names)
        self._needles = [encode_string(name) for name in names]
        # A plain name can hide only behind escapes of its letters; any other name behind any escape.
        self._plain = all(name.replace("_", "a").isalpha() and name.isascii() for name in names)

    def absent(self, raw: bytes) -> bool:
        """Whether no object in these bytes can hold one of the names; False means maybe."""
        if any(needle in raw for needle in self._needles):
            return False
        if self._plain:
            return b"\\u00" not in raw or not _ESCAPED_LETTER.search(raw)
        return b"\\" not in raw

    def removed(self, raw: bytes) -> tuple[bytes, list[str]]:
        """An object's text without its members of these names, every other byte kept; and which there were."""
        if self.absent(raw):
            return raw, []
        every = members(raw)
        removed = [member.key for member in every if member.key in self.names]
        if not removed:
            return raw, removed
        kept = (raw[member.start : member.end] for member in every if member.key not in self.names)
        return b"{%b}" % b",".join(kept), removed
