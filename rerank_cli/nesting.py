"""How deep JSON may nest, the same with every Python.

The limit of Python's own parser is 990 levels in 3.11, 10,000 in 3.13, and in 3.14 what the stack holds, about 65,000.
Functions that call themselves once per level end at less than 1,000 in all of them. Formats of documents are not known
here.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_NESTING = 800
_CLOSING = re.compile(r"[\]}]")


def loads(data: str | bytes) -> Any:
    """As `json.loads`. Raises RecursionError for what nests deeper than MAX_NESTING."""
    value = json.loads(data)
    if len(data) > 2 * MAX_NESTING:
        require_shallow(value)
    return value


def require_shallow(value: Any) -> None:
    """Raises RecursionError for a parsed value that nests deeper than MAX_NESTING."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [inner for inner in level if type(inner) in {dict, list}]
        if not level:
            return
        level = [inner for outer in level for inner in (outer.values() if type(outer) is dict else outer)]
    raise RecursionError


def is_opened_deep(text: str, start: int, end: int) -> bool:
    """Whether a part of a text that cannot be parsed opens more than MAX_NESTING brackets and closes none of them."""
    parts = _CLOSING.split(text[start:end]) if end - start > MAX_NESTING else ()
    return any(part.count("[") + part.count("{") > MAX_NESTING for part in parts)
