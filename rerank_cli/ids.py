"""Values to ids: text, whole numbers, decimals with the digits that were written, and MongoDB's `{"$oid": …}`.

It knows values and JSON text only.
"""

from __future__ import annotations

import json
from typing import Any, Self

from rerank_cli.text import replace_surrogates


class Decimal(float):
    """A number that keeps its text: as an id, `1.10` is not `1.1`."""

    text: str

    def __new__(cls, text: str) -> Self:
        """The number that a text holds, with the text."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def id_text(value: Any) -> str | None:
    """An id as text; None for what cannot be one: null, an empty text, a boolean, a list, an object of other members.

    The extended JSON of MongoDB has ids of one member: `{"$oid": "65a…"}`, `{"$numberLong": "7"}`, `{"$uuid": "…"}`.
    """
    if isinstance(value, str):
        return replace_surrogates(value) or None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return value.text if isinstance(value, Decimal) else repr(value)
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        return id_text(inner) if isinstance(key, str) and key.startswith("$") and not isinstance(inner, dict) else None
    return None


def with_decimals(raw: bytes | str) -> Any:
    """The value of a JSON text whose decimals keep their text; None if it is not JSON."""
    try:
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
