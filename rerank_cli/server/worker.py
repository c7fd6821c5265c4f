"""The thread that owns a local scorer: requests in progress share its batches, a slice of each in turn.

A job is one request's pairs. Each waiting job may add a limited number of tokens to the next call of the scorer, which
is small enough that a new request waits only briefly. So five documents do not wait for a thousand, and many small
requests fill batches together. A score does not depend on the other pairs of its batch (the scorer's contract).
This module knows nothing of HTTP or asyncio.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError
from rerank_cli.server.jobs import CHARS_PER_TOKEN, WINDOW, Job, JobSlice
from rerank_cli.server.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rerank_cli.records import Score
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.settings import Limits

TOKENS_PER_CALL = 4096  # estimated tokens per call of the scorer while few jobs wait: two batches of the engine
# With many jobs a call takes up to four times as much, so that sorting by length pays: 6 % of padding instead of 18 %.
# Nobody waits longer: the same jobs would need as many turns of smaller calls.
JOBS_PER_CALL = 4
MAX_CALL_FACTOR = 4
TOKENS_PER_TURN = 1024  # estimated tokens that a job adds to a call before the next job's turn
YIELD_S = 0.25  # how long a call runs before short requests that came meanwhile are scored between its batches


class Worker:
    """The scoring thread: starts it, gives it jobs, stops it. All methods may be called from any thread.

    `open_scorer` is called once, in the thread, because some scorers belong to the thread that created them; `observe`
    with the pairs and seconds of each call of the scorer, in the thread. `turn` is shared by the workers of a process.
    """

    def __init__(
        self, open_scorer: Callable[[], Scorer], observe: Callable[[int, float], None], turn: Turn | None = None
    ) -> None:
        self._open_scorer = open_scorer
        self._observe = observe
        self._turn = turn or Turn()
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._opened = threading.Event()
        self._open_error: BaseException | None = None
        self._scorer: Scorer | None = None
        self._running: list[JobSlice] = []  # of the call in progress
        self._yield_at: float | None = None  # when the call in progress lets short requests in; None: not now
        self._rate = 0.0  # estimated tokens per second, smoothed
        self.waiting = 0  # estimated tokens accepted and not yet scored
        self._thread = threading.Thread(target=self._main, name="rerank-scorer", daemon=True)

    def start(self) -> ScorerInfo:
        """Open the scorer; returns when it is ready. Raises what opening raised."""
        self._thread.start()
        self._opened.wait()
        if self._open_error is not None:
            raise self._open_error
        if self._scorer is None:
            raise ModelError("the scorer did not open")
        return self._scorer.info

    @property
    def window(self) -> int:
        """Tokens that the model reads at a time."""
        from rerank_cli.scorers.local import LocalScorer

        return self._scorer.model.window or WINDOW if isinstance(self._scorer, LocalScorer) else WINDOW

    @property
    def alive(self) -> bool:
        """Whether jobs will be scored."""
        return self._thread.is_alive() and not self._stopping

    def submit(self, job: Job) -> None:
        """Accept a job; its `done` is called later. Raises ModelError if the worker is stopped."""
        job.submitted = time.perf_counter()
        with self._changed:
            if not self.alive:
                raise ModelError("the scoring thread has stopped")
            if not job.pairs:  # all documents are blank
                job.started = job.submitted
                job.finish()
                return
            self.waiting += sum(job.costs)
            self._jobs.append(job)
            self._changed.notify()

    def cancel(self, job: Job) -> None:
        """Cancel a job: pairs that the scorer has not yet received will not be scored."""
        with self._changed:
            job.cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)
                self.waiting -= job.waiting

    def seconds_waiting(self) -> float:
        """How long the accepted work will take at the speed so far; 1 while that is unknown."""
        return self.waiting / self._rate if self._rate else 1.0

    def stop(self) -> None:
        """End the thread after the current call of the scorer; unfinished jobs fail."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _main(self) -> None:
        try:
            scorer = self._scorer = self._open_scorer()
        except BaseException as error:  # noqa: BLE001 raised again by start()
            self._open_error = error
            return
        finally:
            self._opened.set()
        while slices := self._next():
            with self._turn.held():
                self._running = slices
                whole = scorer.info.whole_query  # its calls are neither cut nor interrupted
                self._yield_at = None if whole else time.perf_counter() + YIELD_S
                self._attempt(slices)
        self._fail_all(list(self._jobs), ModelError("the server is stopping"))
        scorer.close()

    def _next(self) -> list[JobSlice]:
        """The slices of the next call; waits for a job. Empty: stop."""
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if self._stopping:
                return []
            whole = self._scorer is not None and self._scorer.info.whole_query  # all pairs of a query in one call
            slices: list[JobSlice] = []
            room = float(TOKENS_PER_CALL * min(MAX_CALL_FACTOR, max(1, len(self._jobs) // JOBS_PER_CALL)))
            while self._jobs and room > 0:
                slices.append(self._take(self._jobs[0], float("inf") if whole else min(TOKENS_PER_TURN, room)))
                room -= float("inf") if whole else slices[-1].cost
            return slices

    def _next_short(self) -> list[JobSlice]:
        """Slices of other jobs than those in progress, if they cost little; they do not wait."""
        with self._changed:
            running = {id(job_slice.job) for job_slice in self._running}
            room = TOKENS_PER_CALL
            slices: list[JobSlice] = []
            for job in list(self._jobs):
                if id(job) not in running and job.next_cost <= min(TOKENS_PER_TURN, room):
                    slices.append(self._take(job, min(TOKENS_PER_TURN, room)))
                    room -= slices[-1].cost
            return slices

    def _take(self, job: Job, tokens: float) -> JobSlice:
        """The next slice of a waiting job, which goes to the end of the queue if more of it is left."""
        self._jobs.remove(job)
        job_slice = JobSlice(job, job.take(tokens))
        if job.taken < len(job.order):
            self._jobs.append(job)
        return job_slice

    def _between_batches(self, _pairs: int) -> None:
        """A call that has run for long lets in what costs little; it ends if nobody waits for it any more.

        Raises ModelError to end it.
        """
        if self._yield_at is None or time.perf_counter() < self._yield_at:
            return
        if all(job_slice.job.cancelled for job_slice in self._running):
            raise ModelError("the client has gone")
        self._yield_at = None  # a call within a call is not interrupted
        self._turn.pass_on()
        if slices := self._next_short():
            self._attempt(slices)
        self._yield_at = time.perf_counter() + YIELD_S

    def _attempt(self, slices: Sequence[JobSlice]) -> None:
        """Score slices. Nothing that happens there ends the thread."""
        try:
            self._run(slices)
        except BaseException as error:  # noqa: BLE001
            self._fail_all((job_slice.job for job_slice in slices), error)

    def _run(self, slices: Sequence[JobSlice]) -> None:
        """Score slices, jobs with equal limits together."""
        tokens = sum(job_slice.cost for job_slice in slices)
        start = time.perf_counter()
        try:
            groups: dict[Limits, list[JobSlice]] = {}
            for job_slice in slices:
                self._begin(job_slice.job)
                if job_slice.job.error is None:
                    groups.setdefault(job_slice.job.limits, []).append(job_slice)
            for limits, group in groups.items():
                self._score(group, limits)
        finally:
            seconds = max(time.perf_counter() - start, 1e-6)
            with self._changed:
                self.waiting -= tokens
                self._rate = tokens / seconds if not self._rate else 0.8 * self._rate + 0.2 * tokens / seconds
        self._observe(sum(len(job_slice.positions) for job_slice in slices), seconds)

    def _begin(self, job: Job) -> None:
        if job.started:
            return
        job.started = time.perf_counter()
        try:
            job.query_tokens, job.query_cut = measure_query(self._scorer, job.pairs[0].query)
        except BaseException as error:  # noqa: BLE001 a query that the tokenizer cannot read fails its own request
            self._fail(job, error)

    def _score(self, slices: Sequence[JobSlice], limits: Limits) -> None:
        """One call of the scorer. If it fails, each job is tried alone, so that only the failing ones fail."""
        if self._scorer is None:
            return
        pairs = [job.pairs[position] for job, positions in slices for position in positions]
        try:
            scores = iter(_complete(self._scorer.score(pairs, limits, self._between_batches), len(pairs)))
        except BaseException as error:  # noqa: BLE001 the requests fail, not the thread
            jobs = {id(job_slice.job): job_slice.job for job_slice in slices}
            if len(jobs) == 1:
                self._fail(slices[0].job, error)
                return
            for job in jobs.values():
                self._score([job_slice for job_slice in slices if job_slice.job is job], limits)
            return
        for job, positions in slices:
            for position in positions:
                job.scores[position] = next(scores)
            job.left -= len(positions)
            if job.left == 0:
                job.finish()

    def _fail_all(self, jobs: Iterable[Job], error: BaseException) -> None:
        for job in jobs:
            if not job.finished:
                self._fail(job, error)

    def _fail(self, job: Job, error: BaseException) -> None:
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self.waiting -= job.waiting
        job.finish(error)


def _complete(scores: Sequence[Score], count: int) -> Sequence[Score]:
    """The scores. Raises ModelError unless there is one per pair: a missing one would shift the others."""
    if len(scores) != count:
        raise ModelError(f"the scorer gave {len(scores)} scores for {count} pairs")
    return scores


def measure_query(scorer: Scorer | None, query: str) -> tuple[int, bool]:
    """Tokens of a query and whether the model reads only a part of it; estimated for scorers that are not local."""
    from rerank_cli.scorers.encoded import EncodedScorer
    from rerank_cli.scorers.local import LocalScorer

    if isinstance(scorer, EncodedScorer):
        return scorer.queries.measure(query)
    if not isinstance(scorer, LocalScorer):
        return len(query) // CHARS_PER_TOKEN + 1, False
    tokens = len(scorer.encoder.query(query))
    # The room for a document shrinks by the query's tokens, until the query is cut.
    slack = 8  # chat templates merge tokens at their edges
    return tokens, scorer.prompt.room(query) + tokens > scorer.prompt.room("") + slack
