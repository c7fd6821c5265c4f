"""The native API of Alibaba's DashScope (Model Studio): query and documents in `input`, options in `parameters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.cohere import cohere_response
from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankResult

CODES = {401: "InvalidApiKey", 404: "ModelNotFound", 429: "Throttling.RateQuota"}


def dashscope_response(result: RerankResult) -> dict[str, Any]:
    """The results inside `output`."""
    response = cohere_response(result, version="1")
    return {
        "output": {"results": response["results"]},
        "usage": {"total_tokens": result.tokens},
        "request_id": result.request_id,
    }


def dashscope_error(error: HttpError, request_id: str) -> dict[str, Any]:
    """What DashScope calls a failure, and why it is one."""
    unnamed = "InternalError" if error.status >= 500 else "InvalidParameter"
    return {"code": CODES.get(error.status, unnamed), "message": error.message, "request_id": request_id}


DASHSCOPE = Adapter(
    "provider",
    ("/text-rerank",),
    dashscope_response,
    dashscope_error,
    warning_headers,
    label="dashscope",
    names={
        "input.query": "query",
        "input.documents": "documents",
        "parameters.top_n": "top_n",
        "parameters.return_documents": "return_documents",
    },
)
