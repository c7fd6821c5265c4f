"""A scorer that is opened at the first pair it has to score, so a run without pairs reads no weights.

It knows nothing of models, engines or caches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.records import Pair, Score
    from rerank_cli.scorers.base import Advance, Scorer, ScorerInfo
    from rerank_cli.settings import Limits


@dataclass
class DeferredScorer:
    """A `Scorer` whose `info` is known without opening it; `open_scorer` is called at most once."""

    info: ScorerInfo
    open_scorer: Callable[[], Scorer]
    opened: Scorer | None = None

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """See `Scorer.score`; also raises what opening raises."""
        if self.opened is None:
            self.opened = self.open_scorer()
        return self.opened.score(pairs, limits, advance)

    def usage(self) -> dict[str, float]:
        """What was billed; nothing before the scorer was opened."""
        return self.opened.usage() if self.opened else {}

    def close(self) -> None:
        """Close the scorer if it was opened."""
        if self.opened:
            self.opened.close()
