"""Secrets do not belong in files: what looks like one is refused, and never repeated in the message."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from rerank_cli.config.files import one_line
from rerank_cli.errors import ConfigError

KEY = re.compile(r"(^|_)(api_?key|key|token|secret|password|passwd|authorization|bearer|credentials?)$", re.IGNORECASE)


def refuse_key(where: str, name: str) -> None:
    """A key such as `api_key` or `token` that is not an option. Raises ConfigError."""
    if KEY.search(name):
        hint = 'name the variable that holds it: `api_key_env = "CO_API_KEY"`'
        raise ConfigError(f"{where}: a secret does not belong in a file", hint)


def refuse_value(where: str, name: str, value: Any) -> None:
    """The value of an option that may carry a secret: headers, key variables, URLs, request members.

    `where` is `file: key`; `value` is of the right type, as TOML has it. Raises ConfigError if it holds a literal
    secret; the message does not repeat it.
    """
    if name == "header":
        for header in value:
            _header(where, header)
    elif name == "api_key_env":
        _variable(where, value)
    elif name in {"endpoint", "url"}:
        _url(where, value)
    elif name == "auth_header" and ":" in value and "{key}" not in value:
        raise ConfigError(f"{where}: the header's value is written out", "write `{key}` where the key goes")
    elif name == "extra":
        _members(where, _loaded(where, value))


def _header(where: str, header: str) -> None:
    from rerank_cli.net import is_credential

    name, _, value = (part.strip() for part in header.partition(":"))
    if value.startswith("@env:"):
        _variable(where, value.removeprefix("@env:"))
    elif is_credential(name, value):
        shown = name if re.fullmatch(r"[\w-]{1,64}", name) else "Authorization"
        hint = f"put it in a variable and write '{shown}: @env:VARIABLE'"
        raise ConfigError(f"{where}: a secret does not belong in a file", hint)


def _variable(where: str, value: str) -> None:
    from rerank_cli.net import is_variable

    if not is_variable(value):
        hint = "the key itself does not belong in a file: put it in a variable and name that"
        raise ConfigError(f"{where}: not the name of an environment variable", hint)


def _url(where: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        inside = parts.username or parts.password
    except ValueError:
        raise ConfigError(f"{where}: not a URL", "as in `https://api.example.com/v1`") from None
    names = [pair.partition("=")[0].replace("-", "_") for pair in parts.query.split("&")]
    if inside or any(KEY.search(name) for name in names):
        hint = 'use `api_key_env = "NAME"`, or `header = ["Name: @env:VARIABLE"]`'
        raise ConfigError(f"{where}: the URL holds a secret", hint)


def _loaded(where: str, value: Any) -> Any:
    if isinstance(value, dict):
        return value
    from rerank_cli import nesting

    try:
        return nesting.loads(value)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: not JSON", "write a table: extra = { priority = 1 }") from None


def _members(where: str, value: Any) -> None:
    if isinstance(value, dict):
        for name, member in value.items():
            refuse_key(f"{where}.{one_line(name)}", name.replace("-", "_"))
            _members(f"{where}.{one_line(name)}", member)
    elif isinstance(value, list):
        for member in value:
            _members(where, member)
