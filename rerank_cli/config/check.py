"""From a file's TOML to option values: known keys, right types, lists in option form, `file: key: …` on every fault."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rerank_cli.config import secrets, trust
from rerank_cli.config.files import expanded, one_line
from rerank_cli.errors import ConfigError, did_you_mean
from rerank_cli.settings import NAMED_KEYS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rerank_cli.config.files import ConfigFile
    from rerank_cli.options import Option

ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
PATH_STARTS = ("./", "../", "~")
NUMBERS_AND_TEXT: dict[type, str] = {int: "a whole number", float: "a number", str: "a string"}
KINDS = {**NUMBERS_AND_TEXT, bool: "true or false", Path: "a path (a string)"}


class Catalogue(Protocol):
    """What configuration must know of the program: the options of its commands, loaded when a file names a command."""

    def commands(self) -> Collection[str]:
        """Names that may be sections."""

    def of(self, command: str) -> Mapping[str, Option]:
        """The options of one command."""

    def everywhere(self) -> Mapping[str, list[Option]]:
        """The options of all commands, by name."""

    def check_endpoint(self, where: str, entry: Mapping[str, object]) -> None:
        """Raise ConfigError for a named endpoint that cannot be right, as with an unknown provider."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file came to for one command: option values in option form, and the tables of trusted files."""

    values: dict[str, Any]
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)


def check_file(file: ConfigFile, command: str, catalogue: Catalogue) -> Checked:
    """Check every key of a file, also those of other commands, and keep what concerns the command about to run.

    Its section overrides the keys at the top. Raises ConfigError: an unknown key or section, a wrong type or value, a
    secret, or what a project file may not say.
    """
    shared: dict[str, Any] = {}
    section: dict[str, Any] = {}
    endpoints: dict[str, dict[str, object]] = {}
    prices: dict[str, float] = {}
    for name, value in file.data.items():
        where = f"{file.path}: {one_line(name)}"
        if name in {"endpoints", "prices"}:
            if not file.role.trusted:
                trust.refuse_table(where, name)
            if name == "endpoints":
                endpoints = check_endpoints(where, value, catalogue)
            else:
                prices = check_prices(where, value)
        elif isinstance(value, dict) and name in catalogue.commands():
            checked = check_section(file, name, value, catalogue)
            section = checked if name == command else section
        else:
            plain = name.replace("-", "_")
            _twice(where, plain, shared)
            shared[plain] = check_shared(file, name, value, command, catalogue)
    here = {name: value for name, value in shared.items() if value is not None}
    return Checked(here | section, endpoints, prices)


def check_section(file: ConfigFile, command: str, table: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The values of `[command]`, where an option may also be called by its flag: `format` for `batch_format`."""
    known = catalogue.of(command)
    known = {**known, **{option.key: option for option in known.values()}}
    values: dict[str, Any] = {}
    for name, value in table.items():
        where, plain = f"{file.path}: {command}.{one_line(name)}", name.replace("-", "_")
        if plain not in known:
            raise unknown(where, plain, value, known)
        _twice(where, known[plain].name, values)
        values[known[plain].name] = check_value(file, where, known[plain], value)
    return values


def check_shared(file: ConfigFile, name: str, value: Any, command: str, catalogue: Catalogue) -> Any:
    """The value of a key at the top for one command; None if that command has no such option or choice.

    A key at the top speaks to every command that has the option, and each has its own type and choices (`qrels`,
    `format`), so a value is wrong only if no command takes it.
    """
    where = f"{file.path}: {one_line(name)}"
    name = name.replace("-", "_")
    mine = catalogue.of(command).get(name)
    fault: ConfigError | None = None
    if mine is not None:
        try:
            return check_value(file, where, mine, value)
        except ConfigError as error:
            fault = error
    everywhere = catalogue.everywhere()
    if name not in everywhere:
        names = [*everywhere, *catalogue.commands(), "endpoints", "prices"]
        raise unknown(where, name, value, names)
    for option in everywhere[name]:
        if mine is not None and option.many and not mine.many:
            continue  # several models, which only the section of `serve` may name
        try:
            check_value(file, where, option, value)
        except ConfigError as error:
            fault = fault or error
        else:
            return None
    raise fault or unknown(where, name, value, everywhere)


def unknown(where: str, name: str, value: Any, known: Collection[str]) -> ConfigError:
    """The error for a key that nothing knows; a secret's name gets the secret's message."""
    secrets.refuse_key(where, name)
    what = "section" if isinstance(value, dict) else "key"
    hint = did_you_mean(name, known) or "docs/config.md and `rerank --help` list them"
    return ConfigError(f"{where}: unknown {what}", hint)


def _twice(where: str, name: str, seen: Collection[str]) -> None:
    if name in seen:
        raise ConfigError(f"{where}: key set twice", f"keep `{name}`")


def check_value(file: ConfigFile, where: str, option: Option, value: Any) -> Any:
    """One option's value in option form. Raises ConfigError."""
    if not option.configurable:
        raise ConfigError(f"{where}: belongs on the command line, not in a file", "remove the key")
    typed = in_type(where, option, value)
    secrets.refuse_value(where, option.name, value if isinstance(value, dict) else typed)
    if not file.role.trusted:
        trust.refuse_untrusted(where, option, typed)
    if option.name in {"model", "fallback", "template"}:
        return [path_or_name(file, item) for item in typed] if option.many else path_or_name(file, typed)
    if option.names_path:
        return [located(file, item) for item in typed] if option.many else located(file, typed)
    return typed


def path_or_name(file: ConfigFile, reference: str) -> str:
    """A model or template of a file: a path starts at the file's folder."""
    return located(file, reference) if reference.startswith(PATH_STARTS) else reference


def located(file: ConfigFile, path: str) -> str:
    """A path of a file: relative ones start at the file's folder; `-` stays standard input."""
    return path if path == "-" else str(file.path.parent.absolute() / expanded(path))


def in_type(where: str, option: Option, value: Any) -> Any:
    """A TOML value as the option's type; lists become what the option's text would be."""
    if option.many:
        items = value if isinstance(value, list) else [value]
        return [scalar(where, option, item) for item in items]
    if option.comma_separated and isinstance(value, list):
        return joined(where, option, value)
    if option.json_text and isinstance(value, dict):
        return as_json(where, value)
    if option.by_model and isinstance(value, dict) and value:
        numbers = {one_line(name): scalar(f"{where}.{one_line(name)}", option, one) for name, one in value.items()}
        return ",".join(f"{name}={one!r}" for name, one in numbers.items())
    return scalar(where, option, value)


def joined(where: str, option: Option, value: list[Any]) -> str:
    """`["title", "body"]` as `title,body`."""
    items = [scalar(where, option, item) for item in value]
    if any("," in item for item in items):
        raise ConfigError(
            f"{where}: a name with a comma cannot be written here",
            "name the field on the command line, with `--text-field`",
        )
    return ",".join(items)


def as_json(where: str, value: dict[str, Any]) -> str:
    """A TOML table as JSON text."""
    import json

    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{where}: dates and times, inf and nan have no form in JSON", "write them as strings"
        ) from None


def scalar(where: str, option: Option, value: Any) -> Any:
    """One value of the option's kind: no `"5"` for 5, no 1 for true."""
    wanted = Path if option.names_path else option.kind
    right = isinstance(value, str) if wanted in {str, Path} else isinstance(value, wanted)
    if wanted is float:
        right = isinstance(value, int | float)
    if isinstance(value, bool) and wanted is not bool:
        right = bool(option.bare)
    if not right:
        raise ConfigError(f"{where}: expected {KINDS[wanted]}, found {described(value)}", example(option))
    if isinstance(value, str) and "\x00" in value:
        raise ConfigError(f"{where}: holds a NUL character", "remove it")
    if wanted is float and not finite(value):
        raise ConfigError(f"{where}: expected a finite number", example(option))
    if option.minimum is not None and value < option.minimum:
        raise ConfigError(f"{where}: {value} is too small", f"at least {option.minimum:g}")
    if option.maximum is not None and value > option.maximum:
        raise ConfigError(f"{where}: {value} is too large", f"at most {option.maximum:g}")
    if option.choices and value not in option.choices:
        hint = did_you_mean(value, option.choices) or "choose one of " + ", ".join(option.choices)
        raise ConfigError(f"{where}: unknown value `{one_line(value)}`", hint)
    return value


def finite(value: float) -> bool:
    """Whether a number is a float at all; TOML has integers of any size."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def described(value: Any) -> str:
    """A TOML value's type in TOML's words; never the value, which may be a secret in the wrong place."""
    names = {**NUMBERS_AND_TEXT, bool: "a boolean", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def example(option: Option) -> str:
    """A right line for this key."""
    if option.many:
        return f'for example {option.name} = ["…"]'
    shown = {bool: "true", int: "5", float: "0.5"}.get(option.kind, f'"{option.choices[0] if option.choices else "…"}"')
    return f"for example {option.name} = {shown}"


def check_endpoints(where: str, value: Any, catalogue: Catalogue) -> dict[str, dict[str, object]]:
    """`[endpoints.NAME]` tables: provider, url, model, api_key_env."""
    if not isinstance(value, dict) or not all(isinstance(entry, dict) for entry in value.values()):
        raise ConfigError(f"{where}: expected tables", "write [endpoints.NAME], then provider, url, model, api_key_env")
    for name, entry in value.items():
        if not ENDPOINT_NAME.fullmatch(name) or name == "builtin":
            hint = "letters, digits, `_`, `.` and `-`; not builtin"
            raise ConfigError(f"{where}.{one_line(name)}: no name for an endpoint", hint)
        for key, member in entry.items():
            here = f"{where}.{name}.{one_line(key)}"
            if key not in NAMED_KEYS:
                secrets.refuse_key(here, key.replace("-", "_"))
                raise ConfigError(f"{here}: unknown key", did_you_mean(key, NAMED_KEYS) or ", ".join(NAMED_KEYS))
            if not isinstance(member, str):
                raise ConfigError(f"{here}: expected a string, found {described(member)}", f'for example {key} = "…"')
            secrets.refuse_value(here, key, member)
        catalogue.check_endpoint(f"{where}.{one_line(name)}", entry)
    return value


def check_prices(where: str, value: Any) -> dict[str, float]:
    """`[prices]`: provider or model to the price of a unit."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table", 'write [prices], then "cohere:rerank-v3.5" = 0.002')
    for name, price in value.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not finite(price) or price < 0:
            raise ConfigError(
                f"{where}.{one_line(name)}: expected a price: a number of at least 0",
                'for example "cohere:rerank-v3.5" = 0.002',
            )
    return {name: float(price) for name, price in value.items()}
