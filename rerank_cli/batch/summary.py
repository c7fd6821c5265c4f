"""How a batch went: counts, the closing line, `--summary`, and the error if rows failed."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_cli.errors import RowsFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.terminal import Terminal

COUNTED = ("rows", "failed", "documents", "tokens")  # and `fallback`: rows that a fallback scored


@dataclass(slots=True)
class Tally:
    """How the run went so far."""

    counts: Counter[str] = field(default_factory=Counter)  # COUNTED, rows of a resumed run included
    fresh: Counter[str] = field(default_factory=Counter)  # of this run only
    skipped: int = 0  # rows that a previous run did
    started: float = field(default_factory=time.monotonic)

    def add(self, counts: Mapping[str, int]) -> None:
        """Count rows that this run did."""
        self.counts.update(counts)
        self.fresh.update(counts)


def conclude(tally: Tally, info: ScorerInfo, terminal: Terminal, summary: Path | None, *, complete: bool) -> None:
    """Print the closing line and write the --summary."""
    from rerank_cli.writers.output import open_output

    seconds = time.monotonic() - tally.started
    counts, rate = tally.counts, tally.fresh["documents"] / seconds if seconds else 0.0
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    failed += f", {counts['fallback']:,} by a fallback" if counts["fallback"] else ""
    if terminal.verbosity >= 0:
        terminal.say(
            f"rerank: {many(counts['rows'], 'row')}{failed}, {many(counts['documents'], 'document')} "
            f"in {seconds:.1f} s ({rate:,.0f} per second)"
        )
    if summary is None:
        return
    record = {
        "schema_version": 1,
        **{key: counts[key] for key in COUNTED},
        **({"fallback": counts["fallback"]} if counts["fallback"] else {}),
        "complete": complete,
        "seconds": round(seconds, 3),
        **{name: getattr(info, name) for name in ("model", "revision", "backend", "dtype")},
    }
    with open_output(summary, terminal, "json") as write:
        write(json.dumps(record).encode() + b"\n")


def many(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def raise_if_rows_failed(tally: Tally) -> None:
    """Raise RowsFailed if rows failed."""
    if tally.counts["failed"]:
        hint = "see the messages above, or --errors FILE"
        raise RowsFailed(f"{tally.counts['failed']:,} of {many(tally.counts['rows'], 'row')} failed", hint)
