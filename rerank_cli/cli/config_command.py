"""`rerank config`: every value a command would run with, and who said it. It changes nothing and opens no model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import options as o
from rerank_cli.cli.option_rules import NO_DEFAULT

if TYPE_CHECKING:
    from rerank_cli.cli.defaults import ResolvedConfig
    from rerank_cli.terminal import Terminal

MASK = "***"


def config(
    ctx: typer.Context,
    command: o.CommandName = "rank",
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Show every value a command would run with, and where it came from.

    examples:
      rerank config                 the options of rank
      rerank config --json | jq '.options.top_n'
      rerank config -v              which files count, and where the user file lies
    """
    from rerank_cli.cli.defaults import Options, params_of, resolve, resolved_for

    terminal: Terminal = ctx.obj
    root = ctx.find_root().command
    params = {param.name: param for param in params_of(root, checked(command))}
    resolved = resolve(command, params.values(), terminal.env, resolved_for(ctx).flags, Options(root))
    rows = {name: value_of(param, resolved) for name, param in params.items() if name not in NO_DEFAULT}
    if verbose and not quiet:
        tell_files(resolved, terminal)
    text = as_json(command, rows, resolved) if json else as_table(rows, resolved)
    from rerank_cli.writers.output import open_output

    with open_output(None, terminal) as write:
        write(text.encode())
    return 0


def checked(command: str) -> str:
    """A command that exists. Raises UsageError."""
    from rerank_cli.cli.app import COMMANDS
    from rerank_cli.errors import UsageError, did_you_mean

    if command not in COMMANDS:
        raise UsageError(
            f"unknown command `{command}`", did_you_mean(command, COMMANDS) or "choose one of " + ", ".join(COMMANDS)
        )
    return command


def value_of(param: Any, resolved: ResolvedConfig) -> tuple[Any, str]:
    """A value as the command would get it, and its source; secrets are masked."""
    setting = resolved.settings.get(param.name)
    raw, source = (setting.value, setting.source) if setting else (param.default, "default")
    value = raw if getattr(param, "count", False) else param._runtime_param.coerce(raw, param, None)  # noqa: SLF001
    if param.name == "header":
        value = [masked(header) for header in value]
    elif value and param.name in {"endpoint", "api_key_env", "auth_header", "extra"}:
        value = without_secret(param.name, value)
    elif isinstance(value, Path):
        value = str(value)
    return (list(value) if isinstance(value, tuple) else value), source


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


def tell_files(resolved: ResolvedConfig, terminal: Terminal) -> None:
    """Where the user file lies or would lie."""
    from rerank_cli.config.files import user_file

    path = user_file(terminal.env)
    there = any(file.path == path for file in resolved.files)
    terminal.note(f"user file {path}" + ("" if there else " (not there)"))


def as_json(command: str, rows: dict[str, tuple[Any, str]], resolved: ResolvedConfig) -> str:
    """The whole as one JSON object."""
    from json import dumps

    files = [{"path": str(file.path), "role": file.role.value, "trusted": file.role.trusted} for file in resolved.files]
    found = {
        "schema_version": 1,
        "command": command,
        "files": files,
        "options": {name: {"value": value, "source": source} for name, (value, source) in rows.items()},
        "endpoints": resolved.endpoints,
        "prices": resolved.prices,
    }
    return dumps(found, ensure_ascii=False, indent=2) + "\n"


def as_table(rows: dict[str, tuple[Any, str]], resolved: ResolvedConfig) -> str:
    """Name, value and source in columns; then the named endpoints and prices."""
    from rerank_cli.text import visible

    lines = [(name, shown(value), source) for name, (value, source) in rows.items()]
    lines += [
        (f"endpoints.{name}", str(entry.get("url") or entry["provider"]), "")
        for name, entry in resolved.endpoints.items()
    ]
    lines += [(f"prices.{name}", f"{price:g}", "") for name, price in resolved.prices.items()]
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    return "".join(
        visible(f"{name:<{widths[0]}}  {value:<{min(widths[1], 40)}}  {source}".rstrip()) + "\n"
        for name, value, source in lines
    )


def shown(value: Any) -> str:
    """A value as TOML would write it; nothing said is `-`."""
    from json import dumps

    return "-" if value is None or value == [] else dumps(value, ensure_ascii=False)
