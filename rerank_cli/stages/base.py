"""What all stages share: the records they take and give, and how the work of each is reported.

A stage is a function from hits to hits. It sees the hits of one query, in their order, and neither scorer nor files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rerank_cli.absence import record_of
from rerank_cli.ranking import sigmoid
from rerank_cli.records import LOG_ODDS, Staged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rerank_cli.records import Document, Hit
    from rerank_cli.report import Report

MOST_NAMED = 1000  # removed documents that `meta.stages` lists; all are counted


def fields_of(document: Document) -> Mapping[str, Any]:
    """The fields of a document as they were read; none of a text."""
    record = record_of(document)
    return record if isinstance(record, dict) else {}


class Tokenizer(Protocol):
    """Texts to tokens, as a stage counts them."""

    def spans(self, text: str, most: int) -> list[tuple[int, int]]:
        """The characters of the first `most` tokens of a text or of a few more; of all tokens if there are fewer."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a stage may know beside the hits."""

    query: str
    scale: str  # of `Score.value`
    report: Report
    raw_scores: bool = False  # scores are shown as logits
    fused: bool = False  # the hits are ordered by a fused score, which has no scale
    top_n: int | None = None
    tokenizer: Callable[[Path | None], Tokenizer] | None = None  # opens a file; None: the model's own

    @property
    def calibrated(self) -> bool:
        """Whether the hits are ordered by probabilities, or log-odds that are shown as such."""
        return not self.fused and self.scale in {LOG_ODDS, "probability"}

    def probability(self, hit: Hit) -> float | None:
        """The score that orders a hit, as a probability; None for an empty document. Only if `calibrated`."""
        score = hit.order_score
        return sigmoid(score) if score is not None and self.raw_scores and self.scale == LOG_ODDS else score

    @property
    def log_odds(self) -> bool:
        """Whether the hits are ordered by log-odds, so that what is added to them has a meaning."""
        return self.scale == LOG_ODDS and not self.fused


class Change(NamedTuple):
    """What a stage made of the hits. Every hit that it was given is either in `hits`, or in `removed` by its index."""

    hits: list[Hit]
    removed: Mapping[int, dict[str, Any]] = {}  # and why
    facts: Mapping[str, Any] = {}  # what the report says besides


Apply = "Callable[[list[Hit], Context], Change]"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: its name in reports, and what makes its function from the settings (None: it is off)."""

    name: str
    make: Callable[..., Any] = field(repr=False)
    needs_scores: bool = False  # it is passed over where nothing is scored (--fallback passthrough)


def report_of(name: str, before: Sequence[Hit], change: Change) -> dict[str, Any]:
    """What a stage did, for `meta.stages`: documents in and out, how many it moved, and which it removed and why."""
    removed = change.removed
    stayed = [hit.index for hit in before if hit.index not in removed]
    moved = sum(index != hit.index for index, hit in zip(stayed, change.hits, strict=True))
    report: dict[str, Any] = {"stage": name, "documents": len(before), "kept": len(change.hits), "moved": moved}
    report |= change.facts
    if removed:
        names = {hit.index: hit.document.id for hit in before}
        listed = list(removed.items())[:MOST_NAMED]
        report["removed"] = [{"index": index, "id": names[index], **why} for index, why in listed]
    return report


def with_effect(hit: Hit, stage: str, effect: Mapping[str, Any], final_score: float | None = None) -> Hit:
    """A hit to which a stage did something; without a new final score it keeps the one that it has."""
    staged = hit.staged or Staged()
    final = staged.final_score if final_score is None else final_score
    effects = (*staged.effects, {"stage": stage, **effect})
    return hit._replace(staged=staged._replace(final_score=final, effects=effects))


def as_text(value: Any) -> str | None:
    """A value as it is written in JSON, a string without its quotes; None for null."""
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return None if value is None else str(value)


def warn_of_missing(values: Sequence[Any], field: str, context: Context, what: str, effect: str) -> None:
    """Warn of documents whose field holds nothing that the stage can use; `effect` is what it does to the others."""
    missing = sum(value is None for value in values)
    if missing and missing == len(values):
        context.report.warn(f"no document has a {what} in `{field}`: it changes nothing")
    elif missing:
        some = f"{missing} of {len(values)} documents"
        verbs = ("has", "is") if missing == 1 else ("have", "are")
        context.report.warn(f"{some} {verbs[0]} no {what} in `{field}` and {verbs[1]} {effect}")
