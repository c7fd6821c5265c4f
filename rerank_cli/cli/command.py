"""How a command parses its values: defaults from the environment, plain conversions, choices with did-you-mean.

Typer hands every value to pydantic, whose import doubles the time of a command that only prints help; values here are
text, numbers, paths, lists and booleans, so each parameter gets a conversion of ours instead. It knows no command.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer
from typer.core import TyperCommand

from rerank_cli.cli import help as help_text
from rerank_cli.cli.option_rules import CHOICES, ENV_PREFIX, MAXIMUM, MINIMUM, NO_DEFAULT
from rerank_cli.cli.options import Config, NoConfig
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


def shared_params() -> list[Any]:
    """Options that each command has without saying so, and whose function never sees them: --config, --no-config."""

    def shared(config: Config = None, no_config: NoConfig = False) -> None:
        pass

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(shared)
    params: list[Any] = typer.main.get_command(app).params
    for param in params:
        param.expose_value = False
    return params


class Command(TyperCommand):
    """A command whose options may come from `RERANK_*` and config files, and whose help is ours."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {param.name for param in self.params}
        self.params.extend(param for param in shared_params() if param.name not in own)
        for param in self.params:
            descriptor = getattr(param, "type_descriptor", None)
            if descriptor is not None:
                param._runtime_param = Convert(descriptor.annotation)  # type: ignore[attr-defined]  # noqa: SLF001 Typer's own slot for it

    def get_help_option(self, ctx: Any) -> Any:  # noqa: ARG002 Typer's signature
        """None: `parse_args` serves `-h` and `--help`, and Typer's own option would load pydantic in every run."""
        return None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Serve help before anything is checked, so that it cannot fail."""
        before = args[: args.index("--")] if "--" in args else args
        if "--help" in before or "-h" in before:
            raise help_text.HelpRequested(help_text.of_command(self, ctx, complete="--help" in before))
        if ctx.obj is not None:
            self.set_defaults(ctx, args)
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def set_defaults(self, ctx: Any, args: list[str]) -> None:
        """Defaults from environment and configuration, before options are read; `ctx.obj` is the Terminal."""
        from rerank_cli.cli import defaults

        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))  # raises what the real parsing would raise
        said = {name: value for name, value in given.items() if value is not None}
        resolved = defaults.resolve(defaults.section_of(ctx), self.params, ctx.obj.env, said)
        ctx.default_map = resolved.default_map()
        ctx.meta[defaults.META] = resolved

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with -v, first say which configuration files count."""
        if ctx.obj is not None and ctx.params.get("verbose") and not ctx.params.get("quiet"):
            from rerank_cli.cli import defaults

            files = defaults.resolved_for(ctx).files
            terminal = replace(ctx.obj, verbosity=1)
            terminal.detail("configuration: " + ("; ".join(file.shown for file in files) or "no file"))
        return super().invoke(ctx)


def collect(ctx: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """A command's options by name, from its `locals()`; `trusted`: tables of trusted configuration; `typed`: flags."""
    from rerank_cli.cli import defaults

    options = {name: value for name, value in values.items() if name != "ctx"}
    typed = frozenset(name for name in ctx.params if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE"))
    return options | {"trusted": defaults.resolved_for(ctx), "typed": typed}


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
