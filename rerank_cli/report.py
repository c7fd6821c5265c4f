"""What happened on the way, to be told afterwards: counters filled by every stage, worded here once.

A `Report` is the only mutable thing that readers, scorers and the pipeline share. It prints nothing.
"""

from __future__ import annotations

from collections import Counter

# One row a counter: (singular, plural), each with {n}. The order is the order of the warnings.
WORDING: dict[str, tuple[str, str]] = {
    "invalid_utf8": (
        "{n} line holds invalid UTF-8: scored with replacement characters, written back unchanged",
        "{n} lines hold invalid UTF-8: scored with replacement characters, written back unchanged",
    ),
    "empty": (
        "{n} document is empty: it has no score and comes last",
        "{n} documents are empty: they have no score and come last",
    ),
    "truncated": (
        "{n} document was cut (see --max-tokens-per-doc, --long-documents, --max-chunks-per-doc)",
        "{n} documents were cut (see --max-tokens-per-doc, --long-documents, --max-chunks-per-doc)",
    ),
    "query_cut": (
        "the query was cut to half of the model's window",
        "{n} queries were cut to half of the model's window",
    ),
    "duplicates": (
        "{n} document repeats the text of an earlier one: left out (--dedupe)",
        "{n} documents repeat the text of an earlier one: left out (--dedupe)",
    ),
    "replaced_keys": (
        "{n} record already had a result key (index, rank or relevance_score): replaced (or use --result-key)",
        "{n} records already had a result key (index, rank or relevance_score): replaced (or use --result-key)",
    ),
    "replaced_surrogates": (
        "{n} document holds lone surrogates: scored with replacement characters",
        "{n} documents hold lone surrogates: scored with replacement characters",
    ),
    "missing_id": (
        "{n} document has no id: its index stands instead",
        "{n} documents have no id: their index stands instead",
    ),
}


class Report:
    """Counters, warnings and notes of one run. Warnings reach `meta`; notes only stderr."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[str] = []
        self._warnings: list[str] = []

    def count(self, what: str, n: int = 1) -> None:
        """Add n occurrences of a counter; warnings are worded for those in WORDING, the rest are plain figures."""
        if n:
            self.counts[what] += n

    def warn(self, message: str) -> None:
        """A warning with words of its own; said once however often it is raised."""
        if message not in self._warnings:
            self._warnings.append(message)

    def note(self, message: str) -> None:
        """Something good to know that is no fault."""
        if message not in self.notes:
            self.notes.append(message)

    def warnings(self) -> tuple[str, ...]:
        """All warnings in words, those counted first."""
        counted = [
            WORDING[what][self.counts[what] > 1].format(n=self.counts[what]) for what in WORDING if self.counts[what]
        ]
        return (*counted, *self._warnings)
