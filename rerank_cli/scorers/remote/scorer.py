"""The remote scorer: pairs are sent in batches over a few connections, scores come back in input order.

It knows the table only through `wire`, `split` and `cost`, and the network only through `client`.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli.errors import ProviderReply, RemoteError
from rerank_cli.records import Score
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.cost import estimate_batches
from rerank_cli.scorers.remote.native import fields_of
from rerank_cli.scorers.remote.parse_response import TooLarge, parse_response, parse_scores
from rerank_cli.scorers.remote.redaction import redact
from rerank_cli.scorers.remote.retries import LIMITED, Policy, Transient, with_retries
from rerank_cli.scorers.remote.split import (
    Batch,
    QueryGroup,
    cut,
    find_bounds,
    group_pairs,
    needs_split,
    no_split,
    text_of,
)
from rerank_cli.scorers.remote.workers import run_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance
    from rerank_cli.scorers.remote.client import Client
    from rerank_cli.scorers.remote.shared import Shared
    from rerank_cli.scorers.remote.split import Bounds
    from rerank_cli.scorers.remote.target import Target
    from rerank_cli.settings import Limits, RemoteSettings

Answered = tuple[Batch, list[Score]]
LONG_PAUSE_S = 2.0  # longer waits for a rate limit are noted


class PartialError(RemoteError):
    """A failure after some documents were scored; `scores` holds those, None for the rest (a cache may keep them)."""

    def __init__(self, error: RemoteError, scores: list[Score | None]) -> None:
        done = sum(score is not None for score in scores)
        message = f"{error.message}; {done:,} of {len(scores):,} documents were scored"
        super().__init__(message, error.hint, error.pair, refused=error.refused, reply=error.reply)
        self.scores = scores


class RemoteScorer:
    """A `Scorer` behind HTTP. It wants all documents of a query in one `score` call (`ScorerInfo.whole_query`)."""

    def __init__(
        self,
        target: Target,
        remote: RemoteSettings,
        client: Client,
        report: Report,
        shared: Shared,
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target = target
        self._remote = remote
        self._client = client
        self._report = report
        self._shared = shared
        self._is_gone = is_gone
        provider = target.provider
        self._policy = Policy(max(0, remote.retries), remote.max_wait_s)
        self._usage: dict[str, float] = {}
        native = bool(provider.rank_fields) and (provider.native_by_default or remote.native_rank_fields)
        self._rank_fields = remote.rank_fields if native else ()  # objects are sent, the provider chooses

    def for_request(self, report: Report, rank_fields: tuple[str, ...], is_gone: Callable[[], bool]) -> RemoteScorer:
        """A scorer of the same endpoint for one request among many: usage, warnings and rank fields are its own.

        Connections, limits and budget are shared. Nothing more is sent once `is_gone`.
        """
        remote = replace(self._remote, rank_fields=rank_fields)
        return RemoteScorer(self._target, remote, self._client, report, self._shared, is_gone)

    @property
    def info(self) -> ScorerInfo:
        """Provider, model, URL, and headers that a gateway may route by; no key enters the digest."""
        provider, target = self._target.provider, self._target
        split = (self._remote.allow_split, self._remote.batch_docs) if target.listwise else None
        made_of = [
            provider.id,
            target.url,
            target.model,
            target.extra,
            target.instruction,
            dict(provider.fixed),
            self._rank_fields,
            sorted((name.lower(), value) for name, value in target.headers if isinstance(value, str)),
            split,
        ]
        return ScorerInfo(
            model=f"{provider.id}:{target.model}",
            revision=None,
            backend="remote",
            dtype="unknown",
            scale=provider.scale,
            make_digest=hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest,
            reason=target.shown_url,
            whole_query=True,
            listwise=target.listwise,
        )

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """The provider's scores as received, in input order; blank texts are not sent and have none.

        Raises UsageError: a blank query, a listwise split, more than --max-units, limits the provider cannot keep;
        PartialError: the endpoint failed; it says how many documents were scored.
        """
        groups, blank, bounds = self.check(pairs, limits)
        shared = wire.constants(self._target, limits)
        if self._rank_fields and self._target.provider.rank_fields:
            wire.put(shared, self._target.provider.rank_fields, list(self._rank_fields))
        scores: list[Score | None] = [None] * len(pairs)
        for place in blank:
            scores[place] = Score(None)
        if blank and advance:
            advance(len(blank))
        with self._reserved(groups, bounds):
            self._send(groups, bounds, shared, scores, advance)
        return [score for score in scores if score is not None]

    def _reserved(self, groups: list[QueryGroup], bounds: Bounds) -> AbstractContextManager[None]:
        """Room in the budget for all of these. Raises UsageError if there is none."""
        if self._shared.budget.most is None:
            return nullcontext()
        batches = cut(groups, bounds, lambda: bounds.documents)
        target = self._target
        return self._shared.budget.reserve(estimate_batches(target.provider, target.model, batches, {}))

    def check(self, pairs: Sequence[Pair], limits: Limits) -> tuple[list[QueryGroup], list[int], Bounds]:
        """The batches' queries, blank documents and bounds. Raises UsageError for what is refused before a request."""
        make = partial(fields_of, names=self._rank_fields) if self._rank_fields else text_of
        groups, blank = group_pairs(pairs, make, ask=self._target.asked, share=not self._target.listwise)
        bounds = find_bounds(self._target.provider, self._remote, limits.max_chunks_per_doc)
        self._check(groups, bounds, limits)
        return groups, blank, bounds

    def _send(
        self,
        groups: list[QueryGroup],
        bounds: Bounds,
        shared: dict[str, Any],
        scores: list[Score | None],
        advance: Advance | None,
    ) -> None:
        """Exchange all batches and fill `scores`, in any order of replies."""

        def keep(answered: Answered) -> None:
            for item, score in zip(answered[0].items, answered[1], strict=True):
                for place in item.places:
                    scores[place] = score
            if advance:
                advance(answered[0].documents)

        rescued: list[Answered] = []  # parts of batches that failed in the end
        batches = cut(groups, bounds, lambda: self._cap(bounds))
        workers = min(self._remote.concurrency, sum(-(-len(group.items) // self._cap(bounds)) for group in groups))
        try:
            run_all(batches, lambda batch, pause: self._exchange(batch, shared, pause, rescued), keep, workers)
        except RemoteError as error:
            for answered in rescued:
                keep(answered)
            raise PartialError(error, scores) from error

    def _cap(self, bounds: Bounds) -> int:
        return min(bounds.documents, self._shared.accepted or bounds.documents)

    def _check(self, groups: list[QueryGroup], bounds: Bounds, limits: Limits) -> None:
        """Everything that can be refused or reported before the first request."""
        provider, model = self._target.provider, self._target.model
        if self._target.listwise and needs_split(model, groups, bounds, allowed=self._remote.allow_split):
            words = "scores of different requests are ranked together as you asked (--allow-split)"
            self._report.warn(f"{model} compares the documents of a request with each other: {words}")
        if not provider.max_tokens and limits.max_tokens_per_doc != wire.DEFAULT_MAX_TOKENS:
            self._report.warn(f"{provider.id} has no field for --max-tokens-per-doc: its own limit applies")
        if not provider.max_chunks and limits.max_chunks_per_doc is not None:
            self._report.warn(f"{provider.id} has no field for --max-chunks-per-doc: its own limit applies")
        if limits.long_documents != "chunk":
            self._report.warn(f"--long-documents has no effect: {provider.id} decides what happens to long documents")
        if provider.max_tokens:
            long = sum(item.tokens > limits.max_tokens_per_doc for group in groups for item in group.items)
            if long:
                words = "document is" if long == 1 else "documents are"
                cut_at = f"{provider.id} cuts there (--max-tokens-per-doc)"
                self._report.note(f"{long} {words} probably longer than {limits.max_tokens_per_doc} tokens: {cut_at}")

    def _exchange(
        self, batch: Batch, shared: dict[str, Any], pause: Callable[[float], None], rescued: list[Answered]
    ) -> list[Answered]:
        """Send a batch, halving what the server finds too large; what was answered before a failure is `rescued`."""
        todo, done = [batch], list[Answered]()
        try:
            while todo:
                part = todo.pop()
                if self._shared.accepted and len(part.items) > self._shared.accepted:
                    todo += reversed(part.halves())
                    continue
                try:
                    done.append((part, self._request(part, shared, pause)))
                except TooLarge as refusal:
                    self._shrink(part, refusal)
                    todo += reversed(part.halves())
        except RemoteError:
            rescued += done  # they are paid for
            raise
        return done

    def _shrink(self, part: Batch, refusal: TooLarge) -> None:
        n = len(part.items)
        if n < 2:
            refusal.error.pair = part.items[0].pair
            raise refusal.error from None
        if self._target.listwise and not self._remote.allow_split:
            why = f"the server refused {n} documents in one request ({refusal.error.message})"
            raise no_split(self._target.model, why) from None
        with self._shared.lock:
            self._shared.accepted = min(self._shared.accepted or n, (n + 1) // 2)
        self._report.note(
            f"{self._target.provider.id} refused {n} documents in one request: smaller ones are sent (--batch-docs)"
        )

    def _request(self, batch: Batch, shared: dict[str, Any], pause: Callable[[float], None]) -> list[Score]:
        provider = self._target.provider
        body = wire.encode(provider, shared, batch.group.query, [item.text for item in batch.items])

        def attempt() -> Any:
            pause(self._wait_for(batch.tokens))
            try:
                with self._shared.slots:
                    if self._is_gone():
                        raise RemoteError("nobody waits for the reply any more")
                    reply = self._client.post(body)
                return parse_response(self._target, reply)
            except Transient as failure:
                if failure.rate_limited and failure.wait_s and failure.wait_s <= self._policy.max_wait_s:
                    self._shared.limiter.hold(failure.wait_s)
                raise

        payload, headers = with_retries(attempt, self._policy, pause)
        scores = parse_scores(self._target, payload, [item.pair for item in batch.items])
        spans = wire.parse_spans(provider, payload, [item.text for item in batch.items])
        self._count(batch, payload, headers)
        return [Score(score, spans=own) for score, own in zip(scores, spans, strict=True)]

    def _wait_for(self, tokens: int) -> float:
        """Seconds until the rate allows a request. Raises RemoteError if it may not wait that long."""
        most = self._policy.max_wait_s if self._remote.refuse_waits else inf
        wait = self._shared.limiter.reserve(tokens, most)
        if wait > most:
            words = "the rate limit (--requests-per-minute, --tokens-per-minute) is reached"
            raise RemoteError(words, reply=ProviderReply(LIMITED, words, wait))
        if wait > LONG_PAUSE_S:
            self._report.note("requests wait for the rate limit (--requests-per-minute, --tokens-per-minute)")
        return wait

    def _count(self, batch: Batch, payload: Any, headers: Mapping[str, str]) -> None:
        provider, target = self._target.provider, self._target
        used = wire.parse_usage(provider, payload, headers)
        units = used.get("search_units")
        if units is None and self._shared.budget.most is not None:
            units = estimate_batches(provider, target.model, [batch], {}).units
        self._shared.budget.spend(units or 0)
        with self._shared.lock:
            for name, value in used.items():
                self._usage[name] = self._usage.get(name, 0) + value
            for warning in wire.parse_warnings(payload):
                self._report.warn(f"{provider.id} says: {wire.shortened(redact(warning, target.secrets))}")

    def usage(self) -> dict[str, float]:
        """Billed units and tokens of all replies so far."""
        with self._shared.lock:
            return dict(self._usage)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
