"""`rerank config`: every value a command would run with, and who set it. It changes nothing and opens no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import AsJson, Command
from rerank_cli.options import GENERAL, option

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.options import Option
    from rerank_cli.terminal import Terminal

MASK = "***"
DEFAULT = "rank"


@dataclass(frozen=True, slots=True)
class Shown:
    """Which command's options."""

    command: str = option(
        "", "The command whose options are shown (default: rank).", unset=DEFAULT, metavar="[COMMAND]", group=GENERAL
    )


def config(call: Call) -> int:
    """Show every value a command would run with, and where it came from.

    examples:
      rerank config                 the options of rank
      rerank config --json | jq '.options.top_n'
      rerank config -v              which files count, and where the user file lies
    """
    from rerank_cli.cli.app import options_of, root
    from rerank_cli.cli.sources import read
    from rerank_cli.writers.output import open_output

    terminal, command = call.terminal, checked(call.settings(Shown).command)
    options = [one for one in options_of(command) if one.flags]
    texts = {name: call.values[name] for name in ("config", "no_config") if call.is_typed(name)}
    shown = read(command, options, texts, terminal, root())
    rows = {one.name: value_of(one, shown) for one in options if one.configurable}
    if terminal.verbosity > 0:
        note_user_file(shown, terminal)
    text = render_json(command, rows, shown) if call.settings(AsJson).json else render_table(rows, shown)
    with open_output(None, terminal) as write:
        write(text.encode())
    return 0


COMMAND = Command(config, (Shown, AsJson))


def checked(command: str) -> str:
    """A command that exists. Raises UsageError."""
    from rerank_cli.cli.app import COMMANDS
    from rerank_cli.errors import UsageError, did_you_mean

    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS) or "choose one of " + ", ".join(COMMANDS)
        raise UsageError(f"unknown command `{command}`", hint)
    return command


def value_of(one: Option, shown: Call) -> tuple[Any, str]:
    """A value as the command would get it, and its source; secrets are masked."""
    value, source = shown.values[one.name], shown.sources.get(one.name, "default")
    if one.name == "header":
        value = [masked(header) for header in value or ()]
    elif value and one.name in {"endpoint", "api_key_env", "auth_header", "extra"}:
        value = without_secret(one.name, value)
    elif one.comma_separated and value:
        value = ",".join(value)
    elif isinstance(value, Path):
        value = str(value)
    elif one.many:
        value = list(value or ())
    return value, source


def masked(header: str) -> str:
    """A header without its value, unless that only names a variable."""
    name, _, value = header.partition(":")
    return header if value.strip().startswith("@env:") else f"{name}: {MASK}"


def without_secret(name: str, value: str) -> str:
    """The value of an option that names a place or a variable, masked where it holds a secret itself."""
    from rerank_cli.config.secrets import refuse_value
    from rerank_cli.errors import ConfigError

    try:
        refuse_value(name, name, value)
    except ConfigError:
        return MASK
    url, mark, _ = value.partition("?") if name == "endpoint" else (value, "", "")
    return url + ("?…" if mark else "")  # of a query string any value may be a key


def note_user_file(shown: Call, terminal: Terminal) -> None:
    """Where the user file lies or would lie."""
    from rerank_cli.config.files import user_file

    path = user_file(terminal.env)
    there = any(file.path == path for file in shown.files)
    terminal.note(f"user file {path}" + ("" if there else " (not there)"))


def render_json(command: str, rows: dict[str, tuple[Any, str]], shown: Call) -> str:
    """The whole as one JSON object."""
    from json import dumps

    files = [{"path": str(file.path), "role": file.role.value, "trusted": file.role.trusted} for file in shown.files]
    found = {
        "schema_version": 1,
        "command": command,
        "files": files,
        "options": {name: {"value": value, "source": source} for name, (value, source) in rows.items()},
        "endpoints": shown.endpoints,
        "prices": shown.prices,
    }
    return dumps(found, ensure_ascii=False, indent=2) + "\n"


def render_table(rows: dict[str, tuple[Any, str]], shown: Call) -> str:
    """Name, value and source in columns; then the named endpoints and prices."""
    from rerank_cli.text import visible

    lines = [(name, as_toml(value), source) for name, (value, source) in rows.items()]
    lines += [
        (f"endpoints.{name}", str(entry.get("url") or entry["provider"]), "") for name, entry in shown.endpoints.items()
    ]
    lines += [(f"prices.{name}", f"{price:g}", "") for name, price in shown.prices.items()]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "".join(
        visible(f"{name:<{widths[0]}}  {value:<{min(widths[1], 40)}}  {source}".rstrip()) + "\n"
        for name, value, source in lines
    )


def as_toml(value: Any) -> str:
    """A value as TOML would write it; nothing said is `-`."""
    from json import dumps

    return "-" if value is None or value == [] else dumps(value, ensure_ascii=False)
