"""`nDCG@10 0.41 → 0.59` on stderr, where documents carry `relevance` labels or --qrels judges them.

A ranking cut above the measures' depth has no fair "after", so nothing is said with a small --top-n or --min-score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rerank_cli.records import Document, Hit
    from rerank_cli.settings import RankSettings
    from rerank_cli.terminal import Terminal


class RelevanceDelta:
    """What ranking did to labelled queries, watched as documents and hits pass."""

    def __init__(self, qrels: str | None, settings: RankSettings, terminal: Terminal) -> None:
        from rerank_cli.evaluation.before import DEPTH, BeforeAfter

        self._terminal = terminal
        self._found = BeforeAfter()
        self._fair = (settings.top_n is None or settings.top_n >= DEPTH) and settings.min_score is None
        self._asked = qrels is not None
        self._judged: dict[str, dict[str, int]] | None = None
        if qrels is not None:
            from rerank_cli.readers.qrels import read_qrels

            self._judged = read_qrels(qrels, terminal.stdin).judgements

    def watch(self, query: str) -> Any:
        """A `LabelObserver` for one query: by --qrels, or by the documents' own labels."""
        from rerank_cli.evaluation.before import LabelObserver

        return LabelObserver(None if self._judged is None else self._of(query))

    def _of(self, query: str) -> Mapping[str, int]:
        judged = self._judged or {}
        # `rank` has one query, mostly without an id: judgements of one query are meant for it.
        return judged.get(query) or (next(iter(judged.values())) if len(judged) == 1 else {})

    def add(self, query: str, watched: Any, hits: Sequence[Hit]) -> None:
        """One ranked query."""
        if self._fair:
            self._found.add(query, watched, hits)

    def look(self, query: str, documents: Iterable[Document], hits: Sequence[Hit]) -> None:
        """One query whose documents are all at hand."""
        watched = self.watch(query)
        watched.look(list(documents))
        self.add(query, watched, hits)

    def tell(self) -> None:
        """The lines on stderr. Raises ModelError if --qrels was given and pytrec_eval is missing."""
        if not len(self._found):
            if self._asked:
                self._terminal.note("--qrels: no before → after: no query is judged, or --top-n or --min-score cut it")
            return
        try:
            lines = self._found.lines()
        except ModelError:
            if self._asked:
                raise
            self._terminal.detail("documents carry labels; before → after needs: pip install 'rerank-cli[eval]'")
            return
        for line in lines:
            self._terminal.note(line)
