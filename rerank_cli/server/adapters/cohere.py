"""The APIs of Cohere (v1 and v2) and what resembles them: Jina, vLLM, Together, LiteLLM, Xinference, Infinity.

One object answers all of them. It has no `object`: Infinity's client refuses any value but its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rerank_cli.server.records import Adapter
from rerank_cli.writers.results import parts_of

if TYPE_CHECKING:
    from rerank_cli.records import Hit
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankRequest, RerankResult


def cohere_response(result: RerankResult, *, version: str) -> dict[str, Any]:
    """One object that clients of Cohere, Jina and vLLM can all read."""
    return {
        "id": result.request_id,
        "model": result.model,
        "results": [_cohere_row(hit, result.request) for hit in result.hits],
        "meta": {
            "api_version": {"version": version},
            "billed_units": {"search_units": result.search_units},
            "tokens": {"input_tokens": result.tokens, "output_tokens": 0},
            "warnings": result.warnings,
            **({"stages": result.stages} if result.stages else {}),
            **({"fallback": result.fallback} if result.fallback else {}),
        },
        "usage": {"prompt_tokens": result.tokens, "completion_tokens": 0, "total_tokens": result.tokens},
        **({} if result.context is None else {"context": result.context}),
    }


def _cohere_row(hit: Hit, request: RerankRequest) -> dict[str, Any]:
    row: dict[str, Any] = {"index": hit.index, "relevance_score": hit.relevance_score}
    if hit.final_score is not None:
        row["final_score"] = hit.final_score
    row |= parts_of(hit)
    if request.options.return_best_chunk and hit.score.best:
        row["best_chunk"] = hit.score.best
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


def infinity_response(result: RerankResult) -> dict[str, Any]:
    """As Cohere's, but a document is its text: LiteLLM's `infinity/` takes nothing else."""
    response = cohere_response(result, version="1")
    for row, hit in zip(response["results"], result.hits, strict=True):
        if "document" in row:
            row["document"] = hit.document.text
    return response


JINA = Adapter(
    "rerank", ("/rerank", "/reranking", "/reranks"), partial(cohere_response, version="1"), cohere_error, by_body=True
)
V1 = Adapter("v1", ("/v1/rerank",), partial(cohere_response, version="1"), cohere_error, by_body=True, lenient=JINA)
V2 = Adapter(
    "v2",
    ("/v2/rerank",),
    partial(cohere_response, version="2"),
    cohere_error,
    by_body=True,
    objects=False,
    needs_model=True,
    lenient=JINA,
)
# Their requests are those of Jina, so only a path shows what their clients read in a response.
INFINITY = Adapter(
    "rerank", ("/infinity/rerank", "/infinity/v1/rerank"), infinity_response, cohere_error, label="infinity"
)
VLLM = Adapter(
    "rerank",
    ("/vllm/rerank", "/vllm/v1/rerank", "/vllm/v2/rerank"),
    partial(cohere_response, version="2"),
    cohere_error,
    label="vllm",
    defaults={"return_documents": True},
)
