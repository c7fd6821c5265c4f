"""The scoring thread: large requests do not delay small ones, requests share batches, failures stay alone."""

from __future__ import annotations

import threading

import pytest
from free_scorer import FreeScorer, value_of
from hypothesis import given, settings
from hypothesis import strategies as st
from serve.harness import HeldScorer
from serve.workers import started, submit, values

from rerank_cli.errors import ModelError
from rerank_cli.records import Pair
from rerank_cli.scorers.base import TooLongError
from rerank_cli.server.worker import MAX_CALL_FACTOR, TOKENS_PER_CALL, TOKENS_PER_TURN, Job, Worker
from rerank_cli.settings import Limits


def test_five_documents_do_not_wait_for_a_thousand():
    scorer = HeldScorer()
    worker = started(scorer)
    big, big_done = submit(worker, [f"{i} {'word ' * 80}" for i in range(1000)])
    assert scorer.entered.acquire(timeout=30)  # the first tick is all the big one's
    small, small_done = submit(worker, [f"{i} small" for i in range(5)])
    scorer.release(2)
    assert small_done.wait(30), "scored in the second call"
    assert values(small) == [0, 1, 2, 3, 4]
    assert not big_done.is_set()
    assert len(scorer.batches) <= 3
    assert len(scorer.batches[1]) > 5, "in the company of the big one's"
    scorer.release()
    assert big_done.wait(30)
    assert values(big) == list(range(1000))
    worker.stop()


def test_requests_in_flight_share_batches():
    scorer = HeldScorer()
    worker = started(scorer)
    first = submit(worker, ["1 a"])
    assert scorer.entered.acquire(timeout=30)
    rest = [submit(worker, [f"{i} b", f"{i} c"]) for i in range(20)]
    scorer.release()
    for number, (job, done) in enumerate(rest):
        assert done.wait(30)
        assert values(job) == [number, number]
    assert first[1].is_set()
    assert list(map(len, scorer.batches)) == [1, 40]
    worker.stop()


def test_a_tick_is_bounded_and_lengths_in_it_are_alike():
    scorer = HeldScorer()
    scorer.release()
    worker = started(scorer)
    texts = [f"{i} " + "x" * (37 * i % 4000) for i in range(300)]
    job, done = submit(worker, texts)
    assert done.wait(30)
    assert values(job) == list(range(300))
    for batch in scorer.batches:
        assert sum(len(text) // 4 for text in batch) <= TOKENS_PER_CALL + TOKENS_PER_TURN
    longest = [max(map(len, batch)) for batch in scorer.batches]
    assert longest == sorted(longest, reverse=True)
    worker.stop()


def test_many_jobs_fill_larger_ticks():
    """Or the lengths in a batch would differ more than offline; a single large job gets no larger ones."""
    scorer = HeldScorer()
    worker = started(scorer)
    submit(worker, ["0"])
    assert scorer.entered.acquire(timeout=30)
    jobs = [submit(worker, [f"{i} {'x' * 400}" for i in range(20)]) for _ in range(40)]
    scorer.release()
    for job, done in jobs:
        assert done.wait(30)
        assert values(job) == list(range(20))
    tokens = [sum(len(text) // 4 for text in batch) for batch in scorer.batches[1:]]
    assert max(tokens) > 3 * TOKENS_PER_CALL
    assert max(tokens) <= MAX_CALL_FACTOR * TOKENS_PER_CALL + TOKENS_PER_TURN
    worker.stop()


class Moody(FreeScorer):
    """Fails on texts that say so."""

    def score(self, pairs, limits, advance=None):
        for pair in pairs:
            if "fail" in pair.text:
                raise RuntimeError("secret text of a request")
            if "long" in pair.text and limits.long_documents == "error":
                raise TooLongError(pair, 900, 256)
        return super().score(pairs, limits, advance)


class HeldMoody(HeldScorer, Moody):
    pass


def test_a_failure_fails_its_own_request_only():
    scorer = HeldMoody()
    worker = started(scorer)
    submit(worker, ["0"])
    assert scorer.entered.acquire(timeout=30)
    error = Limits(long_documents="error")
    jobs = [submit(worker, texts, limits) for texts, limits in [
        (["1", "2"], Limits()), (["3", "fail"], Limits()), (["4"], Limits()), (["5", "6", "7 long"], error), (["8"], error),
    ]]  # fmt: skip
    scorer.release()
    for _, done in jobs:
        assert done.wait(30)
    one, failed, four, long, eight = (job for job, _ in jobs)
    assert [values(one), values(four), values(eight)] == [[1, 2], [4], [8]]
    assert isinstance(failed.error, ModelError)
    assert isinstance(long.error, TooLongError)
    assert long.error.pair == long.pairs[2]
    assert worker.waiting == 0
    assert worker.alive
    worker.stop()


class Short(FreeScorer):
    """Loses the last score on request; its encoder cannot read some queries."""

    def score(self, pairs, limits, advance=None):
        scores = super().score(pairs, limits, advance)
        return scores[:-1] if any("lose" in pair.text for pair in pairs) else scores


def test_a_scorer_that_loses_scores_fails_that_request_only(monkeypatch):
    def measure(_scorer, query):
        if query == "unreadable":
            raise ValueError("secret query")
        return 1, False

    monkeypatch.setattr("rerank_cli.server.worker.measure_query", measure)
    worker = started(Short())
    lost, lost_done = submit(worker, ["1 lose", "2"])
    good, good_done = submit(worker, ["3", "4"])
    done = threading.Event()
    unread = Job([Pair("unreadable", f"{n}") for n in range(9)], range(9), Limits(), done.set)
    worker.submit(unread)
    for event in (lost_done, good_done, done):
        assert event.wait(30)
    assert isinstance(lost.error, ModelError)
    assert isinstance(unread.error, ModelError)
    assert values(good) == [3, 4]
    again, again_done = submit(worker, ["5"])
    assert again_done.wait(30)
    assert values(again) == [5]
    assert worker.waiting == 0
    worker.stop()


def test_cancelled_requests_are_not_scored():
    scorer = HeldScorer()
    worker = started(scorer)
    submit(worker, ["0"])
    assert scorer.entered.acquire(timeout=30)
    gone, gone_done = submit(worker, ["1 gone"] * 50)
    _, kept_done = submit(worker, ["2 kept"])
    worker.cancel(gone)
    scorer.release()
    assert kept_done.wait(30)
    assert not gone_done.is_set()
    assert not any("gone" in text for batch in scorer.batches for text in batch)
    assert worker.waiting == 0
    worker.stop()


def test_stopping_fails_waiting_requests():
    scorer = HeldScorer()
    worker = started(scorer)
    first, first_done = submit(worker, ["0"])
    assert scorer.entered.acquire(timeout=30)
    waiting, waiting_done = submit(worker, ["1"])
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    scorer.release()
    stopper.join(30)
    assert first_done.is_set()
    assert waiting_done.is_set()
    assert values(first) == [0]
    assert isinstance(waiting.error, ModelError)
    with pytest.raises(ModelError):
        submit(worker, ["2"])


def test_a_model_that_does_not_open_is_reported():
    def broken():
        raise ModelError("no such file")

    with pytest.raises(ModelError, match="no such file"):
        Worker(broken, lambda _pairs, _seconds: None).start()


class Listwise(FreeScorer):
    info = FreeScorer.info.__class__("listwise", None, "none", "fp64", "vendor", lambda: "x", whole_query=True)


def test_a_scorer_that_wants_whole_queries_gets_them():
    scorer = Listwise()
    worker = started(scorer)
    jobs = [submit(worker, [f"{i} {'word ' * 900}" for i in range(40)]) for _ in range(3)]
    for job, done in jobs:
        assert done.wait(30)
        assert values(job) == list(range(40))
    assert scorer.calls == 3
    worker.stop()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.text(max_size=200), min_size=1, max_size=40),
            st.sampled_from([Limits(), Limits(7), Limits(long_documents="truncate")]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_job_gets_its_own_scores(requests):
    worker = started(FreeScorer())
    jobs = [submit(worker, texts, limits) for texts, limits in requests]
    for (job, done), (texts, _) in zip(jobs, requests, strict=True):
        assert done.wait(30)
        assert job.error is None
        assert values(job) == [value_of(text) for text in texts] or any(v != v for v in values(job))  # noqa: PLR0124 NaN
    worker.stop()
    assert worker.waiting == 0
