"""The API of Hugging Face's Text Embeddings Inference."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import Call, RerankResult

ERROR_TYPES = {
    400: "validation", 408: "validation", 413: "validation", 415: "validation", 422: "validation",
    401: "unauthorized", 429: "overloaded", 503: "unhealthy", 504: "overloaded",
}  # fmt: skip


def tei_response(result: RerankResult) -> list[dict[str, Any]]:
    """A bare array."""
    values = result.request.values if result.request.options.return_documents else None
    rows: list[dict[str, Any]] = [{"index": hit.index, "score": hit.relevance_score} for hit in result.hits]
    return rows if values is None else [{**row, "text": values[row["index"]]} for row in rows]


def tei_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """What Text Embeddings Inference says, and what it calls this type of failure."""
    return {"error": error.message, "error_type": error.error_type or ERROR_TYPES.get(error.status, "backend")}


def tei_headers(result: RerankResult, call: Call) -> dict[str, str]:
    """TEI's clients find counts and times in headers; its bare array has no other place for warnings either."""
    headers = {
        "x-compute-type": "cpu",
        "x-compute-tokens": str(result.computed_tokens),
        "x-compute-characters": str(sum(map(len, result.request.values))),
        "x-queue-time": str(round(call.queued * 1000)),
        "x-inference-time": str(round(call.scored * 1000)),
        "x-total-time": str(round((time.perf_counter() - call.start) * 1000)),
    }
    return headers | warning_headers(result, call)


TEI = Adapter(
    "tei", (), tei_response, tei_error, tei_headers, "texts", keys=("texts",), objects=False, refuse_cut_query=True
)
