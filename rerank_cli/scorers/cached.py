"""A scorer behind the score cache: known pairs are looked up, the rest are scored once and stored.

The scorer itself is opened at the first miss, so a run that needs no new score imports no engine and reads no weights.
It knows nothing of SQLite (see `cache`) or of how scores are computed.
"""

from __future__ import annotations

from dataclasses import astuple
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import ModelError, RemoteError
from rerank_cli.records import NO_ORDER
from rerank_cli.scorers.base import DocumentError
from rerank_cli.scorers.deferred import DeferredScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.cache import ScoreCache
    from rerank_cli.records import Pair, Score
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer, ScorerInfo
    from rerank_cli.settings import Limits

KEY_BYTES = 16


class CachePolicy(NamedTuple):
    """How the cache serves a scorer.

    `commit_every`: pairs between two writes of the cache; None: all of a call at once (a remote scorer splits by itself
    and returns what was answered before a failure). `listwise`: a score depends on the other documents of the query.
    """

    commit_every: int | None
    listwise: bool = False


LOCAL = CachePolicy(2048)  # the local scorer's own block


def pair_keys(digest: str, limits: Limits, pairs: Sequence[Pair]) -> list[bytes]:
    """The key of each pair: BLAKE2b-128 over model digest, limits, query, title length and text, with lengths."""
    keys: list[bytes] = []
    last: str | None = None
    prefix = _prefix(digest, limits, "")
    for query, text, title_chars in pairs:
        if query != last:  # queries come in runs, and hashing a prefix once is most of the cost saved
            prefix, last = _prefix(digest, limits, query), query
        key = prefix.copy()
        key.update(title_chars.to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
        keys.append(key.digest())
    return keys


def listwise_keys(digest: str, limits: Limits, pairs: Sequence[Pair]) -> list[bytes]:
    """Keys that also cover all documents of the pair's query, in their order."""
    keys = pair_keys(digest, limits, pairs)
    together: dict[str, blake2b] = {}
    for key, pair in zip(keys, pairs, strict=True):
        together.setdefault(pair.query, blake2b(digest_size=KEY_BYTES, person=b"rerank-score-l")).update(key)
    return [
        blake2b(key + together[pair.query].digest(), digest_size=KEY_BYTES).digest()
        for key, pair in zip(keys, pairs, strict=True)
    ]


def _prefix(digest: str, limits: Limits, query: str) -> blake2b:
    state = blake2b(digest_size=KEY_BYTES, person=b"rerank-score-1")
    for part in (digest, repr(astuple(limits)), query):
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little") + data)
    return state


class CachedScorer:
    """A `Scorer` that asks the cache first.

    `info` must be known without opening (its digest is part of every key); `open_scorer` is called at most once.
    `report` gets the plain counters `cache_hits` and `cache_misses`.
    """

    def __init__(
        self,
        info: ScorerInfo,
        open_scorer: Callable[[], Scorer],
        cache: ScoreCache,
        report: Report,
        policy: CachePolicy = LOCAL,
    ) -> None:
        self._scorer = DeferredScorer(info, self._open)
        self._open_scorer = open_scorer
        self._cache = cache
        self._report = report
        self._policy = policy

    @property
    def info(self) -> ScorerInfo:
        """The scorer's info."""
        return self._scorer.info

    def usage(self) -> dict[str, float]:
        """What was billed in this run: nothing for what the cache knew."""
        return self._scorer.usage()

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One `Score` per pair, in input order; equal pairs are scored once.

        What was scored before a failure is kept, so that a second run resumes. Raises what the inner scorer raises.
        """
        keys = (listwise_keys if self._policy.listwise else pair_keys)(self.info.digest, limits, pairs)
        scores = self._cache.get(keys)
        if self._policy.listwise:
            scores = _whole_queries(keys, pairs, scores)
        missing: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            if key not in scores:
                missing.setdefault(key, place)
        known = len(pairs) - len(missing)
        self._report.count("cache_hits", known)
        self._report.count("cache_misses", len(missing))
        if advance and known:
            advance(known)
        scores |= self._score_missing(missing, pairs, limits, advance)
        return [scores[key] for key in keys]

    def _score_missing(
        self, missing: dict[bytes, int], pairs: Sequence[Pair], limits: Limits, advance: Advance | None
    ) -> dict[bytes, Score]:
        """Scores of keys, given with the position of a pair."""
        result: dict[bytes, Score] = {}
        keys = list(missing)
        size = self._policy.commit_every or len(keys)
        for start in range(0, len(keys), max(1, size)):
            block = keys[start : start + size]
            before = self._without_order()
            try:
                scores = self._scorer.score([pairs[missing[key]] for key in block], limits, advance)
            except (RemoteError, DocumentError) as error:
                self._keep(block, getattr(error, "scores", ()))  # PartialError: answered pairs are paid for
                raise
            result.update(zip(block, scores, strict=True))
            if self._without_order() == before:
                self._keep(block, scores)
        return result

    def _without_order(self) -> float:
        """Replies of a chat model without an order so far. What they leave is not the model's order and is not kept."""
        return self._scorer.usage().get(NO_ORDER, 0)

    def _keep(self, keys: Sequence[bytes], scores: Sequence[Score | None]) -> None:
        """Store scores, except those that are not finite: the pipeline raises an error for them."""
        pairs = zip(keys, scores, strict=False)
        self._cache.put(
            {key: score for key, score in pairs if score and (score.value is None or isfinite(score.value))}
        )

    def _open(self) -> Scorer:
        inner = self._open_scorer()
        if inner.info.digest != self.info.digest:
            inner.close()
            message = f"the model `{self.info.model}` changed while it was opened"
            raise ModelError(message, "run again, or with --no-cache")
        return inner

    def close(self) -> None:
        """Close the scorer, if it was opened, and the cache."""
        self._scorer.close()
        self._cache.close()


def _whole_queries(keys: Sequence[bytes], pairs: Sequence[Pair], scores: dict[bytes, Score]) -> dict[bytes, Score]:
    """The known scores, without queries of which any is missing: their documents must be scored together."""
    incomplete = {pair.query for key, pair in zip(keys, pairs, strict=True) if key not in scores}
    return {key: scores[key] for key, pair in zip(keys, pairs, strict=True) if pair.query not in incomplete}


def remote_policy(model: str) -> CachePolicy:
    """The policy for a remote model by its name (`provider:model`)."""
    from rerank_cli.scorers.remote.providers import load_table

    return CachePolicy(None, load_table().is_listwise(model))
