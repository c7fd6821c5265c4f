"""A remote model for many requests at once, behind the score cache: what `serve` has in place of a scorer.

Connections, limits, budget and cache are shared, and equal requests at the same time are sent once. Counters, warnings
and rank fields belong to one request. It knows nothing of HTTP requests to the server.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.report import Report
from rerank_cli.scorers.cached import CachedScorer, pair_keys
from rerank_cli.scorers.shared_calls import SharedCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.cache import ScoreCache
    from rerank_cli.records import Pair, Score
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.scorers.cached import CachePolicy
    from rerank_cli.scorers.remote.chat import ChatScorer
    from rerank_cli.scorers.remote.scorer import RemoteScorer
    from rerank_cli.settings import Limits


class RemoteResult(NamedTuple):
    """The scores of one request and what they cost. `usage`: the provider's own counters; empty if nothing was sent."""

    scores: list[Score]
    usage: dict[str, float]
    cached: int  # pairs that the cache knew
    warnings: tuple[str, ...]


class Gateway:
    """Thread-safe. Without a `store` every request is sent."""

    def __init__(self, remote: RemoteScorer | ChatScorer, store: ScoreCache | None, policy: CachePolicy) -> None:
        self._remote = remote
        self._store = store
        self._policy = policy
        self._calls: SharedCalls[RemoteResult] = SharedCalls()
        self.info: ScorerInfo = remote.info

    def score(
        self, pairs: Sequence[Pair], limits: Limits, rank_fields: tuple[str, ...], is_gone: Callable[[], bool]
    ) -> RemoteResult:
        """Scores in input order. Raises what `RemoteScorer.score` raises; nothing more is sent once `is_gone`.

        A request that equals one in flight gets its scores or its error. Only one of them has usage: it is billed once.
        """
        report = Report()
        if self._store is None:
            return self._score(self._remote.for_request(report, rank_fields, is_gone), pairs, limits, report)
        digest = self._remote.for_request(report, rank_fields, is_gone).info.digest
        key = blake2b(b"".join(pair_keys(digest, limits, pairs))).digest()

        def make(all_gone: Callable[[], bool]) -> RemoteResult:
            return self._score(self._remote.for_request(report, rank_fields, all_gone), pairs, limits, report)

        result, is_own = self._calls.run(key, is_gone, make)
        return result if is_own else result._replace(usage={}, cached=len(pairs))

    def _score(
        self, remote: RemoteScorer | ChatScorer, pairs: Sequence[Pair], limits: Limits, report: Report
    ) -> RemoteResult:
        scorer: Scorer = remote
        if self._store is not None:
            scorer = CachedScorer(remote.info, lambda: remote, self._store, report, self._policy)
        scores = scorer.score(pairs, limits)
        return RemoteResult(scores, scorer.usage(), report.counts["cache_hits"], report.warnings())

    def close(self) -> None:
        """Close connections and cache."""
        self._remote.close()
        if self._store is not None:
            self._store.close()
