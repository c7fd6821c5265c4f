"""Stages after scoring: what happens to the hits of a query between their scores and the output.

`STAGES` is their order, which is fixed. Each is off unless its settings ask for it (`rerank_cli.stage_settings`), and
is a pure function from hits to hits in a module of its own. The model's `relevance_score` is never changed; a stage
that changes the order says so by `final_score`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.records import UNSCORED
from rerank_cli.stages import boosts, budget, cutoff, diversity, grouping, near_duplicates
from rerank_cli.stages.base import Change, Context, Stage, report_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings

__all__ = ["STAGES", "Change", "Context", "check", "run"]


def _top_n(_settings: StageSettings) -> Any:
    return lambda hits, context: Change(hits[: context.top_n], {hit.index: {} for hit in hits[context.top_n :]})


TOP_N = Stage("top_n", _top_n)  # not reported: `-n` asks for it
STAGES = (
    Stage(boosts.NAME, boosts.make, needs_scores=True),
    Stage(near_duplicates.NAME, near_duplicates.make),
    Stage(cutoff.NAME, cutoff.make, needs_scores=True),
    Stage(grouping.NAME, grouping.make),
    Stage(diversity.NAME, diversity.make, needs_scores=True),
    TOP_N,
    Stage(budget.NAME, budget.make),
)


def check(settings: StageSettings, context: Context | None = None) -> None:
    """Raise UsageError for settings that no stage can work with, with a context also for its scale of scores."""
    for stage in STAGES:
        stage.make(settings)
    if context and context.scale != UNSCORED:
        cutoff.check_scale(settings, context)


def run(hits: Sequence[Hit], settings: StageSettings, context: Context) -> tuple[list[Hit], tuple[dict[str, Any], ...]]:
    """The hits after all stages that are on, ranked from 1, and what each stage did. Raises UsageError."""
    current, reports = list(hits), []
    for stage in STAGES:
        apply = stage.make(settings)
        if apply is None or (stage is TOP_N and context.top_n is None):
            continue
        if stage.needs_scores and context.scale == UNSCORED:
            continue
        change = apply(current, context)
        if stage is not TOP_N:
            reports.append(report_of(stage.name, current, change))
        current = change.hits
    return [hit._replace(rank=rank) for rank, hit in enumerate(current, start=1)], tuple(reports)
