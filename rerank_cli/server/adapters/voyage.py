"""The API of Voyage AI. Its clients send `top_k` or `truncation`, which those of Cohere and Jina do not.

The npm SDK may send neither, but says its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankResult


def voyage_response(result: RerankResult) -> dict[str, Any]:
    """The results are called `data`; a document is a string."""
    rows: list[dict[str, Any]] = []
    for hit in result.hits:
        rows.append({"index": hit.index, "relevance_score": hit.relevance_score})
        if result.request.options.return_documents:
            rows[-1]["document"] = hit.document.text
    return {"object": "list", "data": rows, "model": result.model, "usage": {"total_tokens": result.tokens}}


def voyage_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """Its clients read `detail`."""
    return {"detail": error.message}


VOYAGE = Adapter(
    "provider",
    ("/voyage/rerank", "/voyage/v1/rerank"),
    voyage_response,
    voyage_error,
    warning_headers,
    label="voyage",
    keys=("top_k", "truncation"),
    header=("x-fern-sdk-name", "voyageai"),
    names={"top_k": "top_n", "truncation": "truncate"},
    refuse_cut_query=True,
)
