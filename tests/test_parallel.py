"""Batches on several threads: the scores are bit for bit those of one thread, errors and results keep their order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.records import Pair
from rerank_cli.scorers import selection
from rerank_cli.scorers.batching import batches
from rerank_cli.scorers.local import LocalScorer
from rerank_cli.scorers.open_local import build_scorer, open_engine, scorer_info
from rerank_cli.scorers.parallel import Threads
from rerank_cli.settings import Limits, ModelSettings

WORDS = ["river", "bank", "loan", "the capital of", "Washington", "überfällig", "東京", "42", "e-mail", "🚢"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map(" ".join), min_size=1, max_size=12)


@cache
def scorer_on(threads: int) -> LocalScorer:
    """The embedded model on as many threads as asked, however many processors there are."""
    model = models.builtin()
    choice = selection.choose(model, ModelSettings())
    return build_scorer(model, scorer_info(model, choice), partial(open_engine, choice=choice, threads=threads))


def values(threads: int, texts: list[str]) -> list[float | None]:
    return [
        score.value for score in scorer_on(threads).score([Pair("bank of a river", text) for text in texts], Limits())
    ]


@given(texts=TEXTS, data=st.data())
def test_scores_are_bitwise_the_same_on_one_to_four_threads_and_in_any_order(
    texts: list[str], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(texts))))
    expected = values(1, texts)
    for threads in (2, 3, 4):
        found = values(threads, [texts[i] for i in order])
        assert [found[order.index(i)] for i in range(len(texts))] == expected


def test_one_engine_computes_several_batches_at_once_as_it_does_one_after_the_other() -> None:
    """Callers of one session at the same time: nothing of one run may reach another."""
    engine = scorer_on(4).engine
    chance = np.random.default_rng(7)
    feeds = []
    for rows, tokens in ((2, 9), (3, 40), (8, 17), (2, 120)) * 6:
        ids = chance.integers(1000, 20000, (rows, tokens))
        feeds.append({"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})
    expected = [engine.run(feed) for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(engine.run, feeds))
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_results_come_in_the_order_of_the_batches_and_an_error_ends_the_rest() -> None:
    threads, ran, second, after = Threads(2), [], threading.Event(), threading.Event()

    def run(number: int) -> int:
        ran.append(number)
        if number == 0:
            second.wait(10)  # the second batch ends first
        if number == 1:
            second.set()
        if number == 3:
            raise ModelError("broken")
        if number > 3:
            after.wait(10)
        return number * 10

    assert list(threads.map(run, [0, 1, 2])) == [0, 10, 20]
    with pytest.raises(ModelError, match="broken"):
        list(threads.map(run, [2, 3, *range(4, 400)]))
    after.set()
    threads.close()
    assert len(ran) <= 3 + 2 + 2, "after the error only batches that had begun were run"


@given(lengths=st.lists(st.integers(1, 600), max_size=80), threads=st.integers(1, 8), budget=st.integers(1, 4096))
def test_batches_hold_every_input_once_within_the_budget(lengths: list[int], threads: int, budget: int) -> None:
    made = list(batches(lengths, budget, threads=threads))
    assert sorted(position for batch in made for position in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) <= 2 or len(batch) * max(lengths[i] for i in batch) <= budget
    assert sum(len(batch) == 1 for batch in made) <= 1, "a single row is doubled, so there is at most one"


@pytest.mark.parametrize(
    ("documents", "threads", "expected"),
    [(10, 2, [5, 3, 2]), (10, 4, [3, 2, 2, 2, 1]), (4, 2, [2, 2]), (2, 4, [2]), (1, 4, [1])],
)
def test_a_few_documents_are_shared_by_the_threads(documents: int, threads: int, expected: list[int]) -> None:
    lengths = [60] * documents
    assert [len(batch) for batch in batches(lengths, 512, threads=threads)] == expected
