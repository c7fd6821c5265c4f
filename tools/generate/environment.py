"""The tables of docs/environment.md: variables of options, of providers, and the others. How they are read: facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.scorers.remote.providers import load_table
from tools.generate.facts import ENVIRONMENT, leaves
from tools.generate.table import code, table_of

if TYPE_CHECKING:
    from tools.generate.facts import Command

RULE = """Each option with a variable in the tables takes its default from it: `RERANK_TOP_N=5`. An empty variable
counts as unset; values of repeatable options are separated by newlines; switches take `1` or `0`.

"""


def environment_table() -> str:
    """The rule and the variables beside those of options and providers."""
    rows = [(", ".join(code(name) for name in names.split(", ")), text) for names, text in ENVIRONMENT]
    return RULE + table_of(("variable", "meaning"), rows)


def option_variables(table: tuple[Command, ...]) -> str:
    """Every variable of an option, with its flag and the commands that take it."""
    found: dict[str, dict[str, list[str]]] = {}
    for leaf in leaves(table):
        for option in leaf.options:
            if option.variable:
                found.setdefault(option.variable, {}).setdefault(option.flags[-1], []).append(leaf.name)
    rows = [
        (code(name), code(flag), ", ".join(users))
        for name, flags in sorted(found.items())
        for flag, users in flags.items()
    ]
    return table_of(("variable", "option", "commands"), rows)


def provider_variables() -> str:
    """Keys, and what else a provider's address may take from the environment; the first that is set counts."""
    rows: dict[tuple[str, str], list[str]] = {}
    for row in load_table().rows.values():
        keys = ", ".join(map(code, row.keys))
        others = "; ".join(f"{what}: " + ", ".join(map(code, names)) for what, names in row.variables.items())
        if keys or others:
            rows.setdefault((keys, others), []).append(f"`{row.id}:`")
    return table_of(("models", "key", "part of the address"), [(", ".join(ids), *cells) for cells, ids in rows.items()])
