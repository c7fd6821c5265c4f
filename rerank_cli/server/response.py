"""Scores to a response: order, tokens, search units and warnings; the adapter of the request's API then words it.

It knows nothing of HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli import pipeline, scoring, stage_checks
from rerank_cli.billing import chunk_of, search_units
from rerank_cli.errors import NonFiniteError, UsageError
from rerank_cli.records import UNSCORED
from rerank_cli.report import Report
from rerank_cli.request import as_members
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError
from rerank_cli.server.jobs import tokens_of, units_of
from rerank_cli.server.json_body import dump
from rerank_cli.server.records import RerankRequest, RerankResult
from rerank_cli.settings import RankSettings, StageSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rerank_cli.records import Hit, Ranking, Score
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.jobs import Job


def rank_scores(request: RerankRequest, job: Job, info: ScorerInfo) -> Ranking:
    """The ranking of a request's documents by the scores of its job.

    Raises HttpError for a document without any token if strict, and for a cut query where nothing may be cut.
    """
    scores = _document_scores(request, job, strict=request.strict and info.scale != UNSCORED)
    if request.adapter.refuse_cut_query and job.query_cut and request.limits.long_documents == "error":
        raise HttpError(422, f"the query has {job.query_tokens} tokens, more than half of the model's window")
    return pipeline.assemble(request.query, request.documents, scores, info, settings_of(request), Report())


def check_stages(request: RerankRequest, info: ScorerInfo) -> None:
    """Raise HttpError 422 for stages and highlights that this model's scores do not allow, before they are paid for."""
    try:
        stage_checks.check_stages(request.query, info, settings_of(request), Report())
    except UsageError as error:
        raise HttpError(422, as_members(error.message)) from None


def settings_of(request: RerankRequest) -> RankSettings:
    """How a request wants its documents ranked."""
    options = request.options
    stages = StageSettings(**options.stages)
    return RankSettings(top_n=options.top_n, raw_scores=bool(options.raw_scores), stages=stages, limits=request.limits)


def build_response(
    request: RerankRequest,
    jobs: Sequence[Job],
    ranking: Ranking,
    request_id: str,
    info: ScorerInfo,
    notes: Sequence[str],
) -> tuple[bytes, RerankResult]:
    """The response's JSON, and the result that it describes.

    `jobs`: that of the documents, and that of their sentences if highlights were asked for.
    """
    job, *further = jobs
    scores = _document_scores(request, job)
    context = None
    if request.options.context:
        from rerank_cli.writers.context import block_of

        context = block_of(ranking)
    read = sum(_tokens(other, filter(None, other.scores)) for other in further)
    warnings = (*request.warnings, *notes, *job.warnings, *_warnings(request, job, scores, info))
    result = RerankResult(
        request,
        request_id,
        info.model,
        hits=_with_lowest(ranking.hits),
        tokens=_tokens(job, scores) + read,
        computed_tokens=_tokens(job, filter(None, job.scores)) + read,
        search_units=0 if info.scale == UNSCORED else _units(job, scores, request.options.model or ""),
        warnings=(*warnings, *ranking.meta.warnings),
        stages=ranking.meta.stages,
        context=context,
        fallback=ranking.meta.fallback,
    )
    return dump(request.adapter.response(result)), result


def _document_scores(request: RerankRequest, job: Job, *, strict: bool = False) -> list[Score]:
    """One score per document, every one finite; None in it for a document without any token."""
    if job.error is not None:
        raise job.error
    scored = [score for score in job.scores if score is not None]
    scores = scoring.UniquePairs(list(job.pairs), job.places).spread(scored)
    # Blank documents have no pair; of others the tokenizer may drop every character.
    empty = [index for index, score in enumerate(scores) if score.value is None]
    if empty and strict:
        raise HttpError(400, http_errors.BLANK_DOCUMENT.format(index=empty[0]), error_type="empty")
    try:
        scoring.require_finite(scored, job.pairs, request.documents)
    except NonFiniteError:
        status = 500 if job.usage is None else 502
        raise HttpError(status, "the model gave a score that is not a number") from None
    return scores


def _with_lowest(hits: Sequence[Hit]) -> list[Hit]:
    """Hits whose empty documents, which are last, have the lowest score: clients expect a number."""
    lowest = min([0.0, *(hit.relevance_score for hit in hits if hit.relevance_score is not None)])
    return [hit._replace(relevance_score=lowest) if hit.relevance_score is None else hit for hit in hits]


def _tokens(job: Job, scores: Iterable[Score]) -> int:
    """Tokens that the model read: each window of a document with the query beside it; else what a provider counted."""
    if job.usage is not None:
        return tokens_of(job.usage)
    return sum(score.tokens + job.query_tokens * score.windows for score in scores)


def _units(job: Job, scores: Iterable[Score], model: str) -> int:
    """What the provider billed; of a local model what Cohere would bill under the name that the client gave."""
    if job.usage is not None:
        return units_of(job.usage)
    chunk = chunk_of(model)
    return search_units(job.query_tokens, (score.tokens for score in scores), chunk)


def _warnings(request: RerankRequest, job: Job, scores: Sequence[Score], info: ScorerInfo) -> tuple[str, ...]:
    """What the scoring did to the texts."""
    report = Report()
    pipeline.check_language(request.query, request.documents, info, report)
    empty = sum(score.value is None for score in scores)
    if empty and info.scale != UNSCORED:
        report.warn(f"{empty} document{' is' if empty == 1 else 's are'} empty and scored lowest")
    cut = sum(score.truncated or index in request.shortened for index, score in enumerate(scores))
    if cut:
        limits = request.limits
        what = "1 document was cut" if cut == 1 else f"{cut} documents were cut"
        reasons = f"max_tokens_per_doc {limits.max_tokens_per_doc}"
        reasons += f", max_chunks_per_doc {limits.max_chunks_per_doc}" if limits.max_chunks_per_doc else ""
        reasons += ", one window per document" if limits.long_documents == "truncate" else ""
        report.warn(f"{what} ({reasons})")
    if job.query_cut:
        report.warn("the query was cut to half of the model's window")
    return report.warnings()
