"""`nDCG@10 0.41 → 0.59`: how ranking changed the input order, where documents carry `relevance` labels or --qrels.

`rank` and `batch` pass documents as they are read and hits when they are ranked. Only the first ranks are kept: memory
grows with the labels and not with the documents.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError, ModelError
from rerank_cli.settings import DECODING, Decoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rerank_cli.evaluation.trec_eval import Judgements, Scores
    from rerank_cli.records import Document, Hit
    from rerank_cli.settings import RankSettings
    from rerank_cli.terminal import Terminal

MEASURES = ("nDCG@10", "RR@10")
DEPTH = 10  # the deepest cutoff above
LABEL_KEY = b'"relevance"'


def document_id(document: Document) -> str:
    """A document's id, else its input position."""
    return str(document.index) if document.id is None else document.id


def label_of(document: Document) -> int | None:
    """The whole number in a JSON document's `relevance`; None for anything else (it may not be a judgement)."""
    if LABEL_KEY not in document.raw:
        return None
    from rerank_cli.readers.rows import json_value

    try:
        record = json_value(document.raw.decode("utf-8", "replace"), "")
    except InputError:
        return None
    value = record.get("relevance") if isinstance(record, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class LabelObserver:
    """Sees the documents of one query as they pass: keeps the first ids, and all labels."""

    def __init__(self, judged: Mapping[str, int] | None = None) -> None:
        self._judged = judged  # of --qrels; None: the documents' own labels
        self.first: list[str] = []
        self.labels: dict[str, int] = dict(judged or {})

    def chunks(self, chunks: Iterable[list[Document]]) -> Iterator[list[Document]]:
        """The same chunks, observed."""
        for chunk in chunks:
            self.observe(chunk)
            yield chunk

    def observe(self, documents: Sequence[Document]) -> None:
        """Keep ids and labels."""
        self.first += [document_id(document) for document in islice(documents, DEPTH - len(self.first))]
        if self._judged is None:
            labels = ((document, label_of(document)) for document in documents)
            self.labels |= {document_id(document): label for document, label in labels if label is not None}


def relevance_delta(
    qrels: str | None, settings: RankSettings, terminal: Terminal, decoding: Decoding = DECODING
) -> RelevanceDelta | None:
    """What reports before → after; None where nothing could be reported.

    A ranking cut above the measures' depth has no fair "after", so a small --top-n or --prefilter, or --min-score,
    suppresses it.
    """
    cuts = (settings.top_n, settings.prefilter)
    fair = all(cut is None or cut >= DEPTH for cut in cuts) and settings.min_score is None
    if qrels is None:
        return RelevanceDelta(terminal, None) if fair else None
    from rerank_cli.readers.qrels import read_qrels

    return RelevanceDelta(terminal, read_qrels(qrels, terminal.stdin, decoding).judgements, fair=fair)


class RelevanceDelta:
    """Labelled queries of a run before and after ranking, and the lines on stderr about them."""

    def __init__(self, terminal: Terminal, qrels: Judgements | None, *, fair: bool = True) -> None:
        self._terminal, self._qrels, self._fair = terminal, qrels, fair
        self._judgements: Judgements = {}
        self._before: Scores = {}
        self._after: Scores = {}

    def observer(self, query: str) -> LabelObserver:
        """An observer for one query: of --qrels, or of the documents' own labels."""
        judged = self._qrels
        if judged is None:
            return LabelObserver()
        # `rank` has one query, mostly without an id: judgements of one query are meant for it.
        return LabelObserver(judged.get(query) or (next(iter(judged.values())) if len(judged) == 1 else {}))

    def add(self, query: str, observer: LabelObserver, hits: Sequence[Hit]) -> None:
        """One ranked query; without labels it does not count."""
        if not observer.labels or not self._fair:
            return
        best = nsmallest(DEPTH, hits, key=lambda hit: hit.rank)  # --keep-order lists them in another order
        ranked = [document_id(hit.document) for hit in best]
        self._judgements[query] = observer.labels
        self._before[query] = _by_place(observer.first)
        self._after[query] = _by_place(ranked)

    def add_documents(self, query: str, documents: Sequence[Document], hits: Sequence[Hit]) -> None:
        """One ranked query whose documents are all in memory."""
        observer = self.observer(query)
        observer.observe(documents)
        self.add(query, observer, hits)

    def lines(self) -> list[str]:
        """`nDCG@10 0.4120 → 0.5870 (+0.1750)`, one per measure; empty without labels.

        Raises ModelError if pytrec_eval is not installed.
        """
        if not self._judgements:
            return []
        from rerank_cli.evaluation.measures import parse_measures
        from rerank_cli.evaluation.summary import before_after

        return before_after(self._judgements, self._before, self._after, parse_measures(MEASURES))

    def print_query(self, query: str, observer: LabelObserver, hits: Sequence[Hit]) -> None:
        """Print the report of a run with one query. Raises as `print_report` does."""
        self.add(query, observer, hits)
        self.print_report()

    def print_report(self) -> None:
        """Print the lines. Raises ModelError if --qrels was given and pytrec_eval is missing."""
        if self._qrels is not None and not self._judgements:
            self._terminal.note(
                "--qrels: no before → after: no query is judged, or --top-n, --prefilter or --min-score cut it"
            )
        try:
            lines = self.lines()
        except ModelError:
            if self._qrels is not None:
                raise
            self._terminal.detail("documents carry labels; before → after needs: pip install 'rerank-cli[eval]'")
            return
        for line in lines:
            self._terminal.note(line)


def _by_place(names: Sequence[str]) -> dict[str, float]:
    return {name: -float(place) for place, name in enumerate(names)}
