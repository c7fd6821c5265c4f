"""Help as plain text: summary, usage, examples first, options in groups, 80 columns, no colour.

Rich's help costs 60 ms more and changes with the terminal; this is the same bytes everywhere.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.option_rules import COMMON, GENERAL, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 80
INDENT = 26


class HelpRequested(Exception):
    """Somebody asked for help: the text to print on stdout."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def of_command(command: Any, ctx: Any, *, complete: bool) -> str:
    """The help of one command; `complete` shows all options instead of the most used."""
    usage = f"usage: {ctx.command_path.strip()} {usage_of(command)}"
    summary, _, examples = (command.help or "").partition("\n\n")
    parts = [textwrap.fill(summary, WIDTH), usage]
    if examples:
        parts.append(examples.rstrip())
    parts.append(options_text(command.params, complete=complete))
    if not complete:
        parts.append(f"`{ctx.command_path.strip()} --help` shows all options.")
    return "\n\n".join(parts) + "\n"


def of_group(group: Any, ctx: Any) -> str:
    """The help of a group: its sub-commands, each with the first paragraph of its own help."""
    path = ctx.command_path.strip()
    summary, _, examples = (group.help or "").partition("\n\n")
    rows = [row(name, summary_of(command)) for name, command in group.commands.items()]
    parts = [
        textwrap.fill(summary, WIDTH),
        f"usage: {path} COMMAND [OPTIONS] ...",
        examples.rstrip(),
        f"commands ({path} COMMAND --help):\n" + "\n".join(rows),
    ]
    return "\n\n".join(parts) + "\n"


def summary_of(command: Any) -> str:
    """What a command does: the first paragraph of its help, on one line."""
    return " ".join(str(command.help or "").partition("\n\n")[0].split())


def usage_of(command: Any) -> str:
    """What follows the command's name."""
    arguments = [param.metavar or param.name.upper() for param in command.params if param.param_type_name == "argument"]
    return " ".join(["[OPTIONS]", *arguments])


def options_text(params: Iterable[Any], *, complete: bool) -> str:
    """Options under their group headings."""
    groups: dict[str, list[str]] = {}
    for param in params:
        if getattr(param, "hidden", False) or not (complete or param.name in COMMON):
            continue
        if param.param_type_name == "argument":
            continue
        groups.setdefault(param.rich_help_panel or GENERAL, []).append(option_row(param))
    if complete or GENERAL in groups:
        groups.setdefault(GENERAL, []).append(row("-h, --help", "Short help, complete help."))
    ordered = [*GROUPS, *sorted(set(groups) - set(GROUPS))]
    return "\n\n".join(f"{group}:\n" + "\n".join(groups[group]) for group in ordered if group in groups)


def option_row(param: Any) -> str:
    """`-n, --top-n N   help`, wrapped to the width; the default is told where it is not nothing."""
    flags = sorted([*param.opts, *param.secondary_opts], key=lambda flag: flag.startswith("--"))
    if param.secondary_opts:  # --documents/--no-documents: only the one that changes something is news
        flags = param.secondary_opts if param.default is True else param.opts
    left = ", ".join(flags)
    if param.metavar and not param.is_flag:
        left += f" {param.metavar}"
    if not any(flag.startswith("-") and not flag.startswith("--") for flag in flags):
        left = "    " + left
    text = param.help or ""
    shown = default_of(param)
    return row(left, f"{text} [{shown}]" if shown else text)


def default_of(param: Any) -> str | None:
    """The default worth showing."""
    value = param.default
    if value is None or value in (False, True, 0, "", ()) or callable(value):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(left: str, right: str) -> str:
    """Two columns; a long left one stands on a line of its own."""
    lines = textwrap.wrap(right, WIDTH - INDENT) or [""]
    if len(left) + 4 > INDENT:
        return "\n".join([f"  {left}", *(" " * INDENT + line for line in lines)])
    first = f"  {left}".ljust(INDENT) + lines[0]
    return "\n".join([first, *(" " * INDENT + line for line in lines[1:])])
