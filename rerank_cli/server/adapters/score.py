"""vLLM's `/score`: one text against many, or pairs of texts, in the order of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.headers import warning_headers
from rerank_cli.server.records import Adapter

if TYPE_CHECKING:
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.server.records import RerankResult


def score_response(result: RerankResult) -> dict[str, Any]:
    """One score per pair, not sorted."""
    hits = sorted(result.hits, key=lambda hit: hit.index)
    tokens = {"prompt_tokens": result.tokens, "completion_tokens": 0, "total_tokens": result.tokens}
    return {
        "id": result.request_id,
        "object": "list",
        "created": 0,
        "model": result.model,
        "data": [{"index": hit.index, "object": "score", "score": hit.relevance_score} for hit in hits],
        "usage": tokens,
    }


def score_error(error: HttpError, _request_id: str) -> dict[str, Any]:
    """As OpenAI's API words it, and vLLM after it."""
    kind = "Internal Server Error" if error.status >= 500 else "Bad Request Error"
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.status}}


def _prepare(members: dict[str, Any]) -> dict[str, Any]:
    """One text is a list of one; newer clients of vLLM have other names for both sides."""
    for ours, names in (("text_1", ("queries", "data_1")), ("text_2", ("documents", "data_2"))):
        for name in names:
            if name in members and ours not in members:
                members[ours] = members.pop(name)
    second = members.get("text_2")
    if isinstance(second, str) or (isinstance(second, dict) and "content" not in second):
        members["text_2"] = [second]
    return members


SCORE = Adapter(
    "provider",
    ("/score",),
    score_response,
    score_error,
    warning_headers,
    label="score",
    keys=("text_1", "text_2"),
    names={"text_1": "query", "text_2": "documents"},
    prepare=_prepare,
    many_queries=True,
)
