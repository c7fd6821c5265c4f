"""What an option's text means: plain conversions, choices with did-you-mean, the values of environment variables.

Typer hands every value to pydantic, whose import doubles the time of a command that only prints help; values here are
text, numbers, paths, lists and booleans, so each parameter gets a conversion of ours instead. It knows no command.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rerank_cli.cli.option_rules import CHOICES, ENV_PREFIX, MAXIMUM, MINIMUM, NO_DEFAULT
from rerank_cli.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Convert:
    """Stands where Typer would build a pydantic adapter; `coerce` is what Typer calls."""

    def __init__(self, annotation: Any) -> None:
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
        declared = annotation if getattr(annotation, "__origin__", None) is list else kinds[0]
        self.many = getattr(declared, "__origin__", declared) is list
        self.kind = (*get_args(declared), str)[0] if self.many else declared

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 Typer passes the context too
        """The value in its declared type. Raises UsageError naming the option."""
        if value is None:
            return () if self.many else None
        if self.many:
            return [self._one(item, param) for item in (value if isinstance(value, list | tuple) else [value])]
        return self._one(value, param)

    def _one(self, value: Any, param: Any) -> Any:
        name = param.opts[0] if param.param_type_name == "option" else str(param.metavar or param.name)
        if self.kind is bool:
            return value if isinstance(value, bool) else boolean(str(value), name)
        if self.kind is int or self.kind is float:
            return number(value, self.kind, name, param.name)
        if self.kind is Path:
            return Path(value)
        return choice(str(value), name, CHOICES.get(param.name))


def boolean(text: str, name: str) -> bool:
    """A yes or no of an environment variable."""
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise UsageError(f"{name}: `{text}` is neither true nor false")


def number(value: Any, kind: type, name: str, param: str) -> int | float:
    """A finite number, whole if `kind` is int, within the bounds of the option."""
    minimum, maximum = MINIMUM.get(param), MAXIMUM.get(param)
    what = "a whole number" if kind is int else "a number"
    try:
        found: int | float = kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: `{value}` is not {what}") from None
    if isinstance(found, float) and not math.isfinite(found):
        raise UsageError(f"{name}: `{value}` is not {what}")
    if minimum is not None and found < minimum:
        raise UsageError(f"{name}: `{value}` is too small", f"give {what} of at least {minimum:g}")
    if maximum is not None and found > maximum:
        raise UsageError(f"{name}: `{value}` is too large", f"give {what} of at most {maximum:g}")
    return found


def choice(text: str, name: str, choices: tuple[str, ...] | None) -> str:
    """One of the choices of an option, or any text if it has none."""
    if choices and text not in choices:
        listed = ", ".join(choices)
        raise UsageError(f"{name}: unknown value `{text}`", did_you_mean(text, choices) or f"choose one of {listed}")
    return text


def environment_defaults(params: list[Any], env: Mapping[str, str]) -> dict[str, Any]:
    """Values of `RERANK_<OPTION>` variables for the options that may have one; an empty variable counts as unset."""
    found: dict[str, Any] = {}
    for param in params:
        if param.name in NO_DEFAULT or param.param_type_name != "option":
            continue
        variable = ENV_PREFIX + param.name.upper()
        text = env.get(variable, "")
        if text:
            found[param.name] = from_text(text, param, variable)
    return found


def from_text(text: str, param: Any, variable: str) -> Any:
    """A variable's text as the option's value; lists are separated by newlines."""
    try:
        if getattr(param, "count", False):
            return number(text, int, variable, param.name)
        if param.is_flag:
            return boolean(text, variable)
        kind = param._runtime_param.kind  # noqa: SLF001 the Convert that our Command put there
        if kind in {int, float} and not param.multiple:
            return number(text, kind, variable, param.name)
        if not param.multiple:
            choice(text, variable, CHOICES.get(param.name))
    except UsageError as error:
        raise ConfigError(error.message, error.hint) from None
    return text.split("\n") if param.multiple else text
