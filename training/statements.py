"""A terse answer made from a question: its own words, put as a statement around a name or number of the text.

"Who wrote Hamlet?" and a passage that names William Shakespeare give "William Shakespeare wrote Hamlet." The passages
of the collections are long sentences, so a model that learns from them and from echoes of the question alone takes
every short statement in the question's words for an echo. What fills the gap is a guess; its form is what is taught.
It knows texts only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

BE = ("is", "was", "are", "were")
DO = ("did", "does", "do")
NAME = re.compile(r"\b(?:[A-Z][\w'-]+(?:\s+(?:of\s+|the\s+|de\s+|von\s+)?[A-Z][\w'-]+)*)")
NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
YEAR = re.compile(r"\b1\d{3}\b|\b20\d\d\b")
OPENING = frozenset(
    re.findall(r"\w+", "The A An In On At It He She They This That These His Her Its As For By From With And But")
)


def statement(query: str, text: str, rng: random.Random) -> str | None:
    """The question as a statement filled from `text`, or None where it is of no known form or nothing fits."""
    words = query.strip(" ?.").split()
    if len(words) < 3:
        return None
    asked = {w.lower().strip(",'\"") for w in words}
    said = _filled(words, _new(NAME, text, asked), _new(YEAR, text, asked), _new(NUMBER, text, asked), rng)
    return said[0].upper() + said[1:] + "." if said else None


def _new(pattern: re.Pattern[str], text: str, asked: set[str]) -> list[str]:
    """Names or numbers of the text that the question does not hold."""
    found = []
    for name in pattern.findall(text):
        parts = name.split()
        while parts and parts[0] in OPENING:
            parts = parts[1:]
        if parts and not {p.lower() for p in parts} & asked:
            found.append(" ".join(parts))
    return found


def _filled(words: list[str], names: list[str], years: list[str], numbers: list[str], rng: random.Random) -> str:
    """The statement without its stop, or an empty text."""
    first, second, rest = words[0].lower(), words[1].lower(), " ".join(words[2:])
    verb = next((i for i, w in enumerate(words[2:5], 2) if w.lower() in (*BE, "has", "had", "can")), 0)
    if first == "who" and names and second not in DO:
        name = rng.choice(names)
        return f"{rest} {second} {name}" if second in BE and rng.random() < 0.5 else f"{name} {second} {rest}"
    if first in {"what", "which"} and names and (second in BE or verb):
        name = rng.choice(names)
        if second in BE:
            return f"{name} {second} {rest}" if rng.random() < 0.5 else f"{rest} {second} {name}"
        return f"{name} {' '.join(words[verb:])}"
    if first == "when" and years and second in (*BE, *DO):
        return f"{rest} {second if second in BE else ''} in {rng.choice(years)}".replace("  ", " ")
    if first == "where" and names and second in BE:
        return f"{rest} {second} in {rng.choice(names)}"
    if first == "how" and second == "many" and numbers:
        return f"{rng.choice(numbers)} {rest}"
    return ""
