"""Keys out of messages: providers quote them in errors, whole or in part, as sent or encoded.

It knows secrets as strings: nothing of headers, URLs or providers.
"""

from __future__ import annotations

import json
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from rerank_cli.scorers.remote.keys import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rerank_cli.scorers.remote.keys import Secret

SHORTEST = 4  # characters: a shorter secret could not be told from words
PART = 8  # characters of a secret that are not shown either; the last four, which providers like to show, may be


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """Text without any of the secrets or longer parts of them, in any spelling of `_spellings`, whatever the case."""
    grams: dict[int, set[str]] = {}
    for secret in secrets:
        for word in _words(secret.reveal()):
            for spelling in _spellings(word):
                size = _part_size(len(spelling))
                starts = range(len(spelling) - size + 1)
                grams.setdefault(size, set()).update(_lower(spelling[start : start + size]) for start in starts)
    hidden = bytearray(len(text))
    low = _lower(text)
    for size, parts in grams.items():
        for start in range(len(text) - size + 1):
            if low[start : start + size] in parts:
                hidden[start : start + size] = b"\1" * size
    pieces = (MASK if hide and not before else "" if hide else char for char, hide, before in zip(
        text, hidden, b"\0" + hidden, strict=False))  # fmt: skip
    return "".join(pieces) if any(hidden) else text


def _words(value: str) -> set[str]:
    """The words of a value: `Bearer` and the like, which come first, are not secret."""
    first, *words = value.split(" ")
    return {word for word in (words if words and first.isalpha() else [first, *words]) if len(word) >= SHORTEST}


def _part_size(length: int) -> int:
    """The shortest part of a spelling that is hidden: half of a short one, and the whole of a very short one."""
    return PART if length >= 2 * PART else length if length < PART else (length + 1) // 2


def _spellings(word: str) -> Iterator[str]:
    """A secret as it may be quoted: in JSON, in URLs (also twice), in HTML, as bytes, in base64 and hexadecimal."""
    raw = word.encode()
    in_json = json.dumps(word)[1:-1]
    in_url = quote(word, safe="")
    yield from (word, in_json, in_json.replace("/", "\\/"), json.dumps(in_json)[1:-1])
    yield from (in_url, quote(word), quote(in_url, safe=""), escape(word), raw.hex(), repr(raw)[2:-1])
    yield "".join(f"\\u{ord(char):04x}" for char in word)
    for before in range(3):  # within a longer text, its bytes can begin at any place of a group of three
        encoded = b64encode(b"\0" * before + raw).decode()
        core = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]  # the letters that hold nothing else
        yield from (core, core.replace("+", "-").replace("/", "_")) if len(core) >= PART else ()


def _lower(text: str) -> str:
    """ASCII letters in lower case: `str.lower` can change a text's length."""
    return text.lower() if text.isascii() else "".join(char.lower() if char.isascii() else char for char in text)
