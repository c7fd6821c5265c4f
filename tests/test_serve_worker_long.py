"""Long documents in the scoring thread: their true cost, in slices, with short requests between them."""

from __future__ import annotations

import threading

from free_scorer import FreeScorer
from serve.workers import PanicException, started, submit, values

from rerank_cli.errors import ModelError
from rerank_cli.records import Pair
from rerank_cli.server.jobs import cost
from rerank_cli.server.worker import Job
from rerank_cli.settings import Limits


class Batches(FreeScorer):
    """Calls `advance` after each of its batches; what happens between two of them is `between`."""

    def __init__(self, between):
        super().__init__()
        self.between = between
        self.calls_of = []

    def score(self, pairs, limits, advance=None):
        self.calls_of.append([pair.text[:9] for pair in pairs])
        if pairs[0].text.startswith("1 long"):
            for batch in range(5):
                self.between(batch)
                advance(0)
        return super().score(pairs, limits, advance)


def test_short_requests_are_scored_between_the_batches_of_a_long_document(monkeypatch):
    """A long document is one pair, and its batches can take long: those who come meanwhile do not wait for its end."""
    monkeypatch.setattr("rerank_cli.server.worker.YIELD_S", 0.0)
    short = {}

    def between(batch):
        if batch == 1:
            short["submitted"] = [submit(worker, ["2 short"]), submit(worker, ["3 short", "4 short"])]
            short["long"] = submit(worker, ["5 " + "long " * 50_000])
        if batch == 3:
            assert [values(job) for job, _ in short["submitted"]] == [[2], [3, 4]]
            assert all(done.is_set() for _, done in short["submitted"])
            assert not short["long"][1].is_set(), "another long one waits"

    worker = started(Batches(between))
    first, done = submit(worker, ["1 long " + "word " * 50_000])
    assert done.wait(30)
    assert values(first) == [1]
    assert short["long"][1].wait(30)
    assert worker.waiting == 0
    worker.stop()


def test_a_short_request_that_fails_meanwhile_does_not_fail_the_long_one(monkeypatch):
    monkeypatch.setattr("rerank_cli.server.worker.YIELD_S", 0.0)
    jobs = []

    class Bad(Batches):
        def score(self, pairs, limits, advance=None):
            if "bad" in pairs[0].text:
                raise PanicException
            return super().score(pairs, limits, advance)

    worker = started(Bad(lambda batch: batch == 1 and jobs.append(submit(worker, ["2 bad"]))))
    first, done = submit(worker, ["1 long"])
    assert done.wait(30)
    assert values(first) == [1]
    assert isinstance(jobs[0][0].error, ModelError)
    worker.stop()


class HeldBatches(Batches):
    """Waits for `start`."""

    def __init__(self, between):
        super().__init__(between)
        self.entered, self.start = threading.Event(), threading.Event()

    def score(self, pairs, limits, advance=None):
        self.entered.set()
        assert self.start.wait(30)
        return super().score(pairs, limits, advance)


def test_a_long_document_is_given_up_when_its_client_has_gone(monkeypatch):
    monkeypatch.setattr("rerank_cli.server.worker.YIELD_S", 0.0)
    seen = []

    def between(batch):
        seen.append(batch)
        if batch == 1:
            worker.cancel(jobs[0])

    jobs = []
    worker = started(HeldBatches(between))
    job, done = submit(worker, ["1 long"])
    assert worker._scorer.entered.wait(30)
    jobs.append(job)
    _, next_done = submit(worker, ["2 " + "long " * 50_000])
    worker._scorer.start.set()
    assert next_done.wait(30)
    assert not done.is_set()
    assert seen == [0, 1]
    assert worker.waiting == 0
    worker.stop()


def test_a_pair_costs_what_is_tokenised_and_all_of_its_windows():
    def price(text, query="q", **limits):
        return cost(Pair(query, text), Limits(**limits))

    assert price("word " * 40) < 100
    assert price("word " * 10_000, max_tokens_per_doc=10**9) > 1.25 * 12_500, "windows overlap"
    assert price("a" * 98_304) > 4096 + (98_304 - 4 * 4096) // 8, "text that is tokenised and cut costs too"
    assert price("word " * 1000, "query " * 100) > 1.5 * price("word " * 1000), "the query is read with every window"
    assert price("word " * 1000, long_documents="truncate") <= 520
    assert price("word " * 1000, max_chunks_per_doc=1) <= 512
    assert price("字" * 100) > 50, "in any script"
    prices = [price("x" * size) for size in range(0, 20_000, 7)]
    assert prices == sorted(prices)


def test_a_long_query_is_charged_once():
    job = Job([Pair("q" * 16_000, str(n)) for n in range(10)], range(10), Limits(), lambda: None)
    assert sum(job.costs) > 16_000 // 8
    assert sorted(job.costs)[-2] < 300
