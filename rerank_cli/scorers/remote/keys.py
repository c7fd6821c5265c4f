"""Keys and headers: where they come from, what is refused, and how they are kept out of messages.

A key is read as late as possible and lives in a `Secret`, which shows nothing in repr, str, f-strings or dataclasses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.errors import MissingKeyError, UsageError
from rerank_cli.key_files import check_rights
from rerank_cli.net import is_credential, is_variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rerank_cli.scorers.remote.providers import Provider
    from rerank_cli.settings import RemoteSettings

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
RESERVED = frozenset({"content-type", "content-length", "host", "transfer-encoding", "connection"})
MASK = "***"


class Secret:
    """A value that is sent and never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the request's header."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret is not pickled")


Header = tuple[str, "str | Secret"]


def find_key(provider: Provider, remote: RemoteSettings, env: Mapping[str, str], named: str | None) -> Secret | None:
    """The key: --api-key-env, then --api-key-file, then a named endpoint's variable, then the provider's own variables.

    `named` is `api_key_env` of a named endpoint. None if no place was named and no variable of the provider is set.
    Raises UsageError: a named variable is unset, or the file cannot be read or holds no usable key.
    """
    if remote.api_key_env:
        return _from_env(remote.api_key_env, env, "--api-key-env")
    if remote.api_key_file:
        return _from_file(remote.api_key_file)
    if named:
        return _from_env(named, env, "api_key_env")
    variable = next((name for name in provider.keys if env.get(name)), None)
    return _from_env(variable, env, "the key") if variable else None


def _from_env(name: str, env: Mapping[str, str], where: str, *, blanks: bool = False) -> Secret:
    if not is_variable(name):
        hint = "the key itself does not belong here: put it in a variable and name that"
        raise UsageError(f"{where}: this is not the name of an environment variable", hint)
    value = env.get(name, "").strip()
    if not value:
        hint = f"export {name}=…"
        raise MissingKeyError(f"the environment variable `{name}`, named for the key, is empty or unset", hint)
    return _usable(value, f"the environment variable `{name}`", blanks=blanks)


def _from_file(path: Path) -> Secret:
    try:
        value = path.expanduser().read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(
            f"cannot read the key file `{path}`: {reason}", "it holds the key alone, as one line of text"
        ) from None
    if not value:
        raise UsageError(f"the key file `{path}` is empty", "write the key into it")
    check_rights(path.expanduser())
    return _usable(value, f"the key file `{path}`")


def _usable(value: str, where: str, *, blanks: bool = False) -> Secret:
    """A key, or with `blanks` the whole value of a header, as `Basic …` and cookies are."""
    if not value.isascii() or not value.isprintable() or (not blanks and " " in value):
        hint = "a key is one line of visible ASCII characters, without blanks"
        raise UsageError(f"{where} does not hold a usable key", hint)
    return Secret(value)


def auth_headers(provider: Provider, key: Secret | None, auth_header: str | None) -> list[Header]:
    """The header that carries the key, by the provider's rule; none without a key.

    An `auth_header` of `NAME` sends the bare key (with `Bearer` for Authorization), one of `NAME: TEMPLATE` with
    `{key}` in it is the whole value.
    """
    if key is None:
        return []
    name, template = provider.auth
    if auth_header:
        name, colon, value = (part.strip() for part in auth_header.partition(":"))
        template = value if colon else ("Bearer {key}" if name.lower() == "authorization" else "{key}")
        _check_name(name, "--auth-header")
        if "{key}" not in template or not template.isprintable():
            hint = "write NAME, or NAME: TEMPLATE as in 'Authorization: {key}'"
            raise UsageError("--auth-header does not contain `{key}`", hint)
    return [(name, Secret(template.replace("{key}", key.reveal())))]


def extra_headers(given: Iterable[str], env: Mapping[str, str]) -> list[Header]:
    """`--header 'Name: value'` and `--header 'Name: @env:VARIABLE'`; credentials must take the second form."""
    headers: list[Header] = []
    for header in given:
        name, colon, value = (part.strip() for part in header.partition(":"))
        if not colon:
            raise UsageError("--header needs `Name: value`", "for a secret: 'Name: @env:VARIABLE'")
        _check_name(name, "--header")
        if value.startswith("@env:"):
            variable = value.removeprefix("@env:")
            headers.append((name, _from_env(variable, env, f"--header '{name}: @env:…'", blanks=True)))
        elif is_credential(name, value):
            hint = f"put the value in a variable and write --header '{name}: @env:VARIABLE'"
            raise UsageError(f"the header `{name}` carries a secret and would stay in your shell's history", hint)
        elif not value.isascii() or not value.isprintable():
            raise UsageError(
                f"the value of the header `{name}` is not a line of ASCII text",
                "headers have letters, digits and signs",
            )
        else:
            headers.append((name, value))
    return headers


def _check_name(name: str, flag: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(f"{flag}: `{name}` is not a header name", "as in `--header 'X-Team: search'`")
    if name.lower() in RESERVED:
        raise UsageError(f"{flag}: the header `{name}` is set by rerank itself", "leave it out")
