"""The scoring thread lives on, whatever a scorer or tokenizer raises."""

from __future__ import annotations

import threading

import pytest
from free_scorer import FreeScorer
from serve.workers import PanicException, started, submit, values

from rerank_cli.errors import ModelError
from rerank_cli.records import Pair
from rerank_cli.server.worker import Job, Worker
from rerank_cli.settings import Limits


class Panics(FreeScorer):
    """Ends in all ways that are not an Exception."""

    def score(self, pairs, limits, advance=None):
        for pair in pairs:
            for error in (PanicException, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError):
                if error.__name__ in pair.text:
                    raise error("index out of bounds")
        return super().score(pairs, limits, advance)


@pytest.mark.parametrize("name", ["PanicException", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "MemoryError"])
def test_nothing_that_a_scorer_raises_ends_the_thread(name):
    worker = started(Panics())
    bad, bad_done = submit(worker, [f"1 {name}"])
    good, good_done = submit(worker, ["2"])
    assert bad_done.wait(30)
    assert good_done.wait(30)
    assert isinstance(bad.error, ModelError)
    assert values(good) == [2]
    assert worker.alive
    assert worker.waiting == 0
    worker.stop()


@pytest.mark.parametrize("name", ["PanicException", "SystemExit"])
def test_a_query_on_which_the_tokenizer_panics_fails_alone(monkeypatch, name):
    def measure(_scorer, query):
        if query == "panic":
            raise {"PanicException": PanicException, "SystemExit": SystemExit}[name]
        return 1, False

    monkeypatch.setattr("rerank_cli.server.worker.measure_query", measure)
    worker = started(FreeScorer())
    done = threading.Event()
    bad = Job([Pair("panic", "1")], range(1), Limits(), done.set)
    worker.submit(bad)
    good, good_done = submit(worker, ["2"])
    assert done.wait(30)
    assert good_done.wait(30)
    assert isinstance(bad.error, ModelError)
    assert values(good) == [2]
    worker.stop()


def test_what_fails_outside_the_scorer_does_not_end_the_thread_either():
    observed = []

    def observe(pairs, _seconds):
        observed.append(pairs)
        raise PanicException

    worker = Worker(FreeScorer, observe)
    worker.start()
    for _ in range(3):
        _, done = submit(worker, ["1"])
        assert done.wait(30)
    assert worker.alive
    worker.stop()
    assert observed == [1, 1, 1]
