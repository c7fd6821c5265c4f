"""Scores to an order: what is shown, ties, top_n, thresholds, fusion with the retriever's own score.

Plain functions over numbers and positions. Nothing here reads, scores or prints, and numpy is not needed.
The order is total: empty documents last, then score descending, then input position. Ties of fused scores go to the
document with the higher relevance score.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rerank_cli.settings import Fusion

RRF_K = 60  # Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet"


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)) in float64, without overflow for any finite logit."""
    if logit > -700.0:  # exp(700) is finite
        return 1.0 / (1.0 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1.0 + power)


def order(values: Sequence[float | None], tie_breakers: Sequence[float | None] | None = None) -> list[int]:
    """Positions best first; ties by the second values if given, then in input order; None (empty documents) last."""
    positions: Iterable[int] = range(len(values)) if tie_breakers is None else order(tie_breakers)
    keys = [math.inf if value is None else -value for value in values]
    return sorted(positions, key=keys.__getitem__)  # stable: what ties stays as it was


def trec_order(scores: Mapping[str, float]) -> list[str]:
    """Documents as trec_eval orders them: float32 score descending, then id descending (rank columns are ignored)."""
    single = array("f", scores.values())
    return [document for _, document in sorted(zip(single, scores, strict=True), reverse=True)]


def fuse(values: Sequence[float | None], priors: Sequence[float], how: Fusion, weight: float) -> list[float | None]:
    """Fused scores, one per document; None stays None.

    rrf: 1/(60 + rank by the model) + weight/(60 + rank by the prior), as one fraction: equal sums are equal exactly.
    weighted: weight · shown score + (1 − weight) · percentile rank of the prior (1 best, 0 worst, ties share the mean),
    where `values` are the shown scores, which must be between 0 and 1.
    """
    if how == "weighted":
        percentiles = percentile_ranks(priors)
        return [
            None if value is None else weight * value + (1.0 - weight) * share
            for value, share in zip(values, percentiles, strict=True)
        ]
    model_ranks = ranks(values)
    prior_ranks = ranks(priors)
    return [
        None if value is None else (RRF_K + theirs + weight * (RRF_K + mine)) / ((RRF_K + mine) * (RRF_K + theirs))
        for value, mine, theirs in zip(values, model_ranks, prior_ranks, strict=True)
    ]


def fuse_queries(by_query: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Fused scores from each document's values for several queries: the sum of 1/(60 + rank) over the queries.

    It is rounded once, so equal sums are equal exactly. A document without values (an empty one) has None.
    """
    count = max(map(len, by_query), default=0)
    columns = [ranks([values[number] if values else None for values in by_query]) for number in range(count)]
    fused: list[float | None] = []
    for place, values in enumerate(by_query):
        if all(value is None for value in values):
            fused.append(None)
            continue
        parts = [RRF_K + column[place] for column in columns]
        whole = math.prod(parts)
        fused.append(sum(whole // part for part in parts) / whole)
    return fused


def ranks(values: Sequence[float | None]) -> list[int]:
    """The 1-based rank of each position in `order`."""
    result = [0] * len(values)
    for rank, position in enumerate(order(values), start=1):
        result[position] = rank
    return result


def percentile_ranks(values: Sequence[float]) -> list[float]:
    """Share of the others that a value beats, ties counted half; a single value is 1.0 (nothing is better)."""
    n = len(values)
    if n < 2:
        return [1.0] * n
    result = [0.0] * n
    positions = sorted(range(n), key=values.__getitem__)
    start = 0
    while start < n:
        end = start
        while end + 1 < n and values[positions[end + 1]] == values[positions[start]]:
            end += 1
        share = (start + end) / 2 / (n - 1)
        for place in range(start, end + 1):
            result[positions[place]] = share
        start = end + 1
    return result
