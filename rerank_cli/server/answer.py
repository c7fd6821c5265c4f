"""Scores to a reply that all known clients can read: order, documents, tokens, search units, warnings.

One shape for Cohere, Jina and vLLM clients, a bare array for TEI's. It knows nothing of HTTP.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli import pipeline
from rerank_cli.billing import DEFAULT_CHUNK, chunk_of, search_units
from rerank_cli.errors import NonFiniteError
from rerank_cli.report import Report
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError
from rerank_cli.settings import RankSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Hit, Score
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.ask import RerankRequest
    from rerank_cli.server.worker import Job


def build_response(
    ask: RerankRequest, job: Job, request_id: str, info: ScorerInfo, notes: Sequence[str] = ()
) -> tuple[bytes, tuple[str, ...]]:
    """The reply's JSON and its warnings, which TEI's array has no place for.

    Raises HttpError for a document that turned out to hold no token, and for a cut query where nothing may be cut.
    """
    scores = all_scores(ask, job)
    if ask.tei and job.query_cut and ask.limits.long_documents == "error":
        raise HttpError(422, f"the query has {job.query_tokens} tokens, more than half of the model's window")
    warnings = (*ask.warnings, *notes, *warnings_of(ask, job, scores, info))
    settings = RankSettings(top_n=ask.top_n, raw_scores=ask.raw_scores, limits=ask.limits)
    hits = pipeline.assemble(ask.query, ask.documents, scores, info, settings, Report()).hits
    if ask.tei:
        return dump([_tei_row(hit, ask) for hit in hits]), warnings
    tokens = tokens_read(job.query_tokens, scores)
    reply = {
        "id": request_id,
        "object": "list",
        "model": info.model,
        "results": [_row(hit, ask) for hit in hits],
        "meta": {
            "api_version": {"version": "2" if ask.route == "v2" else "1"},
            "billed_units": {"search_units": units(ask, job, scores)},
            "tokens": {"input_tokens": tokens, "output_tokens": 0},
            "warnings": warnings,
        },
        "usage": {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens},
    }
    return dump(reply), warnings


def all_scores(ask: RerankRequest, job: Job) -> list[Score]:
    """One score a document, every one a finite number."""
    scores = [job.scores[place] for place in job.places]
    if job.error is not None:
        raise job.error
    found = [score for score in scores if score is not None]
    for index, score in enumerate(found):
        if score.value is None:  # nothing but characters that the tokenizer drops
            raise HttpError(400, http_errors.BLANK_DOCUMENT.format(index=index), kind="empty")
    try:
        pipeline.require_finite(found, [job.pairs[place] for place in job.places], ask.documents)
    except NonFiniteError:
        raise HttpError(500, "the model gave a score that is no number", kind="backend") from None
    return found


def _row(hit: Hit, ask: RerankRequest) -> dict[str, Any]:
    row: dict[str, Any] = {"index": hit.index, "relevance_score": hit.relevance_score}
    if ask.with_documents:
        row["document"] = _document(ask.values[hit.index], hit.document.text)
    return row


def _document(value: Any, text: str) -> dict[str, Any]:
    """The document as sent; LiteLLM and Dify need a string as its `text`."""
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value.get("text"), str) else {**value, "text": text}


def _tei_row(hit: Hit, ask: RerankRequest) -> dict[str, Any]:
    row: dict[str, Any] = {"index": hit.index, "score": hit.relevance_score}
    if ask.with_documents:
        row["text"] = ask.values[hit.index]
    return row


def tokens_read(query_tokens: int, scores: Sequence[Score]) -> int:
    """Tokens that the model read: each window of a document with the query beside it."""
    return sum(score.tokens + query_tokens * score.windows for score in scores)


def units(ask: RerankRequest, job: Job, scores: Sequence[Score]) -> int:
    """Search units as Cohere would bill this request under the model's name that the client gave."""
    chunk = chunk_of(ask.model or "") or DEFAULT_CHUNK
    return search_units(job.query_tokens, (score.tokens for score in scores), chunk)


def warnings_of(ask: RerankRequest, job: Job, scores: Sequence[Score], info: ScorerInfo) -> tuple[str, ...]:
    """What the scoring did to the texts."""
    report = Report()
    pipeline.check_language(ask.query, ask.documents, info, report)
    cut = sum(score.truncated for score in scores)
    if cut:
        what = "1 document was cut" if cut == 1 else f"{cut} documents were cut"
        chunks = ask.limits.max_chunks_per_doc
        also = f", max_chunks_per_doc {chunks}" if chunks else ""
        also += ", one window a document" if ask.limits.long_documents == "truncate" else ""
        report.warn(f"{what} (max_tokens_per_doc {ask.limits.max_tokens_per_doc}{also})")
    if job.query_cut:
        report.warn("the query was cut to half of the model's window")
    return report.warnings()


def dump(value: Any) -> bytes:
    """JSON text; whole numbers beyond 64 bits and lone surrogates of returned documents take the slower way."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
