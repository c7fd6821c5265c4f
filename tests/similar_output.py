"""Compares two outputs: scores and their bars may differ by so many logits, everything else must be equal."""

from __future__ import annotations

import math
import re
from decimal import Decimal

PROCESSORS = 0.15  # logits that a score may differ by between processors and versions of ONNX Runtime: most by none
EIGHTHS = "▏▎▍▌▋▊▉█"
NUMBER = re.compile(r"\d+\.\d+(?:[eE][-+]?\d+)?|\d+[eE]-\d+")
BAR = re.compile(rf"(?<=\.\d\d\d\d)  (?P<bar>[{EIGHTHS}#]* +)")  # in a table, behind the score, filled with blanks
MEASURES = re.compile(r"\brerank (?:eval|compare)\b|--qrels")  # commands whose fractions are no scores


def same(wanted: str, got: str, command: str = "", logits: float = PROCESSORS) -> bool:
    """Equal but for scores that differ by at most `logits`. `command` printed it: what measures shows no scores.

    A score is a number between 0 and 1 with a fraction; with --raw-scores any number with a fraction.
    """
    if MEASURES.search(command):
        return wanted == got
    if skeleton(wanted) != skeleton(got):
        return False
    numbers = zip(NUMBER.findall(wanted), NUMBER.findall(got), strict=True)
    bars = zip(BAR.findall(wanted), BAR.findall(got), strict=True)
    raw = "--raw-scores" in command
    return all(close(*pair, logits, raw=raw) for pair in numbers) and all(bars_close(*pair, logits) for pair in bars)


def skeleton(text: str) -> str:
    """Text with `0.#` for each number and `=` for each column of a bar."""
    return NUMBER.sub("0.#", BAR.sub(lambda match: "  " + "=" * len(match["bar"]), text))


def close(one: str, other: str, logits: float, *, raw: bool = False) -> bool:
    """Whether two numbers can be roundings of scores that are at most so many logits apart."""
    if one == other:
        return True
    if not raw and not 0 <= float(one) <= float(other) <= 1 and not 0 <= float(other) <= float(one) <= 1:
        return False
    (low, high), (other_low, other_high) = ends(one, raw=raw), ends(other, raw=raw)
    return low <= other_high + logits and other_low <= high + logits


def ends(shown: str, *, raw: bool) -> tuple[float, float]:
    """The lowest and the highest logit that is shown so."""
    half = 0.5 * 10.0 ** int(Decimal(shown).as_tuple().exponent)
    low, high = float(shown) - half, float(shown) + half
    return (low, high) if raw else (logit(low), logit(high))


def logit(probability: float) -> float:
    """The inverse of the sigmoid, also of what rounding has put beyond 0 and 1."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def bars_close(one: str, other: str, logits: float) -> bool:
    """Whether two bars differ by what their scores may: a probability moves by at most a quarter of its logit."""
    width = len(one) - 2
    step = 8 if "#" in one + other else 1
    return abs(length(one) - length(other)) <= step + logits / 4 * width * 8


def length(bar: str) -> int:
    """Eighths of a column."""
    return sum(8 if sign == "#" else EIGHTHS.index(sign) + 1 for sign in bar.rstrip())
