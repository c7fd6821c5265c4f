"""How a command parses its values: defaults from the environment, plain conversions, choices with did-you-mean.

Typer hands every value to pydantic, whose import doubles the time of a command that only prints help; values here are
text, numbers, paths, lists and booleans, so each parameter gets a conversion of ours instead. It knows no command.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from typer.core import TyperCommand

from rerank_cli.cli import help as help_text
from rerank_cli.cli.options import CHOICES, ENV_PREFIX, MINIMUM, NO_DEFAULT
from rerank_cli.errors import ConfigError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class Convert:
    """Stands where Typer would build a pydantic adapter; `coerce` is what Typer calls."""

    def __init__(self, annotation: Any) -> None:
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
        self._kind = kinds[0]
        self._many = getattr(self._kind, "__origin__", self._kind) is list

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002 Typer passes the context too
        """The value in its declared type. Raises UsageError naming the option."""
        if value is None:
            return () if self._many else None
        if self._many:
            return list(value) if isinstance(value, list | tuple) else [value]
        name = param.opts[0]
        if self._kind is bool:
            return value if isinstance(value, bool) else boolean(str(value), name)
        if self._kind is int or self._kind is float:
            return number(value, self._kind, name, MINIMUM.get(param.name))
        if self._kind is Path:
            return Path(value)
        return choice(str(value), name, CHOICES.get(param.name))


def boolean(text: str, name: str) -> bool:
    """A yes or no of an environment variable."""
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise UsageError(f"{name}: `{text}` is neither true nor false")


def number(value: Any, kind: type, name: str, minimum: float | None) -> int | float:
    """A finite number, whole if `kind` is int, not below the option's minimum."""
    what = "a whole number" if kind is int else "a number"
    try:
        found: int | float = kind(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: `{value}` is not {what}") from None
    if not math.isfinite(found):
        raise UsageError(f"{name}: `{value}` is not {what}")
    if minimum is not None and found < minimum:
        raise UsageError(f"{name}: `{value}` is too small", f"give {what} of at least {minimum:g}")
    return found


def choice(text: str, name: str, choices: tuple[str, ...] | None) -> str:
    """One of the choices of an option, or any text if it has none."""
    if choices and text not in choices:
        listed = ", ".join(choices)
        raise UsageError(f"{name}: unknown value `{text}`", did_you_mean(text, choices) or f"choose one of {listed}")
    return text


class Command(TyperCommand):
    """A command whose options may come from `RERANK_*` and config files, and whose help is ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            descriptor = getattr(param, "type_descriptor", None)
            if descriptor is not None:
                param._runtime_param = Convert(descriptor.annotation)  # type: ignore[attr-defined]  # noqa: SLF001 Typer's own slot for it

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse with defaults from environment and configuration; `parent.obj` is the Terminal."""
        terminal = parent.obj if parent is not None else extra.get("obj")
        if terminal is not None:
            from rerank_cli.cli.defaults import defaults_for

            extra["default_map"] = defaults_for(self, args, terminal)
        return super().make_context(info_name, args, parent=parent, **extra)

    def get_help_option(self, ctx: Any) -> Any:
        """`-h` is short, `--help` complete: two options of our own instead of Click's one."""
        return None if ctx is None else super().get_help_option(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Serve help before anything is checked, so that it cannot fail."""
        before = args[: args.index("--")] if "--" in args else args
        if "--help" in before or "-h" in before:
            raise help_text.HelpRequested(help_text.of_command(self, ctx, complete="--help" in before))
        rest: list[str] = super().parse_args(ctx, args)
        return rest


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
    """A variable's text as the option's value; lists are separated by blanks or newlines."""
    try:
        if getattr(param, "count", False):
            return number(text, int, variable, 0)
        if param.is_flag:
            return boolean(text, variable)
    except UsageError as error:
        raise ConfigError(error.message, error.hint) from None
    return text.split("\n") if param.multiple else text
