"""Before → after: what ranking did to the order that the documents came in, where they carry `relevance` labels.

`rank` and `batch` hand over documents as they pass and hits as they are found. Only the first ranks are kept: memory
grows with the labels and not with the documents. It prints nothing.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.evaluation.measures import parse_measures
from rerank_cli.evaluation.summary import before_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rerank_cli.evaluation.engine import Judgements, Scores
    from rerank_cli.records import Document, Hit

MEASURES = ("nDCG@10", "RR@10")
DEPTH = 10  # the deepest cutoff above
MARK = b'"relevance"'


def name_of(document: Document) -> str:
    """How a document is called here: its id, else its input position."""
    return str(document.index) if document.id is None else document.id


def label_of(document: Document) -> int | None:
    """The whole number in a JSON document's `relevance`; None for anything else (it may be no judgement)."""
    if MARK not in document.raw:
        return None
    from rerank_cli.readers.rows import json_value

    try:
        record = json_value(document.raw.decode("utf-8", "replace"), "")
    except InputError:
        return None
    value = record.get("relevance") if isinstance(record, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class LabelObserver:
    """The documents of one query as they pass: the first names, and the labels of all."""

    def __init__(self, judged: Mapping[str, int] | None = None) -> None:
        self._judged = judged  # of --qrels; None: the documents' own labels
        self.first: list[str] = []
        self.labels: dict[str, int] = dict(judged or {})

    def chunks(self, chunks: Iterable[list[Document]]) -> Iterator[list[Document]]:
        """The same chunks, looked at."""
        for chunk in chunks:
            self.look(chunk)
            yield chunk

    def look(self, documents: Sequence[Document]) -> None:
        """Note names and labels."""
        self.first += [name_of(document) for document in islice(documents, DEPTH - len(self.first))]
        if self._judged is None:
            found = ((document, label_of(document)) for document in documents)
            self.labels |= {name_of(document): label for document, label in found if label is not None}


class BeforeAfter:
    """Labelled queries before and after ranking; `lines` says what became of the measures."""

    def __init__(self) -> None:
        self._judgements: Judgements = {}
        self._before: Scores = {}
        self._after: Scores = {}

    def add(self, query: str, watched: LabelObserver, hits: Sequence[Hit]) -> None:
        """One ranked query; without labels it does not count."""
        if not watched.labels:
            return
        best = nsmallest(DEPTH, hits, key=lambda hit: hit.rank)  # --keep-order lists them in another order
        ranked = [name_of(hit.document) for hit in best if hit.relevance_score is not None]
        self._judgements[query] = watched.labels
        self._before[query] = _by_place(watched.first)
        self._after[query] = _by_place(ranked)

    def __len__(self) -> int:
        return len(self._judgements)

    def lines(self) -> list[str]:
        """`nDCG@10 0.4120 → 0.5870 (+0.1750)`, one a measure; empty without labels.

        Raises ModelError if pytrec_eval is not installed.
        """
        if not self._judgements:
            return []
        return before_after(self._judgements, self._before, self._after, parse_measures(MEASURES))


def _by_place(names: Sequence[str]) -> dict[str, float]:
    return {name: -float(place) for place, name in enumerate(names)}
