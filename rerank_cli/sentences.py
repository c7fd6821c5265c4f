"""A text to its sentences, as character spans: prose, lists, tables, code, and scripts without blanks.

Rules, not a model: a sentence ends at its sign unless that belongs to an abbreviation, an initial or a number, and at
the end of a line unless the line was only wrapped. It knows text only.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1000  # characters: what is longer is a table, a log or minified code, and is cut at a blank
WRAPPED = 40  # characters: a shorter line was not wrapped
_CLOSING = "\"'”’»)\\]」』】）〉》"
_END = re.compile(
    rf"(?<![.!?…])(?P<stop>[.!?…]++)[{_CLOSING}*_]*+(?=\s)"  # Western: a blank follows
    rf"|[。！？｡।॥۔؟።။។]++[{_CLOSING}]*+"  # other scripts need none
    r"|(?:\r\n?|[\n\v\f\x1c-\x1e\x85\u2028\u2029])\s*+"
)
# What begins a line and is not part of its sentence: bullets, numbers of a list, quotes and headings of Markdown.
_MARKER = re.compile(r"(?:[-*+•‣◦·–—>]|#{1,6}|\d{1,3}[.)])[ \t]+")
_WORD_BEFORE = re.compile(r"[\w.&]+\Z")
_NEXT = re.compile(r"[\s\"'“‘«(\[*_]*(\w+)")
# A sentence never ends at these, at the next ones only before a word that often begins one.
_TITLES = frozenset(
    """
    mr mrs ms mx dr prof st mt ft messrs rev hon gen col capt lt sgt maj sen rep gov pres vs e.g i.e cf fig figs eq
    approx viz
    """.split()  # noqa: SIM905 a list of strings reads worse
)
_SHORT = frozenset(
    """
    inc ltd co corp jr sr etc al dept est ca vol ed eds pp p no nos op ave blvd rd jan feb mar apr jun jul aug sep
    sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s u.k u.n d.c ph.d b.c a.d
    """.split()  # noqa: SIM905 a list of strings reads worse
)
_STARTERS = frozenset(
    """
    a an and as at but by during each for from he her his however i if in it its most on she since so some that the
    their there these they this those though to we what when where while who why with you your
    """.split()  # noqa: SIM905 a list of strings reads worse
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """The spans of the sentences of a text, in order and apart; each begins and ends with a visible character.

    Spans without a letter or a digit are left out, unless the whole text has none.
    """
    cased = text != text.lower()
    start = 0
    found = False
    for end in _END.finditer(text):
        if end.end() <= start or not _ends(text, start, end, cased=cased):
            continue
        for span in _pieces(text, start, end.start() if end.group().isspace() else end.end()):
            yield span
            found = True
        start = end.end()
    for span in _pieces(text, start, len(text)):
        yield span
        found = True
    if not found and (whole := _stripped(text, 0, len(text))):
        yield whole[0], character_start(text, min(whole[1], whole[0] + LONGEST))


def _ends(text: str, start: int, end: re.Match[str], *, cased: bool) -> bool:
    """Whether a sentence that began at `start` ends at this sign, or line."""
    if end.group().isspace():
        return not _is_wrapped(text, start, end)
    stop = end["stop"]
    if not stop:
        return True
    after = _NEXT.match(text, end.end())
    following = after[1] if after else ""
    if cased and following[:1].islower():
        return False
    return stop != "." or _period_ends(text, start, end.start(), following)


def _period_ends(text: str, start: int, position: int, following: str) -> bool:
    """Whether one period ends a sentence: not behind an abbreviation, an initial, or the number of a list."""
    before = _WORD_BEFORE.search(text, max(start, position - 20), position)
    word = before.group().casefold() if before else ""
    if word.isdigit() and len(word) < 4 and not text[max(start, position - 12) : position - len(word)].strip(" \t*_#"):
        return False
    if word in _TITLES or (word in {"no", "nos", "pp", "p", "vol", "ch", "sec", "fig"} and following[:1].isdigit()):
        return False
    is_initial = len(word) == 1 and word.isalpha() and word != "i"
    if word in _SHORT or is_initial or re.fullmatch(r"(?:\w\.)+\w", word):
        return following.casefold() in _STARTERS or not following
    return True


def _is_wrapped(text: str, start: int, end: re.Match[str]) -> bool:
    """Whether a line goes on in the next one: long, ending in the middle of a sentence, and followed in lower case."""
    if end.group().count("\n") != 1 or end.start() == 0 or end.end() == len(text):
        return False
    line = text.rfind("\n", start, end.start()) + 1
    last, following = text[max(0, end.start() - 8) : end.start()].rstrip()[-1:], text[end.end()]
    return (
        end.start() - max(line, start) >= WRAPPED
        and (last.isalnum() or last in tuple(",-–—'’"))
        and following.islower()
    )


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence without blanks and list markers around it; of one that is too long, its parts."""
    span = _stripped(text, start, end)
    if span is None:
        return
    start, end = span
    while (marker := _MARKER.match(text, start, end)) and marker.end() < end:
        start = marker.end()
    while end - start > LONGEST:
        cut = max(text.rfind(" ", start + LONGEST // 2, start + LONGEST), text.rfind("\n", start, start + LONGEST))
        cut = cut if cut > start else character_start(text, start + LONGEST)
        yield from _visible(text, start, cut)
        start = cut
    yield from _visible(text, start, end)


def _visible(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    span = _stripped(text, start, end)
    if span and any(map(str.isalnum, text[slice(*span)])):
        yield span


def _stripped(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span without white space at its ends; None if nothing is left."""
    part = text[start:end]
    left = len(part) - len(part.lstrip())
    right = len(part.rstrip())
    return (start + left, start + right) if right > left else None


def character_start(text: str, position: int) -> int:
    """The last position up to this one where a character begins as people see it: accents and emoji stay whole.

    Close to Unicode's extended grapheme clusters (UAX #29), without its tables; it goes back 32 code points at most,
    since a character may have accents without end.
    """
    position = min(position, len(text))
    for place in range(position, max(0, position - 32), -1):
        if not _is_joined(text, place):
            return place
    return position if position > 32 else 0


def _is_joined(text: str, place: int) -> bool:
    """Whether the code points on both sides of a place belong to one character."""
    if place in {0, len(text)}:
        return False
    before, after = text[place - 1], text[place]
    if after.isascii():
        return before == "\r" and after == "\n"
    if after == "\u200d" or before == "\u200d" or unicodedata.category(after) in {"Mn", "Me", "Mc"}:
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":  # skin tones, tags of flags
        return True
    if "\u1160" <= after <= "\u11ff":  # Hangul vowels and finals
        return "\u1100" <= before <= "\u11ff" or "\uac00" <= before <= "\ud7a3"
    if "\U0001f1e6" <= after <= "\U0001f1ff":  # flags are pairs of letters
        start = place
        while start and "\U0001f1e6" <= text[start - 1] <= "\U0001f1ff" and place - start < 32:
            start -= 1
        return (place - start) % 2 == 1
    return False
