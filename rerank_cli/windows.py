"""Long texts to windows of tokens, and window scores back to one score per document.

It works on token counts and word starts only; it knows no tokenizer, model or query.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Span(NamedTuple):
    """Tokens start ≤ t < end of a document."""

    start: int
    end: int


def split(tokens: int, window: int, overlap: int, word_starts: Sequence[bool]) -> list[Span]:
    """Cover `tokens` tokens with windows of at most `window`, overlapping by about `overlap`, of nearly equal length.

    A window begins at a word start if there is one within the overlap; nothing between two windows is lost.
    `word_starts[t]` says whether token t begins a word. One span if everything fits.
    """
    if tokens <= window:
        return [Span(0, tokens)]
    overlap = min(overlap, window - 1)
    count = -(-(tokens - overlap) // (window - overlap))
    length = -(-(tokens + (count - 1) * overlap) // count)
    starts = [number * (tokens - length) // (count - 1) for number in range(count)]
    spans = []
    for start, following in zip(starts, [*starts[1:], tokens], strict=True):
        # Not beyond the next window's start: two windows never begin at the same token.
        begin = _word_start(start, min(start + overlap, following), word_starts) if start else 0
        spans.append(Span(begin, start + length))
    return spans


def _word_start(start: int, limit: int, word_starts: Sequence[bool]) -> int:
    """The first word start in [start, limit), else start: a word longer than the overlap is cut rather than lost."""
    for token in range(start, min(limit, len(word_starts))):
        if word_starts[token]:
            return token
    return start


def best(scores: Sequence[float]) -> int:
    """Which window represents its document: the highest score, the first among equals (Cohere: best chunk wins).

    A score that is not finite comes before all others, so that it is refused and not lost.
    """
    return max(range(len(scores)), key=lambda number: scores[number] if isfinite(scores[number]) else inf)
