"""`rerank cache info|verify|clear`: the score cache itself. No model is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import AsJson, Command, Group
from rerank_cli.errors import InputError
from rerank_cli.options import same
from rerank_cli.settings import CacheSettings
from rerank_cli.text import escape_line

if TYPE_CHECKING:
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
    from rerank_cli.cache import info

    path = path_of(call)
    found = info(path)
    days = {"oldest_use": day(found.oldest_day), "newest_use": day(found.newest_day)}
    return report({"path": str(path), "scores": found.rows, "bytes": found.bytes, **days}, call)


def verify_rows(call: Call) -> int:
    """Check every page and row of the score cache; exit 3 if one is damaged.

    examples:
      rerank cache verify --json
    """
    from rerank_cli.cache import verify

    path = path_of(call)
    found = verify(path)
    problems = list(found.problems)
    facts = {"path": str(path), "scores": found.rows, "damaged": found.damaged, "problems": problems}
    report(facts, call)
    if found.damaged or problems:
        raise InputError(f"the score cache {path} is damaged", HINT)
    return 0


def clear_scores(call: Call) -> int:
    """Delete all scores.

    examples:
      rerank cache clear --cache-path ci/scores.sqlite
    """
    from rerank_cli.cache import clear

    path = path_of(call)
    return report({"path": str(path), "forgotten": clear(path)}, call)


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


def path_of(call: Call) -> Path:
    """The cache file that the options name. Raises InputError for a folder."""
    from rerank_cli.cache_file import CACHE_FILE, cache_path

    path = cache_path(call.terminal.env, call.settings(CacheFile).cache_path)
    if os.path.isdir(path):  # noqa: PTH112 unlike Path.is_dir it never raises
        hint = f"name the file in it: --cache-path {path / CACHE_FILE}"
        raise InputError(f"{path} is a folder, no score cache", hint)
    return path


def report(found: dict[str, Any], call: Call) -> int:
    """Print what was found, as JSON or one value per line."""
    from rerank_cli.writers.sections import json_text, write_report

    as_json = call.settings(AsJson).json
    lines = "".join(
        f"{name}: {'none' if value in (None, []) else escape_line(str(value))}\n" for name, value in found.items()
    )
    write_report(json_text(found) if as_json else lines, None, call.terminal, as_json=as_json)
    return 0


def day(days: int | None) -> str | None:
    """A day of use as a date."""
    from datetime import UTC, datetime

    return None if days is None else datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()
