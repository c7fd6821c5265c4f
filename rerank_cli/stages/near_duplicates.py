"""Near duplicates: of documents whose texts are almost the same, only the best-ranked one stays.

Two texts are compared by the words that follow each other in them: the Jaccard similarity of their sets of three words
in a row. All pairs above the threshold are found, and few others are looked at (prefix filtering: Bayardo, Ma and
Srikant 2007, "Scaling up all pairs similarity search"). It knows nothing of scores.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.stages.base import Change
from rerank_cli.stages.words import words_of
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context

NAME = "near_duplicates"
SIMILARITY = 0.9
IN_A_ROW = 3  # words
MANY = 50  # candidates: so many are compared at once


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None without `near`. Raises UsageError for a similarity that is not above 0 and at most 1."""
    how, equals, number = (settings.dedupe or "exact").partition("=")
    if how == "exact" and not equals:
        return None
    try:
        similarity = float(number) if equals else SIMILARITY
    except ValueError:
        similarity = math.nan
    if how != "near" or not 0 < similarity <= 1:
        hint = "write `--dedupe`, `--dedupe near` or a similarity above 0 and at most 1, as in `--dedupe near=0.8`"
        raise UsageError(f"--dedupe: `{shown(settings.dedupe or '')}` is not a way to find duplicates", hint)

    def apply(hits: list[Hit], context: Context) -> Change:
        originals = duplicates([hit.document.text for hit in hits], similarity)
        removed: dict[int, dict[str, Any]] = {
            hits[place].index: {"duplicate_of": hits[original].index, "similarity": found}
            for place, (original, found) in originals.items()
        }
        if removed:
            some = "1 near duplicate is" if len(removed) == 1 else f"{len(removed)} near duplicates are"
            context.report.note(f"{some} left out (--dedupe near); `--json` lists them in `meta.stages`")
        return Change([hit for place, hit in enumerate(hits) if place not in originals], removed)

    return apply


def duplicates(texts: Sequence[str], similarity: float) -> dict[int, tuple[int, float]]:
    """Positions of texts that are like an earlier one that stays: that one, the most similar, and their similarity."""
    sets = [shingles(text) for text in texts]
    frequency = Counter(shingle for each in sets for shingle in each)
    comparison = Comparison(sets, frequency)
    by_shingle: dict[int, list[int]] = {}  # positions that stay, under the rarest shingles of each
    found: dict[int, tuple[int, float]] = {}
    for place, own in enumerate(sets):
        # Sets that are similar enough have a shingle in common among these, the rarest ones of each.
        rarest = sorted(own, key=lambda shingle: (frequency[shingle], shingle))
        rarest = rarest[: len(own) - math.ceil(similarity * len(own)) + 1]
        candidates = sorted(set[int]().union(*(by_shingle.get(shingle, ()) for shingle in rarest)))
        best, likeness = comparison.nearest(place, candidates) if candidates else (place, 0.0)
        if likeness >= similarity:
            found[place] = (best, likeness)
            continue
        for shingle in rarest:
            by_shingle.setdefault(shingle, []).append(place)
    return found


class Comparison:
    """Sets of shingles by their positions. Texts made from one template are all candidates, so that must be fast."""

    def __init__(self, sets: Sequence[frozenset[int]], frequency: Mapping[int, int]) -> None:
        self._sets, self._frequency = sets, frequency
        self._numbers: dict[int, int] = {}  # of the shingles that several sets have
        self._rows: dict[int, NDArray[Any]] = {}

    def nearest(self, place: int, others: list[int]) -> tuple[int, float]:
        """The most similar of others, the first of equals, and its similarity; each has a shingle in common with it."""
        own = self._sets[place]
        if len(others) < MANY:
            likeness = [jaccard(own, self._sets[other]) for other in others]
            best = max(likeness)
            return others[likeness.index(best)], best
        import numpy as np

        own_row, rows = self._row(place), [self._row(other) for other in others]
        is_own = np.zeros(len(self._numbers), dtype=np.int32)
        is_own[own_row] = 1
        starts = np.cumsum([0, *map(len, rows[:-1])])
        common = np.add.reduceat(is_own[np.concatenate(rows)], starts)
        similar = common / (np.array([len(self._sets[other]) for other in others]) + len(own) - common)
        first = int(similar.argmax())
        return others[first], float(similar[first])

    def _row(self, place: int) -> NDArray[Any]:
        """The numbers of the shingles of a set."""
        import numpy as np

        if place not in self._rows:
            shared = (shingle for shingle in self._sets[place] if self._frequency[shingle] > 1)
            numbers = [self._numbers.setdefault(shingle, len(self._numbers)) for shingle in shared]
            self._rows[place] = np.array(numbers, dtype=np.int64)
        return self._rows[place]


def shingles(text: str) -> frozenset[int]:
    """Hashes of each three words in a row of a text, whatever its case and punctuation; of all words of a short one."""
    words = words_of(text)
    if len(words) < IN_A_ROW:
        return frozenset({hash(tuple(words))} if words else ())
    return frozenset(map(hash, zip(*(words[start:] for start in range(IN_A_ROW)), strict=False)))


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """The share of what both have in what either has."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)
