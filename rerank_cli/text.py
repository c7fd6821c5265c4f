"""Plain text: lone surrogates, blank texts, what may reach a terminal, and how much of a text a message shows.

It knows strings only: no documents, no files, no terminals.
"""

from __future__ import annotations

import re

CONTROL = {c: f"\\x{c:02x}" for c in (*range(0x20), *range(0x7F, 0xA0)) if c not in (0x09, 0x0A)}
BIDI = {
    c: f"<U+{c:04X}>" for c in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
}
# What cannot be seen and has no use in a name; joiners (U+200C, U+200D) have one in emoji and in several scripts.
UNSEEN = {c: f"<U+{c:04X}>" for c in (0x00AD, 0x180E, 0x200B, *range(0x2060, 0x2065), 0xFEFF, *range(0xE0000, 0xE0080))}
_VISIBLE = {**CONTROL, **BIDI, 0x0D: "\\r"}
_LINE = {**_VISIBLE, **UNSEEN, 0x09: "\\t", 0x0A: "\\n"}
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})  # Unicode's categories
_SPACE = re.compile(r"\s+")
_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """Text that cannot move a cursor, ring, recolour or reorder: control and bidirectional characters spelt out."""
    return encodable(text.translate(_VISIBLE))


def escape_line(text: str) -> str:
    """Text that forges no line: as `visible`, with newlines, tabs and what cannot be seen spelt out too."""
    return text if text.isascii() and text.isprintable() else encodable(text.translate(_LINE))


def has_surrogates(text: str) -> bool:
    """Whether a text holds lone surrogates, which UTF-8 cannot encode."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def replace_surrogates(text: str) -> str:
    """Text that can be encoded: lone surrogates become U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def encodable(text: str) -> str:
    """Text that can be encoded: lone surrogates become question marks, as Python's own encoder replaces them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def well_formed(text: str) -> str:
    """Text without lone surrogates: bytes that the locale could not decode are read as UTF-8, else replaced."""
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a JSON request may hold halves of pairs that were never bytes
        raw = text.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")


def to_utf8(text: str) -> bytes:
    """Text as UTF-8; a lone surrogate becomes U+FFFD."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        return replace_surrogates(text).encode("utf-8")


def is_blank(text: str) -> bool:
    """Whether a text is empty or white space only."""
    return not text or text.isspace()


def is_invisible(text: str) -> bool:
    """Whether nothing of a text can be seen: white space, control and format characters (a zero-width space) only."""
    text = text.strip()
    if not text or text[0].isprintable():
        return not text
    from unicodedata import category

    return all(category(char) in _INVISIBLE for char in text)


def on_one_line(text: str) -> str:
    """Text with every run of white space as one space."""
    return _SPACE.sub(" ", text)


def shortened(text: str, most: int) -> str:
    """Text of at most `most` characters; the last of a longer one is an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def shown(text: str, most: int = 60) -> str:
    """Text from the input, short and on one line (`escape_line`), for messages."""
    return shortened(escape_line(shortened(on_one_line(text), most)), most)
