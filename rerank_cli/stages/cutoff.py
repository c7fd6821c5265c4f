"""Cut-off: where relevance ends. It works on probabilities only, because on other scales no number means relevance.

At least one document stays. What `-n` cuts comes after it.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.stages.base import Change
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context

NAME = "cutoff"
RELEVANT = 0.5  # auto: more likely relevant than not
LEAST_GAP = 0.2  # gap: a smaller drop is no end of anything
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None without a cut-off. Raises UsageError for one that cannot be read."""
    if settings.cutoff is None:
        return None
    how = settings.cutoff.strip().lower()
    percent = _PERCENT.fullmatch(how)
    if how not in {"gap", "auto"} and not (percent and 0 < float(percent[1]) <= 100):
        hint = "write `gap`, `auto` or a share of the best score, as in `--cutoff 50%`"
        raise UsageError(f"--cutoff: `{shown(settings.cutoff)}` is not a cut-off", hint)

    def apply(hits: list[Hit], context: Context) -> Change:
        scores = [score for hit in hits if (score := context.probability(hit)) is not None]
        if how == "gap":
            kept = before_gap(scores[: context.top_n])
        else:
            least = RELEVANT if percent is None else float(percent[1]) / 100 * max(scores, default=0.0)
            kept = sum(score >= least for score in scores)
        kept = max(1, kept)
        return Change(hits[:kept], {hit.index: {"score": context.probability(hit)} for hit in hits[kept:]})

    return apply


def check_scale(settings: StageSettings, context: Context) -> None:
    """Raise UsageError if a cut-off is asked for and scores are not probabilities."""
    if settings.cutoff is not None and not context.calibrated:
        why = "fused scores have" if context.fused else f"scores of the scale `{context.scale}` have"
        hint = "use `--min-score` with a number that you know, or `-n`"
        raise UsageError(f"--cutoff needs probabilities, and {why} no end of relevance", hint)


def before_gap(scores: Sequence[float]) -> int:
    """How many scores, best first, stand before the largest drop; all of them if no drop is large enough."""
    drops = [before - after for before, after in pairwise(scores)]
    largest = max(drops, default=0.0)
    return drops.index(largest) + 1 if largest >= LEAST_GAP else len(scores)
