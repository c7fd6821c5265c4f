"""A chat model as a scorer: it is asked for the order of the documents of a query, window by window.

An order has no scores: what is returned is the place, as a share (`RANK`). It knows prompt and replies only through
`order`, and the network only through `channel`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli.errors import RemoteError, UsageError
from rerank_cli.records import NO_ORDER, Score
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.scorers.remote import wire
from rerank_cli.scorers.remote.budget import check_cost
from rerank_cli.scorers.remote.cost import cost_of, estimate_order, estimate_tokens_of, passage_tokens
from rerank_cli.scorers.remote.order import Order, messages, read_order, step_of, windows
from rerank_cli.scorers.remote.parse_response import TooLarge, with_url
from rerank_cli.scorers.remote.redaction import redact
from rerank_cli.scorers.remote.scorer import PartialError
from rerank_cli.scorers.remote.split import estimate_tokens, group_pairs
from rerank_cli.scorers.remote.workers import run_all
from rerank_cli.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance
    from rerank_cli.scorers.remote.channel import Channel
    from rerank_cli.scorers.remote.split import QueryGroup
    from rerank_cli.settings import RemoteSettings

RANK = "rank"  # 1 for the first of n documents, 1/n for the last
TOO_LONG = re.compile(r"context|too (long|large|many)|maximum", re.IGNORECASE)
CUT_REPLY = """a limit of output tokens cut a reply: raise it, as in --extra '{"max_completion_tokens": 4000}'"""


def check_windows(remote: RemoteSettings) -> None:
    """Raise UsageError for windows that do not overlap: a document could never move from one to the next."""
    if step_of(remote) >= remote.window_size:
        message = f"--window-step {step_of(remote)} is not smaller than --window-size {remote.window_size}"
        raise UsageError(message, "windows overlap: half of the size is usual")


class ChatScorer:
    """A `Scorer` over a chat endpoint. It wants all documents of a query in one `score` call."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._target, self._remote, self._report = channel.target, channel.remote, channel.report
        self._repairs: Counter[str] = Counter()

    def for_request(self, report: Report, rank_fields: tuple[str, ...], is_gone: Callable[[], bool]) -> ChatScorer:
        """A scorer of the same endpoint for one request among many; see `Channel`."""
        return ChatScorer(self._channel.for_request(report, replace(self._remote, rank_fields=rank_fields), is_gone))

    @property
    def info(self) -> ScorerInfo:
        """Provider, model, URL, and all that the prompt depends on; no key enters the digest."""
        target, remote = self._target, self._remote
        routing = sorted((name.lower(), value) for name, value in target.headers if isinstance(value, str))
        made_of = [
            target.provider.id, target.url, target.model, target.extra, target.instruction, routing,
            remote.window_size, step_of(remote), remote.passes, messages("", [""]),
        ]  # fmt: skip
        return ScorerInfo(
            model=f"{target.provider.id}:{target.model}",
            revision=None,
            backend="remote",
            dtype="unknown",
            scale=RANK,
            make_digest=hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest,
            reason=target.shown_url,
            whole_query=True,
            listwise=True,
        )

    def check(self, pairs: Sequence[Pair], limits: Limits) -> tuple[list[QueryGroup], list[int]]:
        """The documents by query, and the places of blank ones. Raises UsageError as the run would."""
        if limits.long_documents != "chunk":
            self._report.warn(
                f"--long-documents has no effect: {self._target.provider.shown} reads the start of documents"
            )
        groups, blank = group_pairs(pairs, share=True)
        return groups, blank

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """The place of each document of its query as a share; equal texts share a place, blank ones have none.

        Raises UsageError: a blank query, or more than --max-cost; PartialError: the endpoint failed, or said no order.
        """
        groups, blank = self.check(pairs, limits)
        scores: list[Score | None] = [None] * len(pairs)
        for place in blank:
            scores[place] = Score(None)
        if blank and advance:
            advance(len(blank))

        def keep(ranked: list[tuple[int, Score]]) -> None:
            for place, score in ranked:
                scores[place] = score
            if advance:
                advance(len(ranked))

        most = passage_tokens(limits)
        expected = estimate_order(self._target.provider, self._target.model, groups, self._remote, most)
        check_cost(expected, self._channel.shared.budget.cost, self._remote.max_cost)
        workers = min(self._remote.concurrency, len(groups))
        try:
            run_all(groups, lambda group, pause: [self._rank(group, most, pause)], keep, workers)
        except RemoteError as error:
            raise PartialError(error, scores) from error
        return [score for score in scores if score is not None]

    def _rank(self, group: QueryGroup, most: int, pause: Callable[[float], None]) -> list[tuple[int, Score]]:
        """The places of a query's documents in the caller's list, each with its score."""
        passages = [_start(str(item.text), most) for item in group.items]
        order = list(range(len(passages)))
        usable = len(order) < 2
        remote = self._remote
        for start, end in windows(len(order), remote.window_size, step_of(remote), remote.passes):
            span = order[start:end]
            if len(span) < 2:
                continue
            found = self._ask(group.query, [passages[place] for place in span], pause)
            usable = usable or found.usable
            order[start:end] = [span[place] for place in found.places]
        if not usable:
            words = f"{self._target.shown_url}: no reply holds an order of the documents"
            raise RemoteError(words, "does this model follow instructions?", refused=True)  # others of a batch may do
        ranked: list[tuple[int, Score]] = []
        for rank, number in enumerate(order):
            item = group.items[number]
            score = Score((len(order) - rank) / len(order), min(item.tokens, most), truncated=item.tokens > most)
            ranked += [(place, score) for place in item.places]
        return ranked

    def _ask(self, query: str, passages: Sequence[str], pause: Callable[[float], None]) -> Order:
        """The order of the passages of one window; repairs are counted."""
        target, shared = self._target, self._channel.shared
        asked = messages(query, passages, target.instruction)
        body = wire.constants(target, Limits()) | {"messages": asked}
        tokens = sum(estimate_tokens(message["content"])[0] for message in asked)
        expected = estimate_tokens_of(target.provider, target.model, tokens, len(passages), self._remote.prices)
        with shared.budget.paying(expected, self._remote.max_cost):
            try:
                payload, headers = self._channel.send(orjson.dumps(body), tokens, pause)
            except TooLarge as refusal:
                raise with_hint(refusal.error) from None
            except RemoteError as error:
                raise with_hint(error) from None
            used = self._channel.count(payload, headers)
            shared.budget.pay(cost_of(expected, used, self._remote.prices))
        found = read_order(self._content(payload), len(passages))
        self._count_repairs(found)
        return found

    def _count_repairs(self, found: Order) -> None:
        with self._channel.shared.lock:
            if not found.usable:
                self._repairs[NO_ORDER] += 1
                self._report.count("no_order")
            elif found.unknown or found.repeated or found.missing:
                self._repairs["repaired_replies"] += 1
                self._repairs["unknown_identifiers"] += found.unknown
                self._repairs["repeated_identifiers"] += found.repeated
                self._repairs["missing_identifiers"] += found.missing
                self._report.count("order_repaired")

    def _content(self, payload: Any) -> str:
        """The text of a reply: a string, or the text parts of a list; empty if there is none, as in a refusal.

        Raises RemoteError: it is not the reply of a chat endpoint.
        """
        choices = wire.get(payload, "choices")
        if not isinstance(choices, list):
            said = redact(wire.find_message(self._target.provider, payload), self._target.secrets)
            words = f"the reply has no `choices`{': ' if said else ''}{wire.shortened(said)}"
            raise with_url(self._target, RemoteError(words, "does --endpoint name a chat API, as https://host/v1?"))
        first = choices[0] if choices else None
        if wire.get(first, "finish_reason") == "length":
            self._report.warn(CUT_REPLY)
        content = wire.get(first, "message.content")
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [wire.get(part, "text") for part in parts]
        return " ".join(text for text in texts if isinstance(text, str))

    def usage(self) -> dict[str, float]:
        """Tokens of all replies so far, and how many replies and identifiers had to be repaired."""
        with self._channel.shared.lock:
            repairs = {name: count for name, count in self._repairs.items() if count}
        return self._channel.usage() | repairs

    def close(self) -> None:
        """Close the connections."""
        self._channel.close()


def _start(text: str, most: int) -> str:
    """The start of a text, of about `most` tokens."""
    tokens, size = estimate_tokens(text)
    return text if tokens <= most else text[: len(text) * most * (size // tokens) // size or 1]


def with_hint(error: RemoteError) -> RemoteError:
    """A refusal with the option that helps, where its message is about what we send."""
    if error.refused and "temperature" in error.message:
        error.hint = """some models have one temperature only: --extra '{"temperature": 1}'"""
    elif error.refused and TOO_LONG.search(error.message):
        error.hint = "lower --window-size or --max-tokens-per-doc"
    return error
