"""`--dry-run`: what a remote endpoint would be sent and would bill. Nothing is sent and no key is needed."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from rerank_cli.records import DocumentStream
    from rerank_cli.scorers.base import Limits
    from rerank_cli.settings import ModelSettings
    from rerank_cli.terminal import Terminal


def dry_run(query: str, stream: DocumentStream, model: ModelSettings, limits: Limits, terminal: Terminal) -> None:
    """Print requests, documents, estimated tokens, units and cost, as `name: value` lines."""
    from rerank_cli.pipeline import unique_pairs
    from rerank_cli.scorers.registry import is_remote
    from rerank_cli.scorers.remote import estimate
    from rerank_cli.writers.output import open_output

    if not is_remote(model):
        raise UsageError("--dry-run is about remote endpoints; a local model sends and bills nothing")
    pairs, _ = unique_pairs(query, list(chain.from_iterable(stream.chunks)))
    found = asdict(estimate(model.model, pairs, model, limits))
    notes = found.pop("notes")
    told = {name: value for name, value in found.items() if value is not None}
    lines = [
        f"{name}: {value:,}" if isinstance(value, int | float) else f"{name}: {value}" for name, value in told.items()
    ]
    with open_output(None, terminal) as write:
        write(("\n".join(lines) + "\n").encode())
    for note in notes:
        terminal.note(note)
