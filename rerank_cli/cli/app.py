"""The root command: `rank` as the default, the others loaded only when named.

Each command lives in one module and is imported on first use, so that `rerank --help` and a typo stay fast.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from rerank_cli.cli.command import Command
from rerank_cli.cli.typer_commands import RunnableCommand, RunnableGroup

if TYPE_CHECKING:
    from rerank_cli.cli.command import Group
    from rerank_cli.options import Option
    from rerank_cli.terminal import Terminal

DEFAULT = "rank"
# Name -> (module with its COMMAND, one line for the list of commands)
COMMANDS: dict[str, tuple[str, str]] = {
    "rank": ("rank", "rank documents for one query (the default)"),
    "batch": ("batch", "rank many queries: requests, queries x documents, TREC runs"),
    "eval": ("eval_command", "measure runs against judgements, with assertions for CI"),
    "compare": ("compare_command", "how the order of two runs differs"),
    "serve": ("serve", "answer Cohere, Jina and TEI clients over HTTP"),
    "mcp": ("mcp_command", "offer ranking to agents, over the Model Context Protocol"),
    "models": ("models_command", "list, show, fetch, check and convert models"),
    "doctor": ("doctor_command", "check this installation and a model"),
    "cache": ("cache_command", "show, check or empty the score cache"),
    "completion": ("completion_command", "print a completion script for a shell"),
    "config": ("config_command", "show every value and where it came from"),
}


class Root(TyperGroup):
    """`rerank ARGS` is `rerank rank ARGS` unless ARGS begins with a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command, serve the root's help and version."""
        from rerank_cli.cli import root_help

        terminal: Terminal = ctx.obj
        first = args[0] if args else None
        if first in {"-h", "--help"}:
            raise root_help.HelpRequested(_help(complete=first == "--help"))
        if first == "--version":
            raise root_help.HelpRequested(root_help.version())
        if first is None and terminal.stdin_tty:
            raise root_help.NothingAsked(_help(complete=False))
        if first not in COMMANDS:
            args = [DEFAULT, *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 Typer's signature
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 Typer's signature
        """The command, imported and built on first use."""
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            declared = load(cmd_name)
            self.commands[cmd_name] = (
                RunnableCommand(cmd_name, declared, cmd_name)
                if isinstance(declared, Command)
                else RunnableGroup(cmd_name, declared)
            )
        return self.commands.get(cmd_name)


def load(name: str) -> Command | Group:
    """What a command's module declares."""
    declared: Command | Group = import_module(f"rerank_cli.cli.{COMMANDS[name][0]}").COMMAND
    return declared


def options_of(name: str) -> tuple[Option, ...]:
    """The options of a command."""
    return load(name).options


root = partial(Root, name="rerank", rich_markup_mode=None, no_args_is_help=False, add_help_option=False)


def _help(*, complete: bool) -> str:
    """The root's help, which shows the options of the default command."""
    from rerank_cli.cli import root_help

    lines = {name: line for name, (_, line) in COMMANDS.items()}
    return root_help.text(lines, options_of(DEFAULT), complete=complete)
