"""What happened on the way, to be reported afterwards: counters filled by every stage, worded here once.

A `Report` is the only mutable thing that readers, scorers and the pipeline share. It prints nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_cli.text import escape_line, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
}  # fmt: skip
EMPTY = frozenset({"empty", "skipped_empty"})
# The same for notes.
NOTES: dict[str, tuple[str, str, str]] = {
    "missing_id": (
        "{n} document has no id: its position is", "{n} documents have no id: their position is",
        "used, counted from 0 over all inputs",
    ),
}  # fmt: skip


@dataclass(eq=False)
class Report:
    """Counters, warnings and notes of one run. Warnings reach `meta`; notes only stderr."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    best: float | None = None  # relevance score, where --min-score is set
    _warnings: list[str] = field(default_factory=list)
    _fields: str = ""  # those that documents lack, for messages
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

    def lacks(self, fields: str, n: int) -> None:
        """Count n documents, which are counted as empty too, that do not have the fields to score."""
        self.count("no_field", n)
        self._fields = fields

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
        self._fields = self._fields or other._fields
        for message in other._warnings:
            self.warn(message)

    def warnings(self) -> tuple[str, ...]:
        """All warnings in words, those counted first."""
        return (*self._worded(WORDING), *self._warnings)

    def all_notes(self) -> tuple[str, ...]:
        """All notes, those counted last."""
        return (*self.notes, *self._worded(NOTES))

    def _worded(self, wording: Mapping[str, tuple[str, str, str]]) -> list[str]:
        keys = ", ".join(f"`{shown(key)}`" for key in self._replaced)
        return [
            f"{(one, many)[self.counts[what] > 1]} {end}".rstrip().format(n=self.counts[what], keys=keys)
            + (self._lacking(self.counts[what]) if what in EMPTY else "")
            for what, (one, many, end) in wording.items()
            if self.counts[what]
        ]

    def _lacking(self, empty: int) -> str:
        """How many of the empty documents do not even have the field to score."""
        count = min(empty, self.counts["no_field"])  # others were left out for another reason
        has = "it has" if empty == 1 else f"{count} {'has' if count == 1 else 'have'}"
        return f" ({has} no {self._fields})" if count else ""
