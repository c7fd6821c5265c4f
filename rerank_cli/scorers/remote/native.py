"""Objects for the providers that choose fields themselves (Cohere v1, and others with --native-rank-fields).

Scorers get texts, and the text of rank fields is a YAML mapping in their order; reading it back gives the object
without a second way through the whole program. Every scalar stays the string that was written: providers take strings.
"""

from __future__ import annotations

from typing import Any

import orjson

from rerank_cli.scorers.remote.split import text_of
from rerank_cli.text import encodable


def fields_of(text: str, names: tuple[str, ...]) -> dict[str, str] | None:
    """The object of a rendered text (`--field-format yaml`); None if nothing in it is visible.

    A text that is not a mapping of the rank fields `names` is sent as the first of them.
    """
    values = {
        name: text_of(value) or "" if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in _mapping(text, names).items()
    }
    return values if any(value.strip() for value in values.values()) else None


def _mapping(text: str, names: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        value = yaml.load(encodable(text), Loader=loader)  # noqa: S506 the base loader builds nothing but strings, lists and dicts
    except yaml.YAMLError:
        value = None
    return value if isinstance(value, dict) and set(value) <= set(names) else {names[0]: text}
