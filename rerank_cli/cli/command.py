"""How a command is declared: a function that takes a `Call`, and the settings records whose fields are its options.

The function's docstring is the command's help. Nothing is known here of Typer, nor of any command.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rerank_cli.options import GENERAL, GROUPS, OUTPUT, Option, option, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rerank_cli.cli.sources import Call


@dataclass(frozen=True, slots=True)
class General:
    """What every command has."""

    verbose: int = option(
        "--verbose -v", "Say model, backend and why.", default=0, count=True, group=GENERAL, in_short_help=True
    )
    quiet: bool = option("--quiet", "No notes, warnings or progress; errors stay.", default=False, group=GENERAL)
    debug: bool = option("--debug", "Tracebacks for errors.", default=False, group=GENERAL)
    config: str | None = option(
        "--config",
        "Read this configuration file too; it overrides the others.",
        metavar="FILE",
        configurable=False,
        group=GENERAL,
    )
    no_config: bool = option(
        "--no-config", "Read no configuration file.", default=False, configurable=False, group=GENERAL
    )


@dataclass(frozen=True, slots=True)
class AsJson:
    """For reports that are text or JSON."""

    json: bool = option("--json", "Print JSON.", default=False, configurable=False, group=OUTPUT, in_short_help=True)


@dataclass(frozen=True)
class Command:
    """One command: what runs it and which options it has."""

    run: Callable[[Call], int]
    records: tuple[type, ...]  # settings whose options it takes, in the order of help
    without: frozenset[str] = frozenset()  # options of these records that it does not take
    changed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # members of options that differ here

    @property
    def help(self) -> str:
        """Summary, blank line, examples."""
        return inspect.cleandoc(self.run.__doc__ or "")

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """All options and arguments, in the order of help."""
        declared = (one for record in (*self.records, General) for one in options_of(record))
        return tuple(replace(one, **self.changed.get(one.name, {})) for one in declared if one.name not in self.without)


@dataclass(frozen=True)
class Group:
    """A command with sub-commands, such as `rerank models`."""

    help: str
    commands: Mapping[str, Command]

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """The options of all sub-commands, in the order of their help groups."""
        known = {one.name: one for command in self.commands.values() for one in command.options if one.flags}
        order = {heading: place for place, heading in enumerate(GROUPS)}
        return tuple(sorted(known.values(), key=lambda one: order[one.group]))
