"""However documents are split into requests and in whatever order replies arrive, the scores are the same."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback, cohere, pointwise, tei
from remote.scoring import open_at, score

from rerank_cli.errors import UsageError
from rerank_cli.pipeline import rank
from rerank_cli.records import Document, Pair, Score, Source
from rerank_cli.report import Report
from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.remote.split import cut, find_bounds, group_pairs
from rerank_cli.settings import Limits, RankSettings, RemoteSettings
from rerank_cli.text import is_invisible


@pytest.fixture(scope="module")
def shuffled():
    """A server whose replies overtake each other."""

    def answer(seen):
        time.sleep(random.random() * 0.004)
        return cohere(seen)

    with Loopback(answer) as server:
        yield server


ANY_TEXT = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["", " \n", "same", "naïve 漢字 🙂", "\ud800 lone"]
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    texts=st.lists(ANY_TEXT, max_size=40),
    batch_docs=st.integers(1, 12),
    concurrency=st.integers(1, 6),
    two_queries=st.booleans(),
)
def test_any_documents_any_split_any_arrival_order(shuffled, texts, batch_docs, concurrency, two_queries):
    queries = ["reset the router", "cats"] if two_queries else ["reset the router"]
    pairs = [Pair(queries[i % len(queries)], text) for i, text in enumerate(texts)]
    found = score(shuffled.url, pairs, batch_docs=batch_docs, concurrency=concurrency)
    received = [text.encode("utf-8", "replace").decode() for text in texts]  # lone surrogates cannot travel
    expected = [
        None if is_invisible(text) else pointwise(pair.query, text) for pair, text in zip(pairs, received, strict=True)
    ]
    assert [s.value for s in found] == expected


class Split(NamedTuple):
    reference: str
    batch_docs: int | None
    requests: int


@pytest.mark.parametrize(
    "split", [Split("cohere:m", 5000, 1), Split("cohere:m", None, 5), Split("tei:", None, 157)], ids=str
)
def test_5000_documents_rank_the_same_however_they_are_split(split):
    texts = [f"document {i} resets the {'router' if i % 7 == 0 else 'clock'}" for i in range(5000)]
    documents = [Document(i, b"", text, Source("x", "line")) for i, text in enumerate(texts)]
    expected = sorted(range(5000), key=lambda i: (-pointwise("reset router", texts[i]), i))
    with Loopback(tei if split.reference == "tei:" else cohere) as server:
        scorer = open_at(server.url, split.reference, batch_docs=split.batch_docs)
        ranking = rank("reset router", [documents], scorer, RankSettings(), Report())
        scorer.close()
        assert len(server.seen) == split.requests
    assert [hit.index for hit in ranking.hits] == expected


def test_blank_texts_are_never_sent_and_have_no_score():
    with Loopback() as server:
        found = score(server.url, [Pair("q", t) for t in ("", "a", " \t\n", "b", "\u200b")])
        assert score(server.url, [Pair("q", " ")]) == [Score(None)]
        assert score(server.url, []) == []
    assert [s.value is None for s in found] == [True, False, True, False, True]
    assert [seen.body["documents"] for seen in server.seen] == [["a", "b"]]


def test_a_blank_query_is_refused_with_coheres_words():
    with pytest.raises(UsageError, match="invalid request: query must not be empty or be only whitespace"):
        score("http://127.0.0.1:9", [Pair(" ", "text")])


def test_equal_texts_are_sent_once():
    with Loopback() as server:
        found = score(server.url, [Pair("q", t) for t in ("a", "b", "a", "a")])
    assert server.seen[0].body["documents"] == ["a", "b"]
    assert found[0] == found[2] == found[3]


def test_a_listwise_model_sees_its_list_as_it_is():
    with Loopback() as server:
        score(server.url, [Pair("q", t) for t in ("a", "b", "a")], "jina:jina-reranker-v3")
    assert server.seen[0].body["documents"] == ["a", "b", "a"]


def test_concurrency_is_bounded_and_connections_are_reused():
    pairs = [Pair("q", f"t{i}") for i in range(60)]
    with Loopback(latency_s=0.01) as server:
        scorer = open_at(server.url, batch_docs=1, concurrency=4)
        told = []
        scorer.score(pairs, Limits(), told.append)
        scorer.score(pairs[:20], Limits())
        scorer.close()
        assert (sum(told), len(server.seen)) == (60, 80)
        assert 2 <= server.most_at_once <= 4
        assert server.connections <= 4


def test_one_request_needs_no_thread():
    import threading

    before = set(threading.enumerate())  # threads of other tests may still be ending
    names = []

    def answer(seen):
        names.extend(t.name for t in threading.enumerate() if t.name.startswith("rerank-remote") and t not in before)
        return cohere(seen)

    with Loopback(answer) as server:
        score(server.url, [Pair("q", "a"), Pair("q", "b")], concurrency=8)
    assert names == []


def batches_of(row, texts, remote=None, max_chunks=None):
    bounds = find_bounds(load_table().rows[row], remote or RemoteSettings(), max_chunks)
    jobs, _ = group_pairs([Pair("a query", text) for text in texts], share=True)
    return list(cut(jobs, bounds, lambda: bounds.documents))


def test_batches_keep_the_providers_limits():
    many = [f"text {i}" for i in range(2500)]
    assert [len(b.items) for b in batches_of("cohere-v2", many)] == [1000, 1000, 500]
    assert len(batches_of("tei", many)) == 79
    assert [len(b.items) for b in batches_of("infinity", many)] == [2048, 452]
    assert len(batches_of("cohere-v1", many, max_chunks=20)[0].items) == 499
    big = ["x" * 300_000 + str(i) for i in range(20)]
    assert max(len(b.items) for b in batches_of("tei", big)) == 6  # 2,000,000 bytes
    assert len(batches_of("tei", ["y" * 3_000_000])) == 1
    dash = batches_of("dashscope", [f"{i} " + "word " * 200 for i in range(300)])
    assert all(b.tokens <= 30_000 for b in dash)
    assert sum(len(b.items) for b in dash) == 300


@pytest.mark.parametrize(
    ("row", "asked", "max_chunks", "words"),
    [
        ("cohere-v2", 10_000, None, "cohere-v2 takes at most 9,999 documents"),
        ("voyage", 1001, None, "at most 1,000"),
        ("dashscope", 501, None, "at most 500"),
        ("cohere-v1", 1000, 10, "at most 999"),
        ("tei", 0, None, "at least 1"),
    ],
)
def test_more_than_the_hard_limit_is_refused(row, asked, max_chunks, words):
    with pytest.raises(UsageError, match=words):
        batches_of(row, ["a"], RemoteSettings(batch_docs=asked), max_chunks)


@pytest.mark.parametrize("model", ["jina:jina-reranker-v3", "jina:jina-reranker-v3.5", "vllm:jinaai/jina-reranker-v3"])
def test_a_listwise_model_reads_no_more_than_its_documentation_says(run, model):
    """64 documents at a time; more are refused, unless the user says that they are to be split, or sent anyway."""
    env = {"JINA_API_KEY": "k-1234"}
    lines = "".join(f"text {number}\n" for number in range(65))
    with Loopback() as server:
        ask = ("-q", "q", "-m", model, "--endpoint", server.url, "--json")
        refused = run(*ask, stdin=lines, env=env)
        dry = run(*ask, "--dry-run", stdin=lines, env=env)
        assert (refused.code, refused.out, server.seen) == (2, b"", [])
        assert "65 documents would need 2 requests" in refused.err
        assert dry.err == refused.err
        assert len(run(*ask, "--allow-split", stdin=lines, env=env).json["results"]) == 65
        assert sorted(len(seen.body["documents"]) for seen in server.seen) == [1, 64]
        assert run(*ask, "--batch-docs", "65", stdin=lines, env=env).code == 0
        assert len(server.seen) == 3
        long = "".join(f"{number} {'word ' * 4000}\n" for number in range(30))  # 150,000 tokens
        assert "30 documents would need 2 requests" in run(*ask, stdin=long, env=env).err
