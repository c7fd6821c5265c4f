"""The one thread that owns the scorer: requests in flight share its batches, a piece of each in turn.

A job is one request's pairs. In each turn every waiting job may put a quantum of tokens into the next tick; a tick is
one call of the scorer, small enough that a newcomer waits for little. So five documents are not kept waiting by a
thousand, and many small requests fill batches together. Scores do not depend on the company (the scorer's promise).
It knows nothing of HTTP or of asyncio.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import ModelError, RerankError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rerank_cli.records import Pair, Score
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.settings import Limits

TICK = 4096  # estimated tokens of one call of the scorer while few jobs wait: two batches of the engine
# With many, a call takes more of them, so that sorting by length pays as it does offline: 6 % of padding, not 18 %.
# Nobody waits longer for that: whoever is served in one call had been served in as many turns of smaller ones.
JOBS_A_TICK = 4
MOST_TICKS = 4
TOKENS_PER_TURN = 1024  # estimated tokens a job puts into a tick before the next job's turn
CHARS_PER_TOKEN = 4


@dataclass(eq=False, slots=True)
class Job:
    """One request's distinct pairs and what becomes of them. `places`: for each document the position of its pair."""

    pairs: Sequence[Pair]
    places: Sequence[int]
    limits: Limits
    done: Callable[[], None]  # called once in the worker's thread, when scores or an error are there
    scores: list[Score | None] = field(init=False)
    costs: list[int] = field(init=False)  # estimated tokens of each pair
    order: list[int] = field(init=False)  # positions, longest first, so that a piece's lengths are alike
    taken: int = 0
    left: int = field(init=False)
    query_tokens: int = 0
    query_cut: bool = False
    error: Exception | None = None
    cancelled: bool = False
    submitted: float = 0.0
    started: float = 0.0
    finished: float = 0.0

    def __post_init__(self) -> None:
        self.scores = [None] * len(self.pairs)
        self.costs = [cost(pair, self.limits) for pair in self.pairs]
        self.order = sorted(range(len(self.pairs)), key=self.costs.__getitem__, reverse=True)
        self.left = len(self.pairs)

    def take(self, tokens: float) -> list[int]:
        """Positions of the next piece: at least one pair, at most about so many tokens."""
        start, room = self.taken, tokens
        while self.taken < len(self.order):
            room -= self.costs[self.order[self.taken]]
            if room < 0 and self.taken > start:
                break
            self.taken += 1
        return self.order[start : self.taken]

    @property
    def waiting(self) -> int:
        """Estimated tokens not yet handed to the scorer."""
        return sum(self.costs[position] for position in self.order[self.taken :])


class JobSlice(NamedTuple):
    """Some pairs of a job."""

    job: Job
    positions: list[int]


class BatchStats(NamedTuple):
    """What one call of the scorer did, for the metrics."""

    pairs: int
    seconds: float


def cost(pair: Pair, limits: Limits) -> int:
    """Roughly the tokens of a pair: a token has about four bytes of UTF-8, in any script."""
    text = pair.text[: limits.max_tokens_per_doc * CHARS_PER_TOKEN]
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return (size + len(pair.query)) // CHARS_PER_TOKEN + 8


class Worker:
    """Starts, feeds and stops the scoring thread. All methods may be called from any thread.

    Args:
        open_scorer: called once, in the thread, because some scorers belong to the thread that made them.
        observe: called after each tick, in the thread.
    """

    def __init__(self, open_scorer: Callable[[], Scorer], observe: Callable[[BatchStats], None]) -> None:
        self._open_scorer = open_scorer
        self._observe = observe
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._opened = threading.Event()
        self._fault: BaseException | None = None
        self._scorer: Scorer | None = None
        self._rate = 0.0  # estimated tokens a second, smoothed
        self.waiting = 0  # estimated tokens accepted and not yet scored
        self._thread = threading.Thread(target=self._main, name="rerank-scorer", daemon=True)

    def start(self) -> ScorerInfo:
        """Open the scorer; returns when it is ready. Raises what opening raised."""
        self._thread.start()
        self._opened.wait()
        if self._fault is not None:
            raise self._fault
        if self._scorer is None:
            raise ModelError("the scorer did not open")
        return self._scorer.info

    @property
    def alive(self) -> bool:
        """Whether jobs will be scored."""
        return self._thread.is_alive() and not self._stopping

    def submit(self, job: Job) -> None:
        """Take a job; its `done` is called later. Raises ModelError if the worker is stopped."""
        job.submitted = time.perf_counter()
        with self._changed:
            if not self.alive:
                raise ModelError("the scoring thread has stopped")
            self.waiting += sum(job.costs)
            self._jobs.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Give up a job: what is not yet with the scorer will not be scored."""
        with self._changed:
            job.cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)
                self.waiting -= job.waiting

    def seconds_waiting(self) -> float:
        """How long the accepted work will take, by the speed so far; 1 while nothing is known."""
        return self.waiting / self._rate if self._rate else 1.0

    def stop(self) -> None:
        """End the thread after the call of the scorer that is running; jobs that are left fail."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        try:
            self._scorer = self._open_scorer()
        except BaseException as error:  # noqa: BLE001 raised again by start()
            self._fault = error
            return
        finally:
            self._opened.set()
        pieces: list[JobSlice] = []
        try:
            while pieces := self._next():
                self._run(pieces)
        finally:
            with self._changed:
                self._stopping = True
                left = dict.fromkeys([*self._jobs, *(piece.job for piece in pieces)])
            for job in left:
                if not job.finished:
                    self._fail(job, ModelError("the server is stopping"))
            self._scorer.close()

    def _next(self) -> list[JobSlice]:
        """The pieces of the next tick; waits for some. Empty: stop."""
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return []
            whole = self._scorer is not None and self._scorer.info.whole_query
            pieces: list[JobSlice] = []
            room = float(TICK * min(MOST_TICKS, max(1, len(self._jobs) // JOBS_A_TICK)))
            while self._jobs and room > 0:
                job = self._jobs.popleft()
                pieces.append(JobSlice(job, job.take(float("inf") if whole else min(TOKENS_PER_TURN, room))))
                room -= float("inf") if whole else sum(job.costs[position] for position in pieces[-1].positions)
                if job.taken < len(job.order):
                    self._jobs.append(job)
            return pieces

    def _run(self, pieces: Sequence[JobSlice]) -> None:
        """Score pieces, jobs of like limits together."""
        groups: dict[Limits, list[JobSlice]] = {}
        for piece in pieces:
            self._begin(piece.job)
            if piece.job.error is None:
                groups.setdefault(piece.job.limits, []).append(piece)
        start = time.perf_counter()
        for limits, group in groups.items():
            self._score(group, limits)
        seconds = max(time.perf_counter() - start, 1e-6)
        tokens = sum(job.costs[position] for job, positions in pieces for position in positions)
        with self._changed:
            self.waiting -= tokens
            self._rate = tokens / seconds if not self._rate else 0.8 * self._rate + 0.2 * tokens / seconds
        self._observe(BatchStats(sum(len(piece.positions) for piece in pieces), seconds))

    def _begin(self, job: Job) -> None:
        if job.started:
            return
        job.started = time.perf_counter()
        try:
            job.query_tokens, job.query_cut = measure_query(self._scorer, job.pairs[0].query)
        except Exception as error:  # noqa: BLE001 a query that the tokenizer cannot read fails its own request
            self._fail(job, _known(error))

    def _score(self, pieces: Sequence[JobSlice], limits: Limits) -> None:
        """One call of the scorer. If it fails, each job is tried alone, so that only those at fault fail."""
        if self._scorer is None:
            return
        pairs = [job.pairs[position] for job, positions in pieces for position in positions]
        try:
            scores = iter(_complete(self._scorer.score(pairs, limits), len(pairs)))
        except Exception as error:  # noqa: BLE001 whatever it is belongs to the requests, not to the thread
            jobs = {id(piece.job): piece.job for piece in pieces}
            if len(jobs) == 1:
                self._fail(pieces[0].job, _known(error))
                return
            for job in jobs.values():
                self._score([piece for piece in pieces if piece.job is job], limits)
            return
        for job, positions in pieces:
            for position in positions:
                job.scores[position] = next(scores)
            job.left -= len(positions)
            if job.left == 0:
                self._finish(job)

    def _fail(self, job: Job, error: Exception) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self.waiting -= job.waiting
        job.error = error
        self._finish(job)

    @staticmethod
    def _finish(job: Job) -> None:
        job.finished = time.perf_counter()
        if not job.cancelled:
            job.done()


def _complete(scores: Sequence[Score], count: int) -> Sequence[Score]:
    """The scores, as many as pairs. Raises ModelError: one that is missing would be another document's."""
    if len(scores) != count:
        raise ModelError(f"the scorer gave {len(scores)} scores for {count} pairs")
    return scores


def _known(error: Exception) -> Exception:
    """An error of ours as it is, any other as a ModelError."""
    return error if isinstance(error, RerankError) else ModelError(f"{type(error).__name__}: {error}")


def measure_query(scorer: Scorer | None, query: str) -> tuple[int, bool]:
    """Tokens of a query and whether the model reads only a part of it; estimated for scorers that are not local."""
    from rerank_cli.scorers.local import LocalScorer

    if not isinstance(scorer, LocalScorer):
        return len(query) // CHARS_PER_TOKEN + 1, False
    tokens = len(scorer.encoder.query(query))
    # What a window has room for shrinks by the query's tokens, until the query is cut.
    slack = 8  # chat templates merge tokens at their edges
    return tokens, scorer.prompt.room(query) + tokens > scorer.prompt.room("") + slack
