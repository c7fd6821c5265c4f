"""JSON bodies of HTTP requests and responses, exactly: big integers and lone surrogates survive in both directions.

It knows no member of any body.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from rerank_cli.errors import InputError
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, wrong_type

# orjson reads integers beyond 64 bits as floats: a body that may hold one is read exactly, like one it refuses.
_LONG_NUMBER = re.compile(rb"\d{19}")


def load(body: bytes) -> dict[str, Any]:
    """The object that JSON text holds. Raises HttpError 400 for other text, 422 for another value."""
    try:
        value = None if _LONG_NUMBER.search(body) else orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if value is None:
        value = _load_exactly(body)
    if not isinstance(value, dict):
        raise wrong_type("body", value, "object")
    return value


def _load_exactly(body: bytes) -> Any:
    """By the standard library's parser, which also reads lone surrogates (JavaScript cuts emoji in half)."""
    from rerank_cli.readers.values import exact

    try:
        return exact(body.decode("utf-8-sig"), "body")
    except UnicodeDecodeError as error:
        raise HttpError(400, http_errors.BAD_JSON.format(reason=f"invalid UTF-8 at byte {error.start}")) from None
    except InputError as error:
        reason = error.message.removeprefix("body: ").removeprefix("not valid JSON: ")
        if "set_int_max_str_digits" in reason:  # Python's advice does not help a client
            reason = "a number has too many digits"
        raise HttpError(400, http_errors.BAD_JSON.format(reason=reason)) from None


def dump(value: Any) -> bytes:
    """JSON text; whole numbers beyond 64 bits and lone surrogates of returned documents take the slower way."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
