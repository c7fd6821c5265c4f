"""The APIs that the server speaks, one row of `ADAPTERS` each: Cohere's v1 and v2, Jina's and vLLM's, TEI's.

Paths count by how they end, because SDKs append `v1/rerank` to whatever base URL they are given. Which members the
requests have is a matter of `rerank_cli.request`.
"""

from __future__ import annotations

import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rerank_cli.server.json_body import dump
from rerank_cli.server.records import Adapter
from rerank_cli.writers.results import parts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.records import Hit
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import Call, RerankRequest, RerankResult

SLASHES = re.compile("//+")  # SDKs join a base URL that ends with one
TEI_ERROR_TYPES = {
    400: "validation", 408: "validation", 413: "validation", 415: "validation", 422: "validation",
    401: "unauthorized", 429: "overloaded", 503: "unhealthy", 504: "overloaded",
}  # fmt: skip


def cohere_response(result: RerankResult, *, version: str) -> dict[str, Any]:
    """One object that clients of Cohere, Jina and vLLM can all read."""
    return {
        "id": result.request_id,
        "object": "list",
        "model": result.model,
        "results": [_cohere_row(hit, result.request) for hit in result.hits],
        "meta": {
            "api_version": {"version": version},
            "billed_units": {"search_units": result.search_units},
            "tokens": {"input_tokens": result.tokens, "output_tokens": 0},
            "warnings": result.warnings,
            **({"stages": result.stages} if result.stages else {}),
        },
        "usage": {"prompt_tokens": result.tokens, "completion_tokens": 0, "total_tokens": result.tokens},
        **({} if result.context is None else {"context": result.context}),
    }


def _cohere_row(hit: Hit, request: RerankRequest) -> dict[str, Any]:
    row: dict[str, Any] = {"index": hit.index, "relevance_score": hit.relevance_score}
    if hit.final_score is not None:
        row["final_score"] = hit.final_score
    row |= parts_of(hit)
    if request.options.return_documents:
        row["document"] = _document(request.values[hit.index], hit.document.text)
    return row


def _document(value: Any, text: str) -> dict[str, Any]:
    """The document as sent; LiteLLM and Dify need a string as its `text`."""
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value.get("text"), str) else {**value, "text": text}


def cohere_error(error: HttpError, request_id: str) -> dict[str, Any]:
    """Cohere's clients read `message`, those of Jina, Voyage and FastAPI read `detail`."""
    return {"id": request_id, "message": error.message, "detail": error.message}


def tei_response(result: RerankResult) -> list[dict[str, Any]]:
    """A bare array."""
    values = result.request.values if result.request.options.return_documents else None
    rows: list[dict[str, Any]] = [{"index": hit.index, "score": hit.relevance_score} for hit in result.hits]
    return rows if values is None else [{**row, "text": values[row["index"]]} for row in rows]


def tei_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """What Text Embeddings Inference says, and what it calls this type of failure."""
    return {"error": error.message, "error_type": error.error_type or TEI_ERROR_TYPES.get(error.status, "backend")}


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
    if result.warnings:
        headers["x-rerank-warnings"] = dump(result.warnings).decode().encode("ascii", "replace").decode()
    return headers


JINA = Adapter("rerank", ("/rerank", "/reranking", "/reranks"), partial(cohere_response, version="1"), cohere_error)
# The first whose path fits is taken: every path that ends with `/v2/rerank` ends with `/rerank` as well.
ADAPTERS = (
    Adapter(
        "v2",
        ("/v2/rerank",),
        partial(cohere_response, version="2"),
        cohere_error,
        objects=False,
        needs_model=True,
        lenient=JINA,
    ),
    Adapter("v1", ("/v1/rerank",), partial(cohere_response, version="1"), cohere_error, lenient=JINA),
    JINA,
    Adapter("tei", (), tei_response, tei_error, tei_headers, "texts", objects=False, refuse_cut_query=True),
)


def adapter_of_path(path: str) -> Adapter | None:
    """The API that a path belongs to; None if it is not a rerank path."""
    path = SLASHES.sub("/", path).rstrip("/")
    return next((adapter for adapter in ADAPTERS if adapter.paths and path.endswith(adapter.paths)), None)


def adapter_of_body(members: Mapping[str, Any], of_path: Adapter) -> Adapter:
    """The API that a body belongs to: TEI's if it has `texts`, whatever its path."""
    by_body = (adapter for adapter in ADAPTERS if not adapter.paths)
    return next((adapter for adapter in by_body if members.get(adapter.documents) is not None), of_path)
