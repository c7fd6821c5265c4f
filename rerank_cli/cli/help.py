"""Help as plain text: summary, usage, examples first, options in groups, 80 columns, no colour.

Rich's help costs 60 ms more and changes with the terminal; this is the same bytes everywhere.
"""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING

from rerank_cli.options import GENERAL, GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rerank_cli.cli.command import Command, Group
    from rerank_cli.options import Option

WIDTH = 80
INDENT = 26


class HelpRequested(Exception):
    """Somebody asked for help: the text to print on stdout."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def of_command(command: Command, path: str, *, complete: bool) -> str:
    """The help of one command, called as `path`; `complete` shows all options instead of the most used."""
    arguments = [one.metavar for one in command.options if not one.flags]
    summary, _, examples = command.help.partition("\n\n")
    parts = [textwrap.fill(summary, WIDTH), " ".join([f"usage: {path} [OPTIONS]", *arguments])]
    if examples:
        parts.append(examples.rstrip())
    parts.append(options_text(command.options, complete=complete))
    if not complete:
        parts.append(f"`{path} --help` shows all options.")
    return "\n\n".join(parts) + "\n"


def of_group(group: Group, path: str) -> str:
    """The help of a group: its sub-commands, each with the first paragraph of its own help."""
    summary, _, examples = inspect.cleandoc(group.help).partition("\n\n")
    rows = [row(name, " ".join(each.help.partition("\n\n")[0].split())) for name, each in group.commands.items()]
    parts = [
        textwrap.fill(summary, WIDTH),
        f"usage: {path} COMMAND [OPTIONS] ...",
        examples.rstrip(),
        f"commands ({path} COMMAND --help):\n" + "\n".join(rows),
    ]
    return "\n\n".join(parts) + "\n"


def options_text(options: Iterable[Option], *, complete: bool, root: bool = False) -> str:
    """Options under their group headings; the root has --version besides."""
    groups: dict[str, list[str]] = {}
    for one in options:
        if one.flags and (complete or one.in_short_help):
            groups.setdefault(one.group, []).append(option_row(one))
    if complete or GENERAL in groups:
        groups.setdefault(GENERAL, []).append(row("-h, --help", "Short help, complete help."))
        groups[GENERAL] += [row("    --version", "Versions of rerank, Python and the backends.")] if root else []
    ordered = [*GROUPS, *sorted(set(groups) - set(GROUPS))]
    return "\n\n".join(f"{group}:\n" + "\n".join(groups[group]) for group in ordered if group in groups)


def option_row(one: Option) -> str:
    """`-n, --top-n N   help`, wrapped to the width; the default is shown where it says something."""
    # Of --documents/--no-documents only the one that changes something is worth showing.
    flags = [one.negation] if one.negation and one.default is True else sorted(one.flags, key=len)
    left = ", ".join(flags)
    if not one.is_flag:
        left += f" {one.metavar}"
    if all(flag.startswith("--") for flag in flags):
        left = "    " + left
    shown = default_of(one)
    return row(left, f"{one.help} [{shown}]" if shown else one.help)


def default_of(one: Option) -> str | None:
    """The default worth showing."""
    if one.default in (None, False, True, 0, "", ()):
        return None
    return f"{one.default:g}" if isinstance(one.default, float) else str(one.default)


def row(left: str, right: str) -> str:
    """Two columns; a long left one stands on a line of its own."""
    lines = textwrap.wrap(right, WIDTH - INDENT) or [""]
    if len(left) + 4 > INDENT:
        return "\n".join([f"  {left}", *(" " * INDENT + line for line in lines)])
    first = f"  {left}".ljust(INDENT) + lines[0]
    return "\n".join([first, *(" " * INDENT + line for line in lines[1:])])
