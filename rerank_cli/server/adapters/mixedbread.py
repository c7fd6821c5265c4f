"""The API of Mixedbread: `input` instead of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.cohere import cohere_error
from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.records import RerankResult


def mixedbread_response(result: RerankResult) -> dict[str, Any]:
    """Rows with `score`; `input` is the document as sent."""
    request = result.request
    rows: list[dict[str, Any]] = []
    for hit in result.hits:
        rows.append({"index": hit.index, "score": hit.relevance_score, "object": "rank_result"})
        if request.options.return_documents:
            rows[-1]["input"] = request.values[hit.index]
    return {
        "object": "list",
        "data": rows,
        "model": result.model,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        "top_k": request.options.top_n or len(request.values),
        "return_input": bool(request.options.return_documents),
    }


MIXEDBREAD = Adapter(
    "provider",
    (),
    mixedbread_response,
    cohere_error,
    warning_headers,
    label="mixedbread",
    keys=("input",),
    names={"input": "documents", "top_k": "top_n", "return_input": "return_documents"},
)
