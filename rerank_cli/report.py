"""What happened on the way, to be reported afterwards: counters filled by every stage, worded here once.

A `Report` is the only mutable thing that readers, scorers and the pipeline share. It prints nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_cli.text import escape_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

# One row per counter, in the order of the warnings: how a warning begins for one, for n, and how it ends.
WORDING: dict[str, tuple[str, str, str]] = {
    "invalid_utf8": ("{n} line holds", "{n} lines hold", "invalid UTF-8: scored with replacement characters"),
    "empty": (
        "{n} document is empty: it has no score and comes last",
        "{n} documents are empty: they have no score and come last", "",
    ),
    "skipped_empty": (
        "{n} document is empty: left out (--on-missing skip)",
        "{n} documents are empty: left out (--on-missing skip)", "",
    ),
    "not_in_corpus": (
        "{n} document of the run is not in the corpus: it counts as empty (--on-missing)",
        "{n} documents of the run are not in the corpus: they count as empty (--on-missing)", "",
    ),
    "unknown_rank_fields": (
        "{n} request names a rank field that none of its documents has",
        "{n} requests name a rank field that none of their documents has", "",
    ),
    "truncated": (
        "{n} document was", "{n} documents were",
        "cut (see --max-tokens-per-doc, --long-documents, --max-chunks-per-doc)",
    ),
    "query_cut": ("the query was", "{n} queries were", "cut to half of the model's window"),
    "order_repaired": (
        "{n} reply of the model was", "{n} replies of the model were",
        "no complete order: what it left out follows in the order before",
    ),
    "no_order": (
        "{n} reply of the model holds", "{n} replies of the model hold", "no order: those documents stay as they were",
    ),
    "duplicates": ("{n} document repeats", "{n} documents repeat", "the text of an earlier one: left out (--dedupe)"),
    "replaced_keys": (
        "{n} record", "{n} records",
        "already had a result key ({keys}): replaced (--result-key chooses another name)",
    ),
    "replaced_surrogates": (
        "{n} document holds", "{n} documents hold", "lone surrogates: scored with replacement characters",
    ),
    "missing_id": (
        "{n} document has no id: its index stands", "{n} documents have no id: their index stands", "instead",
    ),
}  # fmt: skip


@dataclass(eq=False)
class Report:
    """Counters, warnings and notes of one run. Warnings reach `meta`; notes only stderr."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)
    _replaced: dict[str, None] = field(default_factory=dict)  # keys, in the order in which they came up

    def count(self, what: str, n: int = 1) -> None:
        """Add n occurrences of a counter; warnings are worded for those in WORDING, the rest are plain figures."""
        if n:
            self.counts[what] += n

    def replace(self, keys: Iterable[str], n: int = 1) -> None:
        """Count n records whose own values of these keys gave way to the result's; without keys there is nothing."""
        if found := dict.fromkeys(keys):
            self.count("replaced_keys", n)
            self._replaced.update(found)

    def warn(self, message: str) -> None:
        """A warning with words of its own, on one line; said once however often it is raised."""
        message = escape_line(message)
        if message not in self._warnings:
            self._warnings.append(message)

    def note(self, message: str) -> None:
        """Something good to know that is not a fault."""
        message = escape_line(message)
        if message not in self.notes:
            self.notes.append(message)

    def add(self, other: Report) -> None:
        """Take over the counters and warnings of a part of the run."""
        self.counts.update(other.counts)
        for message in other._warnings:
            self.warn(message)

    def warnings(self) -> tuple[str, ...]:
        """All warnings in words, those counted first."""
        keys = ", ".join(f"`{shown(key)}`" for key in self._replaced)
        counted = [
            f"{(one, many)[self.counts[what] > 1]} {end}".rstrip().format(n=self.counts[what], keys=keys)
            for what, (one, many, end) in WORDING.items()
            if self.counts[what]
        ]
        return (*counted, *self._warnings)
