"""The Typer app: `rank` as the default command, other commands loaded only when named.

Each command lives in one module and is imported on first use, so that `rerank --help` and a typo stay fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from rerank_cli.cli.command import Command

if TYPE_CHECKING:
    from rerank_cli.terminal import Terminal

DEFAULT = "rank"
# name -> (module, its function or Typer app, one line for the list of commands)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "rank": ("rerank_cli.cli.rank", "rank", "rank documents for one query (the default)"),
    "batch": ("rerank_cli.cli.batch", "batch", "rank many queries: requests, queries x documents, TREC runs"),
    "eval": ("rerank_cli.cli.eval_command", "evaluate", "measure runs against judgements, with assertions for CI"),
    "compare": ("rerank_cli.cli.compare_command", "compare", "how the order of two runs differs"),
    "serve": ("rerank_cli.cli.serve", "serve", "answer Cohere, Jina and TEI clients over HTTP"),
    "models": ("rerank_cli.cli.models_command", "app", "list, show, fetch, check and convert models"),
    "doctor": ("rerank_cli.cli.doctor_command", "doctor", "check this installation and a model"),
    "cache": ("rerank_cli.cli.cache_command", "app", "show, check or empty the score cache"),
    "completion": ("rerank_cli.cli.completion_command", "completion", "print a completion script for a shell"),
    "config": ("rerank_cli.cli.config_command", "config", "show every value and where it came from"),
}


class Root(TyperGroup):
    """`rerank ARGS` is `rerank rank ARGS` unless ARGS begins with a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command, serve the root's help and version."""
        from rerank_cli.cli import root_help

        terminal: Terminal = ctx.obj
        first = args[0] if args else None
        if first in {"-h", "--help"}:
            raise root_help.HelpRequested(self.help_text(ctx, complete=first == "--help"))
        if first == "--version":
            raise root_help.HelpRequested(root_help.version())
        if first is None and terminal.stdin_tty:
            raise root_help.NothingAsked(self.help_text(ctx, complete=False))
        if first not in COMMANDS:
            args = [DEFAULT, *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def help_text(self, ctx: Any, *, complete: bool) -> str:
        """The root's help, which shows the options of the default command."""
        from rerank_cli.cli import root_help

        lines = {name: line for name, (_, _, line) in COMMANDS.items()}
        return root_help.text(lines, self.get_command(ctx, DEFAULT).params, complete=complete)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 Typer's signature
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 Typer's signature
        """The command, imported and built on first use."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands.get(cmd_name)


def load(name: str) -> Any:
    """Build one command with Typer from its function, or a group from its Typer app."""
    module, function, _ = COMMANDS[name]
    target = getattr(import_module(module), function)
    if isinstance(target, typer.Typer):  # a group
        return typer.main.get_command(target)
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name=name, cls=Command)(target)
    return typer.main.get_command(single)


def root() -> Root:
    """The root command."""
    return Root(name="rerank", rich_markup_mode=None, no_args_is_help=False, add_help_option=False)
