"""The remote scorer: pairs out in batches over a few connections, scores back in input order, or one clear error.

It knows the table only through `wire`, `split` and `cost`, and the network only through `client`.
"""

from __future__ import annotations

import hashlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli.errors import RemoteError, UsageError
from rerank_cli.records import Score
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.cost import check_budget, estimate_batches
from rerank_cli.scorers.remote.keys import redact
from rerank_cli.scorers.remote.native import fields_of
from rerank_cli.scorers.remote.parse_response import TooLarge, judge, parsed
from rerank_cli.scorers.remote.rate_limiter import RateLimiter
from rerank_cli.scorers.remote.retries import Policy, Transient, with_retries
from rerank_cli.scorers.remote.split import Batch, QueryGroup, cut, find_bounds, group, text_of
from rerank_cli.scorers.remote.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance
    from rerank_cli.scorers.remote.client import Client
    from rerank_cli.scorers.remote.split import Bounds
    from rerank_cli.scorers.remote.target import Target
    from rerank_cli.settings import Limits, RemoteSettings

Answered = tuple[Batch, list[float]]
LONG_PAUSE_S = 2.0  # a wait for a rate limit that deserves a note


class PartialError(RemoteError):
    """A failure after some documents were scored; `scores` holds those, None for the rest (a cache may keep them)."""

    def __init__(self, error: RemoteError, scores: list[Score | None]) -> None:
        done = sum(score is not None for score in scores)
        message = f"{error.message}; {done:,} of {len(scores):,} documents were scored"
        super().__init__(message, error.hint, error.pair, refused=error.refused)
        self.scores = scores


class RemoteScorer:
    """A `Scorer` behind HTTP. It wants all documents of a query in one `score` call (`ScorerInfo.whole_query`)."""

    def __init__(self, target: Target, remote: RemoteSettings, client: Client, report: Report) -> None:
        self._target = target
        self._remote = remote
        self._client = client
        self._report = report
        row = target.row
        self._pace = RateLimiter(
            remote.requests_per_minute or row.requests_per_minute, remote.tokens_per_minute or row.tokens_per_minute
        )
        self._policy = Policy(max(0, remote.retries), remote.max_wait_s)
        self._lock = threading.Lock()
        self._learned: int | None = None  # documents a request, after the server refused more
        self._usage: dict[str, float] = {}
        self._units = 0.0  # search units: as replies say, estimated where they do not
        native = bool(row.rank_fields) and (row.native_by_default or remote.native_rank_fields)
        self._rank_fields = remote.rank_fields if native else ()  # objects travel, the provider chooses

    def __repr__(self) -> str:
        return f"RemoteScorer({self.info.model!r}, {self._target.shown_url!r})"

    @property
    def info(self) -> ScorerInfo:
        """What made the scores: provider, model, URL, headers a gateway may choose by; no key enters the digest."""
        row, target = self._target.row, self._target
        split = (self._remote.allow_split, self._remote.batch_docs) if target.listwise else None
        made_of = [
            row.id,
            target.url,
            target.model,
            target.extra,
            target.instruction,
            dict(row.fixed),
            self._rank_fields,
            sorted((name.lower(), value) for name, value in target.headers if isinstance(value, str)),
            split,
        ]
        return ScorerInfo(
            model=f"{row.id}:{target.model}",
            revision=None,
            backend="remote",
            dtype="unknown",
            scale=row.scale,
            digest=hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            reason=target.shown_url,
            whole_query=True,
            listwise=target.listwise,
        )

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """The provider's scores as received, in input order; blank texts are not sent and have none.

        Raises:
            UsageError: a blank query, a listwise split, more than --max-units, limits the provider cannot keep.
            PartialError: the endpoint failed; it says how many documents were scored.
        """
        make = partial(fields_of, names=self._rank_fields) if self._rank_fields else text_of
        jobs, blank = group(pairs, make, share=not self._target.listwise)
        bounds = find_bounds(self._target.row, self._remote, limits.max_chunks_per_doc)
        self._check(jobs, bounds, limits)
        shared = wire.constants(self._target, limits)
        if self._rank_fields and self._target.row.rank_fields:
            wire.put(shared, self._target.row.rank_fields, list(self._rank_fields))
        scores: list[Score | None] = [None] * len(pairs)
        for place in blank:
            scores[place] = Score(None)
        if blank and advance:
            advance(len(blank))
        self._send(jobs, bounds, shared, scores, advance)
        return [score for score in scores if score is not None]

    def _send(
        self,
        jobs: list[QueryGroup],
        bounds: Bounds,
        shared: dict[str, Any],
        scores: list[Score | None],
        advance: Advance | None,
    ) -> None:
        """Exchange everything and fill `scores`, whatever the order of the replies."""

        def keep(answered: Answered) -> None:
            for item, value in zip(answered[0].items, answered[1], strict=True):
                for place in item.places:
                    scores[place] = Score(value)
            if advance:
                advance(answered[0].documents)

        rescued: list[Answered] = []  # parts of batches that failed in the end
        batches = cut(jobs, bounds, lambda: self._cap(bounds))
        workers = min(self._remote.concurrency, sum(-(-len(job.items) // self._cap(bounds)) for job in jobs))
        try:
            run_all(batches, lambda batch, pause: self._exchange(batch, shared, pause, rescued), keep, workers)
        except RemoteError as error:
            for answered in rescued:
                keep(answered)
            raise PartialError(error, scores) from error

    def _cap(self, bounds: Bounds) -> int:
        return min(bounds.documents, self._learned or bounds.documents)

    def _check(self, jobs: list[QueryGroup], bounds: Bounds, limits: Limits) -> None:
        """Everything that can be refused or told before the first request."""
        target, remote, row = self._target, self._remote, self._target.row
        if target.listwise:
            self._check_listwise(jobs, bounds)
        if remote.max_units is not None:
            expected = estimate_batches(row, target.model, cut(jobs, bounds, lambda: bounds.documents), remote.prices)
            check_budget(expected, self._units, remote.max_units)
        if not row.max_tokens and limits.max_tokens_per_doc != wire.DEFAULT_MAX_TOKENS:
            self._report.warn(f"{row.id} has no field for --max-tokens-per-doc: its own limit applies")
        if not row.max_chunks and limits.max_chunks_per_doc is not None:
            self._report.warn(f"{row.id} has no field for --max-chunks-per-doc: its own limit applies")
        if limits.long_documents != "chunk":
            self._report.warn(f"--long-documents has no effect: {row.id} decides itself what happens to long documents")
        if row.max_tokens:
            long = sum(item.tokens > limits.max_tokens_per_doc for job in jobs for item in job.items)
            if long:
                words = "document is" if long == 1 else "documents are"
                cut_at = f"{row.id} cuts there (--max-tokens-per-doc)"
                self._report.note(f"{long} {words} probably longer than {limits.max_tokens_per_doc} tokens: {cut_at}")

    def _check_listwise(self, jobs: list[QueryGroup], bounds: Bounds) -> None:
        for job in jobs:
            n = sum(1 for _ in cut([job], bounds, lambda: bounds.documents))
            if n > 1 and not self._remote.allow_split:
                raise _no_split(self._target.model, f"{len(job.items):,} documents would need {n} requests")
            if n > 1:
                self._report.warn(
                    f"{self._target.model} compares the documents of a request with each other:"
                    " scores of different requests are ranked together as you asked (--allow-split)"
                )

    def _exchange(
        self, batch: Batch, shared: dict[str, Any], pause: Callable[[float], None], rescued: list[Answered]
    ) -> list[Answered]:
        """Send a batch, halving what the server finds too large; what was answered before a failure is `rescued`."""
        todo, done = [batch], list[Answered]()
        try:
            while todo:
                part = todo.pop()
                if self._learned and len(part.items) > self._learned:
                    todo += reversed(part.halves())
                    continue
                try:
                    done.append((part, self._request(part, shared, pause)))
                except TooLarge as refusal:
                    self._learn(part, refusal)
                    todo += reversed(part.halves())
        except RemoteError:
            rescued += done  # they are paid for
            raise
        return done

    def _learn(self, part: Batch, refusal: TooLarge) -> None:
        n = len(part.items)
        if n < 2:
            refusal.error.pair = part.items[0].pair
            raise refusal.error from None
        if self._target.listwise and not self._remote.allow_split:
            why = f"the server refused {n} documents in one request ({refusal.error.message})"
            raise _no_split(self._target.model, why) from None
        with self._lock:
            self._learned = min(self._learned or n, (n + 1) // 2)
        self._report.note(
            f"{self._target.row.id} refused {n} documents in one request: smaller ones are sent (--batch-docs)"
        )

    def _request(self, batch: Batch, shared: dict[str, Any], pause: Callable[[float], None]) -> list[float]:
        row = self._target.row
        body = wire.encode(row, shared, batch.job.query, [item.text for item in batch.items])

        def attempt() -> Any:
            wait = self._pace.reserve(batch.tokens)
            if wait > LONG_PAUSE_S:
                self._report.note("requests wait for the rate limit (--requests-per-minute, --tokens-per-minute)")
            pause(wait)
            try:
                return judge(self._target, self._client.post(body))
            except Transient as failure:
                if failure.rate_limited and failure.wait_s and failure.wait_s <= self._policy.max_wait_s:
                    self._pace.hold(failure.wait_s)
                raise

        payload, headers = with_retries(attempt, self._policy, pause)
        scores = parsed(self._target, payload, [item.pair for item in batch.items])
        self._count(batch, payload, headers)
        return scores

    def _count(self, batch: Batch, payload: Any, headers: Mapping[str, str]) -> None:
        row, target = self._target.row, self._target
        used = wire.parse_usage(row, payload, headers)
        units = used.get("search_units")
        if units is None and self._remote.max_units is not None:
            units = estimate_batches(row, target.model, [batch], {}).units
        with self._lock:
            self._units += units or 0
            for name, value in used.items():
                self._usage[name] = self._usage.get(name, 0) + value
            for words in wire.parse_warnings(payload):
                self._report.warn(f"{row.id} says: {wire.shortened(redact(words, target.secrets))}")

    def usage(self) -> dict[str, float]:
        """Billed units and tokens of all replies so far."""
        with self._lock:
            return dict(self._usage)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _no_split(model: str, why: str) -> UsageError:
    return UsageError(
        f"{model} compares all documents of a request with each other: {why}, whose scores are not comparable",
        "send fewer documents, raise --batch-docs, or accept it with --allow-split",
    )
