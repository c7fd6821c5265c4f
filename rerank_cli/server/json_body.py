"""JSON bodies of HTTP requests and responses, exactly: big integers and lone surrogates survive in both directions.

It knows no member of any body.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import orjson

from rerank_cli.errors import InputError
from rerank_cli.readers.rows import BIG_INTEGER, DECIMAL_ID, json_value
from rerank_cli.server import http_errors
from rerank_cli.server.http_errors import HttpError, wrong_type

# What orjson would not read exactly.
INEXACT = re.compile(f"{BIG_INTEGER.pattern}|{DECIMAL_ID.pattern}".encode())


def load(body: bytes | bytearray) -> dict[str, Any]:
    """The object that JSON text holds. Raises HttpError 400 for other text, 422 for another value."""
    value = _value(body)
    if not isinstance(value, dict):
        raise wrong_type("body", value, "object")
    return value


def _value(body: bytes | bytearray) -> Any:
    """The value of JSON text; text that orjson reads exactly is not decoded first, which would take memory."""
    if not INEXACT.search(body):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(body)
    try:
        return json_value(body.decode("utf-8-sig"), "")
    except UnicodeDecodeError as error:
        raise HttpError(400, http_errors.BAD_JSON.format(reason=f"invalid UTF-8 at byte {error.start}")) from None
    except InputError as error:
        reason = error.message.removeprefix("not valid JSON: ") + (f"; {error.hint}" if error.hint else "")
        raise HttpError(400, http_errors.BAD_JSON.format(reason=reason)) from None


def dump(value: Any) -> bytes:
    """JSON text; whole numbers beyond 64 bits and lone surrogates of returned documents take the slower way."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
