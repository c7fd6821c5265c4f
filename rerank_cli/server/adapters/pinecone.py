"""The API of Pinecone, whose clients send its version in a header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.cohere import cohere_response
from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankResult

CODES = {
    401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "UNKNOWN",
    503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}  # fmt: skip


def pinecone_response(result: RerankResult) -> dict[str, Any]:
    """Rows with `score`, and the documents unless they are not wanted."""
    rows = cohere_response(result, version="1")["results"]
    for row in rows:
        row["score"] = row.pop("relevance_score")
    return {"model": result.model, "data": rows, "usage": {"rerank_units": result.search_units}}


def pinecone_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """What Pinecone calls a failure, and why it is one."""
    code = CODES.get(error.status, "INVALID_ARGUMENT")
    return {"error": {"code": code, "message": error.message}, "status": error.status}


def _prepare(members: dict[str, Any]) -> dict[str, Any]:
    """`["text"]`, which its clients send always, means the text itself and not a YAML of it."""
    if members.get("rank_fields") == ["text"]:
        del members["rank_fields"]
    return members


PINECONE = Adapter(
    "provider",
    (),
    pinecone_response,
    pinecone_error,
    warning_headers,
    label="pinecone",
    header=("x-pinecone-api-version", ""),
    defaults={"return_documents": True},
    prepare=_prepare,
)
