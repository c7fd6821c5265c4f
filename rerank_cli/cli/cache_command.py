"""`rerank cache info|verify|clear`: the score cache itself. No model is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import AsJson, Command, Group
from rerank_cli.errors import InputError
from rerank_cli.options import same
from rerank_cli.settings import CacheSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rerank_cli.cli.sources import Call

HINT = "`rerank cache clear` makes a new one; runs go on without damaged rows"


@dataclass(frozen=True, slots=True)
class CacheFile:
    """Which cache."""

    cache_path: Path | None = same(CacheSettings, "path")


def show_info(call: Call) -> int:
    """Show where the score cache is, how large it is, and when its scores were used.

    examples:
      rerank cache info
      rerank cache info --json | jq .bytes
    """
    return report(info, call)


def verify_rows(call: Call) -> int:
    """Check every page and row of the score cache; exit 3 if one is damaged.

    examples:
      rerank cache verify --json
    """
    return report(verify, call)


def clear_scores(call: Call) -> int:
    """Delete all scores.

    examples:
      rerank cache clear --cache-path ci/scores.sqlite
    """
    return report(clear, call)


RECORDS = (CacheFile, AsJson)
COMMAND = Group(
    """Show, check or empty the score cache.

    examples:
      rerank cache info
      rerank cache verify --json
      rerank cache clear --cache-path ci/scores.sqlite
    """,
    {
        "info": Command(show_info, RECORDS),
        "verify": Command(verify_rows, RECORDS),
        "clear": Command(clear_scores, RECORDS),
    },
)


def report(action: Callable[[Path], dict[str, Any]], call: Call) -> int:
    """Do it and print what was found. Raises InputError if the cache is damaged."""
    from rerank_cli.cache_file import CACHE_FILE, cache_path
    from rerank_cli.writers.sections import json_text, write_report

    as_json = call.settings(AsJson).json
    path = cache_path(call.terminal.env, call.settings(CacheFile).cache_path)
    if path.is_dir():
        hint = f"name the file in it: --cache-path {path / CACHE_FILE}"
        raise InputError(f"{path} is a folder, no score cache", hint)
    found = action(path)
    write_report(json_text(found) if as_json else lines(found), None, call.terminal, as_json=as_json)
    if found.get("damaged") or found.get("problems"):
        raise InputError(f"the score cache {path} is damaged", HINT)
    return 0


def lines(found: dict[str, Any]) -> str:
    """One value per line."""
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
    """Delete all scores."""
    from rerank_cli.cache import clear as empty

    return {"path": str(path), "forgotten": empty(path)}
