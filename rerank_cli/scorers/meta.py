"""How a ranking was made, in words: by which model, on which scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.records import LOG_ODDS, Meta

if TYPE_CHECKING:
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.settings import RankSettings


def scale_of(info: ScorerInfo, *, raw_scores: bool = False) -> str:
    """What relevance_score is: a probability or a logit where scores are log-odds, else the scorer's own scale."""
    if info.scale != LOG_ODDS:
        return info.scale
    return "logit" if raw_scores else "probability"


def meta_of(info: ScorerInfo, settings: RankSettings, report: Report) -> Meta:
    """How the ranking was made."""
    return Meta(
        model=info.model,
        revision=info.revision,
        backend=info.backend,
        dtype=info.dtype,
        score_scale=scale_of(info, raw_scores=settings.raw_scores),
        tokens=report.counts["tokens"],
        documents=report.counts["documents"],
        truncated=report.counts["truncated"],
        warnings=report.warnings(),
    )
