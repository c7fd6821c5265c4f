"""The hits of a ranking, made when they are asked for from the kept documents and scores, and their columns.

A million hits as objects would take as much memory as their documents. It knows no format and orders nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import TYPE_CHECKING, Any, overload

from rerank_cli import rows
from rerank_cli.records import Hit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.records import Document, Score

    Show = Callable[[Sequence[float | None]], list[float | None]]

AT_ONCE = 512  # hits that are made in one go
_make = partial(tuple.__new__, Hit)  # without a Python call each


class Hits(Sequence[Hit]):
    """Hits in their final order; a slice shares the documents of the whole."""

    __slots__ = ("_documents", "_fused", "_order", "_ranks", "_scores", "_show")

    def __init__(
        self,
        documents: Sequence[Document],
        scores: Sequence[Score],
        order: Sequence[int],
        ranks: Sequence[int],
        show: Show,
        fused: Sequence[float | None] | None = None,
    ) -> None:
        """Hits of documents and their scores.

        Args:
            documents: all that were kept.
            scores: one per document.
            order: the position of the document of each hit.
            ranks: of each hit.
            show: gives relevance scores of the values of scores.
            fused: the fused score of each document; None if nothing is fused.
        """
        self._documents, self._scores, self._fused = documents, scores, fused
        self._order, self._ranks, self._show = order, ranks, show

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> Hits: ...
    def __getitem__(self, place: int | slice) -> Hit | Hits:
        if not isinstance(place, slice):
            place = range(len(self))[place]
            return next(iter(self[place : place + 1]))
        order, ranks = self._order[place], self._ranks[place]
        return Hits(self._documents, self._scores, order, ranks, self._show, self._fused)

    def __iter__(self) -> Iterator[Hit]:
        for start in range(0, len(self), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            order = self._order[some]
            documents, scores = rows.take(self._documents, order), rows.take(self._scores, order)
            shown = self._show([score.value for score in scores])
            fused = repeat(None) if self._fused is None else [self._fused[place] for place in order]
            columns = ([document.index for document in documents], self._ranks[some], shown, documents, scores, fused)
            yield from map(_make, zip(*columns, repeat(None), strict=False))  # the absent ones are endless

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # as lists

    def column(self, name: str) -> list[Any]:
        """The values of one field of a hit, or of its document, for each hit."""
        if name == "rank":
            return list(self._ranks)
        if name == "relevance_score":
            return self._show(self._of(self._scores, "value"))
        if name == "fused_score":
            return [None] * len(self) if self._fused is None else [self._fused[place] for place in self._order]
        if name in {"staged", "final_score"}:  # stages give hits of their own
            return [None] * len(self)
        return self._of(self._documents, name)

    def _of(self, records: Sequence[Any], name: str) -> list[Any]:
        return rows.column(records, name, self._order)


def column(hits: Sequence[Hit], name: str) -> list[Any]:
    """The values of one field of a hit, or of its document (`index` is both), for each hit."""
    if isinstance(hits, Hits):
        return hits.column(name)
    get = attrgetter(name if hasattr(Hit, name) else f"document.{name}")
    return list(map(get, hits))
