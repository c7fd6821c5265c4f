"""The API of NVIDIA's NIM for text reranking: `passages` instead of documents, logits instead of probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.cohere import cohere_error
from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.records import RerankResult

TRUNCATE = {"NONE": False, "END": True}


def nvidia_response(result: RerankResult) -> dict[str, Any]:
    """Rankings, best first."""
    rankings = [{"index": hit.index, "logit": hit.relevance_score} for hit in result.hits]
    return {"rankings": rankings, "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens}}


def _prepare(members: dict[str, Any]) -> dict[str, Any]:
    truncate = members.get("truncate")
    return members | {"truncate": TRUNCATE.get(truncate, truncate)} if isinstance(truncate, str) else members


NVIDIA = Adapter(
    "provider",
    ("/ranking",),
    nvidia_response,
    cohere_error,
    warning_headers,
    label="nvidia",
    keys=("passages",),
    names={"passages": "documents", "top_k": "top_n"},
    defaults={"raw_scores": True},
    prepare=_prepare,
    refuse_cut_query=True,
)
