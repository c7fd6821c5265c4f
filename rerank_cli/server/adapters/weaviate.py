"""The API of Weaviate's container reranker-transformers, whose requests always have `property`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankResult


def weaviate_response(result: RerankResult) -> dict[str, Any]:
    """Scores in the order of the documents: Weaviate takes them by position. `score` is that of an only document."""
    hits = sorted(result.hits, key=lambda hit: hit.index)
    scores = [{"document": hit.document.text, "score": hit.relevance_score} for hit in hits]
    only = scores[0] if len(scores) == 1 else {"document": None, "score": None}
    return {"query": result.request.query, "scores": scores, "property": only["document"], "score": only["score"]}


def weaviate_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """Weaviate reads `error`."""
    return {"error": error.message}


def _prepare(members: dict[str, Any]) -> dict[str, Any]:
    """Without documents the property is the one text to score."""
    text = members.pop("property", None)
    return {**members, "documents": [text]} if text and not members.get("documents") else members


WEAVIATE = Adapter(
    "provider",
    (),
    weaviate_response,
    weaviate_error,
    warning_headers,
    label="weaviate",
    keys=("property",),
    prepare=_prepare,
)
