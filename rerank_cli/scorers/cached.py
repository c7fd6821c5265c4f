"""A scorer behind the score cache: known pairs are looked up, the rest are scored once and remembered.

The scorer itself is opened at the first miss, so a run that finds everything imports no engine and reads no weights.
It knows nothing of SQLite (that is `cache`) or of how scores are made.
"""

from __future__ import annotations

from dataclasses import astuple
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from rerank_cli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.records import Pair, Score
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Facts, Limits, Scorer

COMMIT_EVERY = 2048  # pairs scored between two writes: the local scorer's block, and what a failed remote run can lose
KEY_BYTES = 16


class Store(Protocol):
    """Where scores are kept: `cache.ScoreCache`."""

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Score]:
        """Scores of those keys that are known."""

    def put(self, scores: Mapping[bytes, Score]) -> None:
        """Remember scores."""

    def close(self) -> None:
        """Close the file."""


def pair_keys(digest: str, limits: Limits, pairs: Sequence[Pair]) -> list[bytes]:
    """The key of each pair: BLAKE2b-128 over model digest, limits, query, head and text; each part after its length."""
    keys: list[bytes] = []
    last: str | None = None
    prefix = _prefix(digest, limits, "")
    for query, text, head in pairs:
        if query != last:  # queries come in runs, and hashing a prefix once is most of the cost saved
            prefix, last = _prefix(digest, limits, query), query
        key = prefix.copy()
        key.update(head.to_bytes(8, "little") + text.encode("utf-8", "surrogatepass"))
        keys.append(key.digest())
    return keys


def _prefix(digest: str, limits: Limits, query: str) -> blake2b:
    state = blake2b(digest_size=KEY_BYTES, person=b"rerank-score-1")
    for part in (digest, repr(astuple(limits)), query):
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little") + data)
    return state


class CachedScorer:
    """A `Scorer` that asks the cache first.

    `facts` must be known without opening (its digest is part of every key); `open_scorer` is called at most once.
    `report` gets the plain counters `cache_hits` and `cache_misses`.
    """

    def __init__(
        self,
        facts: Facts,
        open_scorer: Callable[[], Scorer],
        cache: Store,
        report: Report,
        commit_every: int = COMMIT_EVERY,
    ) -> None:
        self._facts = facts
        self._open_scorer = open_scorer
        self._cache = cache
        self._report = report
        self._commit_every = commit_every
        self._inner: Scorer | None = None

    @property
    def facts(self) -> Facts:
        """What makes the scores; the inner scorer's own words once it is open."""
        return self._inner.facts if self._inner else self._facts

    def usage(self) -> dict[str, float]:
        """What was billed in this run: nothing for what the cache knew."""
        return self._inner.usage() if self._inner else {}

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One `Score` a pair, in input order; equal pairs are scored once.

        What was scored before a failure is kept, so that a second run resumes. Raises what the inner scorer raises.
        """
        keys = pair_keys(self._facts.digest, limits, pairs)
        found = self._cache.get(keys)
        missing: dict[bytes, Pair] = {}
        for key, pair in zip(keys, pairs, strict=True):
            if key not in found:
                missing.setdefault(key, pair)
        known = len(pairs) - len(missing)
        self._report.count("cache_hits", known)
        self._report.count("cache_misses", len(missing))
        if advance and known:
            advance(known)
        self._score_missing(missing, limits, advance, found)
        return [found[key] for key in keys]

    def _score_missing(
        self, missing: dict[bytes, Pair], limits: Limits, advance: Advance | None, found: dict[bytes, Score]
    ) -> None:
        keys = list(missing)
        for start in range(0, len(keys), self._commit_every):
            block = keys[start : start + self._commit_every]
            scores = self._scorer().score([missing[key] for key in block], limits, advance)
            new = dict(zip(block, scores, strict=True))
            found.update(new)
            # A score that is no number is the pipeline's error to raise; it must not become a known score.
            self._cache.put({key: score for key, score in new.items() if score.value is None or isfinite(score.value)})

    def _scorer(self) -> Scorer:
        if self._inner is None:
            inner = self._open_scorer()
            if inner.facts.digest != self._facts.digest:
                inner.close()
                raise ModelError(
                    f"the model `{self._facts.model}` is not what its files said before it was opened",
                    "was it changed meanwhile? run again, or with --no-cache",
                )
            self._inner = inner
        return self._inner

    def close(self) -> None:
        """Close the scorer, if it was opened, and the cache."""
        if self._inner is not None:
            self._inner.close()
        self._cache.close()
