"""`rerank cache info|verify|clear`: the score cache itself. No model is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import evaluation_options as e
from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import collect

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.terminal import Terminal

HINT = "`rerank cache clear` makes a new one; runs go on without damaged rows"


def cache(
    ctx: typer.Context,
    action: e.CacheAction,
    cache_path: so.CachePath = None,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Show, check or empty the score cache.

    examples:
      rerank cache info
      rerank cache verify --json
      rerank cache clear --cache-path ci/scores.sqlite
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Do it and say what was found. Raises InputError if the cache is damaged."""
    from rerank_cli.cache_file import CACHE_FILE, cache_path
    from rerank_cli.cli.main import configure
    from rerank_cli.errors import InputError
    from rerank_cli.writers.sections import json_text, write_report

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    path = cache_path(terminal.env, options["cache_path"])
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, no score cache", f"name the file in it: --cache-path {path / CACHE_FILE}"
        )
    found = ACTIONS[options["action"]](path)
    text = json_text(found) if options["json"] else lines(found)
    write_report(text, None, terminal, as_json=options["json"])
    if found.get("damaged") or found.get("problems"):
        raise InputError(f"the score cache {path} is damaged", HINT)
    return 0


def lines(found: dict[str, Any]) -> str:
    """One value a line."""
    return "".join(f"{name}: {'none' if value in (None, []) else value}\n" for name, value in found.items())


def info(path: Path) -> dict[str, Any]:
    """Where it is, how large, how old."""
    from rerank_cli.cache import info as look

    found = look(path)
    return {
        "path": str(path),
        "scores": found.rows,
        "bytes": found.bytes,
        "oldest_use": day(found.oldest_day),
        "newest_use": day(found.newest_day),
    }


def day(days: int | None) -> str | None:
    """A day of use as a date."""
    from datetime import UTC, datetime

    return None if days is None else datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def verify(path: Path) -> dict[str, Any]:
    """Every page and row, checked."""
    from rerank_cli.cache import verify as check

    found = check(path)
    return {"path": str(path), "scores": found.rows, "damaged": found.damaged, "problems": list(found.problems)}


def clear(path: Path) -> dict[str, Any]:
    """Everything, forgotten."""
    from rerank_cli.cache import clear as empty

    return {"path": str(path), "forgotten": empty(path)}


ACTIONS = {"info": info, "verify": verify, "clear": clear}
