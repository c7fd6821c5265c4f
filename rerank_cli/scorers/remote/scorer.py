"""The remote scorer: pairs are sent in batches over a few connections, scores come back in input order.

It knows the table only through `wire`, `split` and `cost`, and the network only through `client`.
"""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli.errors import RemoteError
from rerank_cli.records import Score
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.cost import cost_of, estimate_batches
from rerank_cli.scorers.remote.native import fields_of
from rerank_cli.scorers.remote.parse_response import TooLarge, parse_scores
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
    from rerank_cli.scorers.remote.channel import Channel
    from rerank_cli.scorers.remote.split import Bounds
    from rerank_cli.settings import Limits

Answered = tuple[Batch, list[Score]]


class PartialError(RemoteError):
    """A failure after some documents were scored; `scores` holds those, None for the rest (a cache may keep them)."""

    def __init__(self, error: RemoteError, scores: list[Score | None]) -> None:
        done = sum(score is not None for score in scores)
        message = f"{error.message}; {done:,} of {len(scores):,} documents were scored"
        super().__init__(message, error.hint, error.pair, refused=error.refused, reply=error.reply)
        self.scores = scores


class RemoteScorer:
    """A `Scorer` behind HTTP. It wants all documents of a query in one `score` call (`ScorerInfo.whole_query`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._target, self._remote, self._shared = channel.target, channel.remote, channel.shared
        self._report = channel.report
        provider = self._target.provider
        native = bool(provider.rank_fields) and (provider.native_by_default or self._remote.native_rank_fields)
        self._rank_fields = self._remote.rank_fields if native else ()  # objects are sent, the provider chooses

    def for_request(self, report: Report, rank_fields: tuple[str, ...], is_gone: Callable[[], bool]) -> RemoteScorer:
        """A scorer of the same endpoint for one request among many, with rank fields of its own; see `Channel`."""
        return RemoteScorer(self._channel.for_request(report, replace(self._remote, rank_fields=rank_fields), is_gone))

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
        if self._shared.budget.most is None and self._remote.max_cost is None:
            return nullcontext()
        batches = cut(groups, bounds, lambda: bounds.documents)
        expected = estimate_batches(self._target.provider, self._target.model, batches, self._remote.prices)
        return self._shared.budget.reserve(expected, self._remote.max_cost)

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
            self._report.warn(f"{provider.shown} has no field for --max-tokens-per-doc: its own limit applies")
        if not provider.max_chunks and limits.max_chunks_per_doc is not None:
            self._report.warn(f"{provider.shown} has no field for --max-chunks-per-doc: its own limit applies")
        if limits.long_documents != "chunk":
            self._report.warn(
                f"--long-documents has no effect: {provider.shown} decides what happens to long documents"
            )
        if provider.max_tokens:
            long = sum(item.tokens > limits.max_tokens_per_doc for group in groups for item in group.items)
            if long:
                words = "document is" if long == 1 else "documents are"
                cut_at = f"{provider.shown} cuts there (--max-tokens-per-doc)"
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
            f"{self._target.provider.shown} refused {n} documents in one request: smaller ones are sent (--batch-docs)"
        )

    def _request(self, batch: Batch, shared: dict[str, Any], pause: Callable[[float], None]) -> list[Score]:
        body = wire.encode(self._target.provider, shared, batch.group.query, [item.text for item in batch.items])

        payload, headers = self._channel.send(body, batch.tokens, pause)
        scores = parse_scores(self._target, payload, [item.pair for item in batch.items])
        spans = wire.parse_spans(self._target.provider, payload, [item.text for item in batch.items])
        self._count(batch, payload, headers)
        return [Score(score, spans=own) for score, own in zip(scores, spans, strict=True)]

    def _count(self, batch: Batch, payload: Any, headers: Mapping[str, str]) -> None:
        used = self._channel.count(payload, headers)
        units = used.get("search_units")
        if self._shared.budget.most is None and self._remote.max_cost is None:
            self._shared.budget.spend(units or 0)
            return
        expected = estimate_batches(self._target.provider, self._target.model, [batch], self._remote.prices)
        self._shared.budget.spend((expected.units or 0) if units is None else units)
        self._shared.budget.pay(cost_of(expected, used, self._remote.prices))

    def usage(self) -> dict[str, float]:
        """Billed units and tokens of all replies so far."""
        return self._channel.usage()

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()
