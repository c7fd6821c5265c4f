"""Why a request is refused, in Cohere's words where Cohere has any.

They are those of its documentation (docs.cohere.com, "Errors"), because clients and their users search for them. How an
API wraps them is a matter of `adapters`. This module knows nothing of HTTP beyond status and headers.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from rerank_cli.server.settings import ServeSettings

REFERENCE = "For proper usage, please refer to https://docs.cohere.com/reference/rerank"
BLANK_QUERY = "invalid request: query must not be empty or be only whitespace"
NO_DOCUMENTS = "invalid request: list of documents must not be empty"
ALL_BLANK = "invalid request: list of documents must not contain only empty strings or only whitespace"
BLANK_DOCUMENT = "invalid request: document at index {index} cannot be empty"
TOO_MANY_CHUNKS = (
    "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than {most}"
)
TOO_MANY_DOCUMENTS = "invalid request: this server takes at most {most} documents per request"
NO_FIELDS = "invalid request: rank_fields cannot be empty, it must either contain at least one field or be omitted"
NO_MODEL = "a model parameter is required for this endpoint."
UNKNOWN_MODEL = (
    "model '{model}' not found, make sure the correct model ID was used and that you have access to the model."
)
NO_PAGE = (
    "404 page not found: POST to a path that ends with /v2/rerank, /v1/rerank, /rerank, /reranking, /reranks, /ranking "
    "or /score; GET /health, /ready, /v1/models, /info, /metrics or /docs"
)
BAD_JSON = "invalid json syntax: {reason}"
UNKNOWN_FIELD = "unknown field: parameter '{name}' is not a valid field. " + REFERENCE
WRONG_TYPE = "invalid type: parameter {name} is of type {actual} but should be of type {expected}. " + REFERENCE
NO_KEY = "no api key supplied"
BAD_KEY = "invalid api token"
INTERNAL = "internal server error, see the server's log for id {id}"


class HttpError(Exception):
    """A refusal: HTTP status, the text for the client, headers such as Retry-After.

    The text is one line, whatever of the request it quotes. `error_type` is TEI's name for it where the status does not
    determine that.
    """

    def __init__(
        self, status: int, message: str, *, headers: dict[str, str] | None = None, error_type: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = escape_line(message)
        self.headers = headers or {}
        self.error_type = error_type


def retry_later(status: int, message: str, seconds: float) -> HttpError:
    """A refusal that ends by itself. Retry-After is whole and at least 1: clients ignore 0 and fractions."""
    return HttpError(status, message, headers={"retry-after": str(max(1, min(60, ceil(seconds))))})


def too_many(settings: ServeSettings) -> HttpError:
    """More documents than the server takes."""
    return HttpError(400, TOO_MANY_DOCUMENTS.format(most=settings.max_documents))


def wrong_type(name: str, value: Any, expected: str) -> HttpError:
    """A field of another type than it must have."""
    return HttpError(422, WRONG_TYPE.format(name=name, actual=json_type(value), expected=expected))


def json_type(value: Any) -> str:
    """What JSON calls a value."""
    names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null")
