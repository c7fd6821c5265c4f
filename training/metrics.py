"""nDCG@10 as trec_eval computes it (linear gain), by pytrec_eval-terrier, and paired bootstrap intervals.

It knows nothing of models or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytrec_eval

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES = 10_000


def ndcg10(relevance: Sequence[Sequence[int]], scores: Sequence[Sequence[float]]) -> list[float]:
    """nDCG@10 of each query, in order. trec_eval breaks ties by document id, descending."""
    qrels = {str(q): {f"{d:04d}": int(r) for d, r in enumerate(rel)} for q, rel in enumerate(relevance)}
    run = {str(q): {f"{d:04d}": float(s) for d, s in enumerate(values)} for q, values in enumerate(scores)}
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    return [found[str(q)]["ndcg_cut_10"] for q in range(len(relevance))]


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over queries (give differences for a paired comparison)."""
    return macro_interval([values], seed)


def macro_interval(groups: Sequence[Sequence[float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean of the groups' means with a bootstrap that resamples queries inside each group."""
    random = np.random.default_rng(seed)
    total = np.zeros(SAMPLES)
    for group in groups:
        values = np.asarray(group)
        total += values[random.integers(0, len(values), (SAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(total / len(groups), [0.025, 0.975])
    return float(np.mean([np.mean(g) for g in groups])), float(low), float(high)
