"""Rows ranked by a chain of models: what one of them cannot rank, the next one does.

A row is always ranked by one model. A model that fails again and again is left alone for the rest of the run. Nothing
is known here of formats and files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_cli.batch.scoring import Outcome, rank_block
from rerank_cli.errors import RemoteError
from rerank_cli.scorers.fallback import MOST_FAILURES, UNUSABLE, with_earlier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.batch.rows import BatchRow
    from rerank_cli.batch.scoring import SettingsOf
    from rerank_cli.errors import RerankError
    from rerank_cli.records import Failure
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer
    from rerank_cli.scorers.fallback import ChainModel, FallbackScorer


def rank_in_turn(
    block: Sequence[BatchRow],
    chain: FallbackScorer,
    settings_of: SettingsOf,
    report: Report,
    advance: Advance | None = None,
) -> list[Outcome]:
    """One outcome per row, in order. Raises what would meet every row of the last model."""
    outcomes = [Outcome(row, None, row.error) for row in block]
    left: dict[int, tuple[Failure, ...]] = {place: () for place, row in enumerate(block) if row.request}
    *others, last = chain.models
    for model in others:
        if not left:
            return outcomes
        if model.failed and model.failures >= MOST_FAILURES:
            left = {place: (*failed, model.failed) for place, failed in left.items()}
            continue
        rows = [block[place] for place in left]
        tried = try_model(model, rows, settings_of, report, advance)
        before, left = left, {}
        for (place, failed), outcome in zip(before.items(), tried, strict=True):
            if isinstance(outcome.error, UNUSABLE):
                left[place] = (*failed, model.failure(outcome.error))
                report_failure(model, chain, outcome.error, report)
            else:
                outcomes[place] = with_failures(outcome, failed)
    if left:
        rows = [block[place] for place in left]
        try:
            tried = rank_with(last, rows, settings_of, report, advance)
        except UNUSABLE as error:
            raise with_earlier(error, next(iter(left.values()))) from None
        for (place, failed), outcome in zip(left.items(), tried, strict=True):
            outcomes[place] = with_failures(outcome, failed)
    return outcomes


def try_model(
    model: ChainModel, rows: Sequence[BatchRow], settings_of: SettingsOf, report: Report, advance: Advance | None
) -> list[Outcome]:
    """What a model makes of rows. If it fails as a whole, every row has its error, and the model may be given up."""
    try:
        outcomes = rank_with(model, rows, settings_of, report, advance)
    except UNUSABLE as error:
        model.failed = model.failure(error)
        # An endpoint may come back; a model that cannot be opened will not.
        model.failures += 1 if isinstance(error, RemoteError) else MOST_FAILURES
        return [Outcome(row, None, error) for row in rows]
    model.failures = 0
    return outcomes


def rank_with(
    model: ChainModel, rows: Sequence[BatchRow], settings_of: SettingsOf, report: Report, advance: Advance | None
) -> list[Outcome]:
    """The outcomes of rows by one model. Raises what it raises."""

    def rank(scorer: Scorer, model: ChainModel) -> list[Outcome]:
        return rank_block(rows, scorer, lambda request: model.settings_of(settings_of(request)), report, advance)

    return model.attempt(rank, report)


def report_failure(model: ChainModel, chain: FallbackScorer, error: RerankError, report: Report) -> None:
    """Warn of a model's first failure, and note that it is given up."""
    if not model.reported:
        model.reported = True
        report.warn(chain.warning(model, error))
    if model.failures >= MOST_FAILURES:
        report.note(f"`{model.reference}` is not tried any more in this run")


def with_failures(outcome: Outcome, failed: tuple[Failure, ...]) -> Outcome:
    """An outcome that says which models failed before."""
    if outcome.ranking is None:
        return outcome
    return outcome._replace(ranking=replace(outcome.ranking, meta=replace(outcome.ranking.meta, fallback=failed)))
