"""How a command is parsed: help first, then defaults from environment and configuration, then the flags.

It knows no command; the options of the others, which a configuration file may name, come from the root.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

from rerank_cli.cli import help as help_text
from rerank_cli.cli.options import Config, Debug, NoConfig
from rerank_cli.cli.values import Convert

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def shared_params() -> list[Any]:
    """Options that every command has and that its function does not get: --debug, --config and --no-config."""

    def shared(debug: Debug = False, config: Config = None, no_config: NoConfig = False) -> None:
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
        catalogue = defaults.Options(ctx.find_root().command)
        resolved = defaults.resolve(defaults.section_of(ctx), self.params, ctx.obj.env, said, catalogue)
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
