"""Whether the stages and the threshold fit the scores of a model, found before anything is scored or billed.

It knows scales and stages, and neither documents nor formats.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.ranking import sigmoid
from rerank_cli.records import LOG_ODDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rerank_cli.records import Queries, Score
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.scorers.fallback import FallbackScorer
    from rerank_cli.settings import RankSettings
    from rerank_cli.stages import Context


def check_stages(query: Queries, info: ScorerInfo, settings: RankSettings, report: Report) -> None:
    """Raise UsageError for stages and highlights that scores of this model do not allow, before they are paid for.

    A threshold that no score can reach is a warning.
    """
    if settings.min_score is not None and settings.min_score > 1 and info.scale == LOG_ODDS and not settings.raw_scores:
        words = f"--min-score {settings.min_score:g}: relevance scores go from 0 to 1, so no document can have it"
        report.warn(f"{words} (--raw-scores compares logits)")
    if settings.stages.active:
        from rerank_cli.highlighting import check

        stage_context(query, info, settings, report)
        check(settings, info.model, listwise=info.listwise)


def note_best(scores: Iterable[Score], info: ScorerInfo, settings: RankSettings, report: Report) -> None:
    """Keep the highest relevance score as shown, for the case that --min-score leaves no document."""
    if settings.min_score is None:
        return
    if values := [score.value for score in scores if score.value is not None]:
        best = max(values) if settings.raw_scores or info.scale != LOG_ODDS else sigmoid(max(values))
        report.best = best if report.best is None else max(best, report.best)


def check_chain(query: Queries, chain: FallbackScorer, settings: RankSettings, report: Report) -> None:
    """Raise UsageError for stages that an endpoint of the chain could not do, not only when its turn comes."""
    if settings.stages.active:
        for model in chain.endpoints():
            try:
                check_stages(query, model.opened().info, model.settings_of(settings), report)
            except UsageError as error:
                raise UsageError(f"`{model.reference}`: {error.message}", error.hint) from None


def stage_context(query: Queries, info: ScorerInfo, settings: RankSettings, report: Report) -> Context:
    """What the stages know; raises UsageError for a stage that cannot work on scores of this scale."""
    from rerank_cli import stages
    from rerank_cli.scorers.tokenizing import tokenizer_of

    fused = settings.fusion is not None or settings.join == "rrf"
    asked = query if isinstance(query, str) else "\n".join(query)
    open_tokenizer = partial(tokenizer_of, info)
    context = stages.Context(asked, info.scale, report, settings.raw_scores, fused, settings.top_n, open_tokenizer)
    stages.check(settings.stages, context)
    return context
