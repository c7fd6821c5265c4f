"""How two rankings differ: Kendall's tau-b, rank-biased overlap, and the documents that moved.

It takes plain sequences and mappings, and reads and prints nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.ranking import trec_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rerank_cli.evaluation.trec_eval import Scores

RBO_P = 0.9  # the first ten ranks carry 86 % of the weight


class Move(NamedTuple):
    """A document's ranks, from 1, in both runs; None: not in that run."""

    document: str
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class RankChange:
    """How the order of one query changed; `tau` is None with fewer than two common documents, or all of them tied."""

    query: str
    common: int
    tau: float | None
    rbo: float
    top_changed: bool
    moves: tuple[Move, ...]  # in the order of the second run, then those that left


def compare(before: Scores, after: Scores, p: float = RBO_P, depth: int | None = None) -> list[RankChange]:
    """The change of each query that is in either run, in the order of the first, then of the second."""
    queries = dict.fromkeys([*before, *after])
    return [compare_query(query, before.get(query, {}), after.get(query, {}), p, depth) for query in queries]


def compare_query(
    query: str, before: Mapping[str, float], after: Mapping[str, float], p: float = RBO_P, depth: int | None = None
) -> RankChange:
    """The change of one query, looking at the first `depth` documents of each run."""
    old, new = trec_order(before)[:depth], trec_order(after)[:depth]
    ranks = {document: rank for rank, document in enumerate(old, 1)}
    moves = [Move(document, ranks.pop(document, None), rank) for rank, document in enumerate(new, 1)]
    common = [move.document for move in moves if move.before]
    return RankChange(
        query=query,
        common=len(common),
        tau=kendall_tau([before[document] for document in common], [after[document] for document in common]),
        rbo=rank_biased_overlap(old, new, p),
        top_changed=old[:1] != new[:1],
        moves=(*moves, *(Move(document, rank, None) for document, rank in ranks.items())),
    )


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two score lists over the same documents: +1 same order, -1 reversed; ties are ties.

    None with fewer than two documents, or if one list has only ties. O(n log n) comparisons (Knight 1966).
    """
    pairs = sorted(zip(first, second, strict=True))
    total = len(pairs) * (len(pairs) - 1) // 2
    tied_first = _tied(a for a, _ in pairs)
    tied_second = _tied(sorted(b for _, b in pairs))
    if total in (tied_first, tied_second):  # also when there are no pairs at all
        return None
    # concordant - discordant = pairs tied in neither - 2 * discordant
    untied = total - tied_first - tied_second + _tied(pairs)
    scale = ((total - tied_first) * (total - tied_second)) ** 0.5
    return float((untied - 2 * _inversions([b for _, b in pairs])) / scale)


def _tied(ordered: Iterable[object]) -> int:
    """Pairs of equal values in a sorted sequence."""
    counts = (sum(1 for _ in group) for _, group in groupby(ordered))
    return sum(count * (count - 1) // 2 for count in counts)


def _inversions(values: Sequence[float]) -> int:
    """Pairs in the wrong order; equal ones are none. Insertion into a list moves memory, not Python objects."""
    seen: list[float] = []
    count = 0
    for value in reversed(values):
        count += bisect_left(seen, value)
        insort(seen, value)
    return count


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = RBO_P) -> float:
    """Extrapolated rank-biased overlap of two rankings without repeated documents: 1 identical, 0 disjoint.

    Lists may differ in length; two empty ones are identical, one empty is disjoint.
    Source: Webber, Moffat, Zobel, "A similarity measure for indefinite rankings", TOIS 28(4), 2010, equation 32.
    """
    short, long = sorted((first, second), key=len)
    if not short:
        return 1.0 if not long else 0.0
    s, length = len(short), len(long)
    overlap = _overlaps(short, long)  # overlap[d]: documents common to both down to depth d
    weighted = sum(overlap[d] / d * p**d for d in range(1, length + 1))
    weighted += sum(overlap[s] * (d - s) / (s * d) * p**d for d in range(s + 1, length + 1))
    rest = (overlap[length] - overlap[s]) / length + overlap[s] / s
    return float((1 - p) / p * weighted + rest * p**length)


def _overlaps(short: Sequence[str], long: Sequence[str]) -> list[int]:
    seen_short: set[str] = set()
    seen_long: set[str] = set()
    counts = [0]
    for depth, document in enumerate(long):
        added = 0
        if depth < len(short):
            other = short[depth]
            seen_short.add(other)
            added += other in seen_long and other != document
        seen_long.add(document)
        added += document in seen_short
        counts.append(counts[-1] + added)
    return counts
