"""One request as work for the scoring thread: its pairs, what each will cost, and which of them come next.

Costs are estimated from the length of the texts, because tokenising is a part of the work that must be shared out. This
module knows nothing of threads or scorers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import scoring
from rerank_cli.errors import ModelError, RerankError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.records import Pair, Score
    from rerank_cli.server.records import RerankRequest
    from rerank_cli.settings import Limits

CHARS_PER_TOKEN = 4
WINDOW = 512  # tokens that a model reads at a time, where it is not known
# Tokenising one token's worth of such text takes as long as scoring this many characters' tokens.
CHARS_READ_PER_COST = 8
TOKEN_COUNTERS = ("total_tokens", "input_tokens", "compute_tokens")


def make_job(request: RerankRequest, done: Callable[[], None], window: int) -> Job:
    """The pairs of a request to be scored, equal ones once."""
    pairs, places, *_ = _pairs_of(request)
    rank_fields = request.options.rank_fields or ()
    return Job(pairs, range(len(pairs)) if places is None else places, request.limits, done, window, rank_fields)


def _pairs_of(request: RerankRequest) -> scoring.UniquePairs:
    if not request.queries:
        return scoring.unique_pairs(request.query, request.documents)
    pairs: list[Pair] = []
    places = [-1] * len(request.documents)
    for query in dict.fromkeys(request.queries):
        own = [index for index, other in enumerate(request.queries) if other == query]
        unique = scoring.unique_pairs(query, [request.documents[index] for index in own])
        for place, index in zip(unique.places or range(len(own)), own, strict=True):
            places[index] = place if place < 0 else len(pairs) + place
        pairs += unique.pairs
    return scoring.UniquePairs(pairs, places)


@dataclass(eq=False, slots=True)
class Job:
    """One request's distinct pairs, their scores and times. `places`: for each document the position of its pair."""

    pairs: Sequence[Pair]
    places: Sequence[int]
    limits: Limits
    done: Callable[[], None]  # called once, in the worker's thread, when scores or an error are available
    window: int = WINDOW
    rank_fields: tuple[str, ...] = ()  # for providers that choose fields themselves
    scores: list[Score | None] = field(init=False)
    costs: list[int] = field(init=False)  # estimated tokens of each pair
    order: list[int] = field(init=False)  # positions, longest first, so that the lengths in a slice are similar
    taken: int = 0
    left: int = field(init=False)
    query_tokens: int = 0
    query_cut: bool = False
    usage: dict[str, float] | None = None  # what a provider billed; None: a local model
    cached: int = 0  # pairs whose scores were known
    warnings: tuple[str, ...] = ()  # of the provider, or about it
    error: Exception | None = None
    cancelled: bool = False
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0

    def __post_init__(self) -> None:
        self.scores = [None] * len(self.pairs)
        self.costs = [cost(pair, self.limits, self.window) for pair in self.pairs]
        self.order = sorted(range(len(self.pairs)), key=self.costs.__getitem__, reverse=True)
        if self.pairs:  # the query is tokenised once, before the first slice
            self.costs[self.order[0]] += len(self.pairs[0].query) // CHARS_READ_PER_COST
        self.left = len(self.pairs)

    def take(self, tokens: float) -> list[int]:
        """Positions of the next slice: at least one pair, and at most about `tokens` tokens."""
        start, room = self.taken, tokens
        while self.taken < len(self.order):
            room -= self.costs[self.order[self.taken]]
            if room < 0 and self.taken > start:
                break
            self.taken += 1
        return self.order[start : self.taken]

    def finish(self, error: BaseException | None = None) -> None:
        """Scores or an error are available. Other errors than ours, a tokenizer's panic among them, are ModelErrors."""
        if error is not None:
            self.error = error if isinstance(error, RerankError) else ModelError(f"{type(error).__name__}: {error}")
        self.finished = perf_counter()
        if not self.cancelled:
            self.done()

    @property
    def next_cost(self) -> int:
        """The cost of the next pair."""
        return self.costs[self.order[self.taken]]

    @property
    def waiting(self) -> int:
        """Estimated tokens not yet handed to the scorer."""
        return sum(self.costs[position] for position in self.order[self.taken :])


class JobSlice(NamedTuple):
    """Some pairs of a job."""

    job: Job
    positions: list[int]

    @property
    def cost(self) -> int:
        """Estimated tokens."""
        return sum(self.job.costs[position] for position in self.positions)


def cost(pair: Pair, limits: Limits, window: int = WINDOW) -> int:
    """Roughly the tokens that the model reads for a pair, in all windows, and the tokenising of text beyond them.

    A token has about four bytes of UTF-8, in any script.
    """
    text = pair.text[: limits.max_tokens_per_doc * CHARS_PER_TOKEN]
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    tokens = min(size // CHARS_PER_TOKEN, limits.max_tokens_per_doc)
    query = min(len(pair.query) // CHARS_PER_TOKEN + 8, window // 2)
    room = window - query
    read = len(pair.text) - len(text)
    extra = read // CHARS_READ_PER_COST
    if tokens <= room or limits.long_documents == "truncate":
        return min(tokens, room) + query + extra
    windows = 1 - (room - tokens) // (room - room // 4)  # they overlap by a quarter
    total = tokens + windows * query + (windows - 1) * (room // 4)
    return (min(total, limits.max_chunks_per_doc * window) if limits.max_chunks_per_doc else total) + extra


def units_of(usage: Mapping[str, float]) -> int:
    """Search units in a provider's counters; clients need a whole number."""
    return round(usage.get("search_units", 0))


def tokens_of(usage: Mapping[str, float]) -> int:
    """Tokens in a provider's counters, by whichever name."""
    return round(next((usage[name] for name in TOKEN_COUNTERS if name in usage), 0))
