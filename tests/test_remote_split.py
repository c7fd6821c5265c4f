"""Splitting, joining and their limits: whatever the split and the order of arrival, the scores are the same."""

from __future__ import annotations

import random
import time
from typing import NamedTuple

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback, as_json, cohere, pointwise, tei

from rerank_cli.billing import search_units
from rerank_cli.errors import UsageError
from rerank_cli.fields import make_renderer
from rerank_cli.pipeline import rank
from rerank_cli.records import Document, Pair, Source
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.cost import estimate
from rerank_cli.scorers.remote.native import fields_of
from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.remote.rate_limiter import RateLimiter
from rerank_cli.scorers.remote.split import cut, find_bounds, group_pairs
from rerank_cli.settings import FieldSettings, Limits, ModelSettings, RankSettings, RemoteSettings
from rerank_cli.text import is_invisible

ENV = {"CO_API_KEY": "k-1234", "JINA_API_KEY": "k-1234", "VOYAGE_API_KEY": "k-1234", "PINECONE_API_KEY": "k-1234"}


def open_at(url, reference="cohere:rerank-v3.5", report=None, **remote):
    model = ModelSettings(remote=RemoteSettings(endpoint=url, retries=0, **remote))
    return open_remote(reference, model, ENV, report or Report())


def score(url, pairs, reference="cohere:rerank-v3.5", limits=None, report=None, **remote):
    scorer = open_at(url, reference, report, **remote)
    try:
        return scorer.score(pairs, limits or Limits())
    finally:
        scorer.close()


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


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        assert score(server.url, [Pair("q", " ")]) == [(None, 0, 1, None, False)]
        assert score(server.url, []) == []
    assert [s.value is None for s in found] == [True, False, True, False, True]
    assert [seen.body["documents"] for seen in server.seen] == [["a", "b"]]


def test_a_blank_query_is_refused_with_coheres_words():
    with pytest.raises(UsageError, match="invalid request: query must not be empty or be only whitespace"):
        score("http://127.0.0.1:9", [Pair(" ", "text")])


def test_equal_texts_are_paid_once():
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

    before = threading.active_count()
    names = []

    def answer(seen):
        names.extend(t.name for t in threading.enumerate() if t.name.startswith("rerank-remote"))
        return cohere(seen)

    with Loopback(answer) as server:
        score(server.url, [Pair("q", "a"), Pair("q", "b")], concurrency=8)
    assert names == []
    assert threading.active_count() <= before + 2


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


# --- fields that only some providers have ----------------------------------------------------------------------------


def body_of(reference, limits=None, instruction=None, report=None, **remote):
    if reference.startswith("pinecone"):
        reply = as_json({"data": [{"index": 0, "score": 0.5}]})
    elif reference.startswith("dashscope"):
        reply = as_json({"output": {"results": [{"index": 0, "relevance_score": 0.5}]}})
    else:
        reply = as_json({"results": [{"index": 0, "relevance_score": 0.5}]})
    env = {"DASHSCOPE_API_KEY": "k", "SILICONFLOW_API_KEY": "k", **ENV}
    with Loopback(lambda _seen: reply) as server:
        model = ModelSettings(instruction=instruction, remote=RemoteSettings(endpoint=server.url, **remote))
        scorer = open_remote(reference, model, env, report or Report())
        scorer.score([Pair("q", "a")], limits or Limits())
        scorer.close()
    return server.seen[0].body, server.seen[0].headers


def test_limits_travel_where_there_is_a_field_and_are_told_where_not():
    report = Report()
    body, _ = body_of("cohere:m", Limits(max_tokens_per_doc=300, max_chunks_per_doc=3), report=report)
    assert body["max_tokens_per_doc"] == 300
    assert "max_chunks_per_doc" not in body
    assert report.warnings() == ("cohere-v2 has no field for --max-chunks-per-doc: its own limit applies",)
    report = Report()
    body, _ = body_of("cohere-v1:m", Limits(max_tokens_per_doc=300, max_chunks_per_doc=3), report=report)
    assert body["max_chunks_per_doc"] == 3
    assert report.warnings() == ("cohere-v1 has no field for --max-tokens-per-doc: its own limit applies",)
    report = Report()
    body, _ = body_of("cohere:m", Limits(long_documents="error"), report=report)
    assert "--long-documents has no effect" in report.warnings()[0]


def test_documents_that_will_be_cut_are_told_of():
    report = Report()
    with Loopback() as server:
        score(server.url, [Pair("q", "word " * 5000), Pair("q", "a")], report=report)
    assert report.notes == [
        "1 document is probably longer than 4096 tokens: cohere-v2 cuts there (--max-tokens-per-doc)"
    ]


def test_extra_instruction_and_client_name_travel():
    body, headers = body_of("siliconflow:m", instruction="find parts", extra='{"overlap_tokens": 40}', client_name="me")
    assert body["instruction"] == "find parts"
    assert body["overlap_tokens"] == 40
    assert headers["x-client-name"] == "me"
    assert headers["user-agent"].startswith("rerank-cli/")
    body, _ = body_of("dashscope:m", instruction="find parts", extra='{"parameters": {"x": 1}}')
    assert body["parameters"] == {"return_documents": False, "instruct": "find parts", "x": 1, "top_n": 1}
    with pytest.raises(UsageError, match="cohere-v2 does not take --instruction"):
        body_of("cohere:m", instruction="find parts")


def rendered(report, *documents, fields):
    """The texts that `fields` makes of objects: what a scorer really gets."""
    render = make_renderer(FieldSettings(rank_fields=fields), report)
    return [Pair("refund", render(document, "")[0]) for document in documents]


TITLE_BODY = ("title", "body")


def test_cohere_v1_gets_objects_and_rank_fields():
    """The documented request."""
    documents = [{"title": "Return form", "body": "Use this form"}, {"title": "Hours", "body": "Nine to five"}]
    reply = as_json({"results": [{"index": 0, "relevance_score": 0.81}, {"index": 1, "relevance_score": 0.1}]})
    with Loopback(lambda _seen: reply) as server:
        pairs = rendered(Report(), *documents, fields=TITLE_BODY)
        found = score(server.url, pairs, "cohere-v1:rerank-english-v3.0", rank_fields=TITLE_BODY)
    assert [s.value for s in found] == [0.81, 0.1]
    assert server.seen[0].body == {
        "model": "rerank-english-v3.0", "query": "refund", "documents": documents, "rank_fields": ["title", "body"],
        "top_n": 2, "return_documents": False,
    }  # fmt: skip


def test_objects_hold_strings_and_blank_ones_stay_here():
    objects = [
        {"body": " "},
        {"title": 12, "body": {"c": [1, "x"]}, "z": "unused"},
        {"title": "no: yes\n#b", "body": "1e3"},
    ]
    reply = as_json({"results": [{"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.4}]})
    with Loopback(lambda _seen: reply) as server:
        pairs = rendered(Report(), *objects, fields=("body", "title"))
        found = score(server.url, pairs, "cohere-v1:m", rank_fields=("body", "title"))
    assert [s.value for s in found] == [None, 0.5, 0.4]
    assert server.seen[0].body["documents"] == [
        {"body": '{"c":["1","x"]}', "title": "12"},
        {"body": "1e3", "title": "no: yes\n#b"},
    ]


@pytest.mark.parametrize(
    ("reference", "native", "objects"),
    [("cohere:m", True, False), ("pinecone:m", False, False), ("pinecone:m", True, True), ("cohere-v1:m", False, True)],
)
def test_objects_travel_only_where_a_row_takes_them(reference, native, objects):
    text = "title: a\nbody: b\n"

    def answer(seen):
        return as_json(
            {("data" if "pinecone" in reference else "results"): [{"index": 0, "score": 1, "relevance_score": 1}]}
        )

    with Loopback(answer) as server:
        score(server.url, [Pair("q", text)], reference, rank_fields=TITLE_BODY, native_rank_fields=native)
    plain = {"text": text} if reference == "pinecone:m" else text
    assert server.seen[0].body["documents"] == [{"title": "a", "body": "b"} if objects else plain]
    assert server.seen[0].body.get("rank_fields") == (["title", "body"] if objects else None)


# PyYAML itself does not read back the U+0085 that it wrote.
@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(TITLE_BODY),
        st.text(st.characters(exclude_characters="\x85", exclude_categories=["Cs"]), max_size=30),
        min_size=1,
    )
)
def test_any_object_comes_back_from_its_rendered_text(document):
    [pair] = rendered(Report(), document, fields=TITLE_BODY)
    whole = {name: document[name] for name in TITLE_BODY if name in document}
    expected = {k: "" if is_invisible(v) else v.encode("utf-8", "replace").decode() for k, v in whole.items()}
    assert fields_of(pair.text, TITLE_BODY) == (expected if any(expected.values()) else None)


# --- pace and cost ---------------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_requests_a_minute():
    clock = Clock()
    pace = RateLimiter(3, None, clock)
    assert [pace.reserve(1) for _ in range(7)] == [0, 0, 0, 60, 60, 60, 120]
    clock.now += 130
    assert pace.reserve(1) == 0  # three left at 1060, one at 1120


def test_tokens_a_minute():
    clock = Clock()
    pace = RateLimiter(None, 100, clock)
    assert pace.reserve(60) == 0
    assert pace.reserve(40) == 0
    assert pace.reserve(1) == 60
    assert pace.reserve(500) == 120  # too big for any minute: alone
    assert RateLimiter(None, None, clock).reserve(10**9) == 0


def test_a_pause_holds_everybody():
    clock = Clock()
    pace = RateLimiter(None, None, clock)
    pace.hold(5)
    pace.hold(2)
    assert pace.reserve(1) == 5
    clock.now += 6
    assert pace.reserve(1) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 20)), max_size=60), st.integers(1, 5), st.integers(50, 100))
def test_no_minute_ever_holds_more_than_its_limits(steps, requests, tokens):
    clock = Clock()
    pace = RateLimiter(requests, tokens, clock)
    left = []
    for used, passed in steps:
        clock.now += passed
        left.append((clock.now + pace.reserve(used), used))
    for at, _ in left:
        inside = [used for when, used in left if at - 59.999 < when <= at]
        assert len(inside) <= requests
        assert sum(inside) <= tokens


@pytest.mark.parametrize(
    ("chunk", "documents", "query", "tokens", "units"),
    [  # Cohere's table of search units
        (500, 100, 20, 300, 1), (500, 101, 20, 300, 2), (500, 100, 20, 480, 1), (500, 100, 20, 481, 2),
        (500, 100, 20, 1000, 3), (500, 1000, 50, 600, 20), (500, 100, 300, 700, 4), (4096, 100, 20, 1000, 1),
        (4096, 100, 20, 5000, 2),
    ],
)  # fmt: skip
def test_search_units_of_the_reference(chunk, documents, query, tokens, units):
    assert search_units(query, [tokens] * documents, chunk) == units


def test_an_estimate_needs_no_key_and_sends_nothing():
    pairs = [Pair("q" * 80, "x" * 1200 + str(i)) for i in range(250)] + [Pair("q" * 80, "  ")]
    model = ModelSettings(remote=RemoteSettings(prices={"cohere:rerank-v3.5": 0.002}))
    found = estimate("cohere:rerank-v3.5", pairs, model)
    assert (found.requests, found.documents, found.unit, found.units) == (1, 250, "search_units", 3)
    assert found.cost == pytest.approx(0.006)
    assert found.tokens == sum(20 + -(-len(p.text) // 4) for p in pairs[:-1])
    tokens = estimate("jina:m", pairs, ModelSettings(remote=RemoteSettings(prices={"jina": 2e-8})))
    assert (tokens.unit, tokens.units, tokens.cost) == ("tokens", found.tokens, pytest.approx(found.tokens * 2e-8))
    assert estimate("tei:", pairs, model).units is None
    assert estimate("tei:", pairs, model).requests == 8
    assert estimate("cohere:rerank-v5.0-pro", pairs, model).unit == "tokens"
    assert estimate("litellm:cohere/rerank-v3.5", pairs, model).units == 3
    assert estimate("litellm:local/bge", pairs, model).units is None
    assert "500 tokens assumed" in "".join(estimate("cohere:rerank-v4.0-pro", pairs, model).notes)


def test_max_units_refuses_before_anything_is_sent():
    pairs = [Pair("q", f"t{i}") for i in range(250)]
    with Loopback() as server:
        with pytest.raises(UsageError, match="about 3 search units, more than --max-units 2"):
            score(server.url, pairs, max_units=2)
        with pytest.raises(UsageError, match="jina bills tokens"):
            score(server.url, pairs, "jina:m", max_units=2)
        assert not server.seen
        scorer = open_at(server.url, max_units=5)
        scorer.score(pairs, Limits())
        with pytest.raises(UsageError, match="3 search units besides 3 already used"):
            scorer.score(pairs, Limits())
        scorer.close()
    assert scorer.usage() == {"search_units": 3}


def test_units_that_a_reply_does_not_tell_are_estimated_for_max_units():
    def silent(seen):
        status, headers, body = cohere(seen)
        return status, headers, orjson.dumps({"results": orjson.loads(body)["results"]})

    with Loopback(silent) as server:
        scorer = open_at(server.url, max_units=5)
        pairs = [Pair("q", f"t{i}") for i in range(250)]
        scorer.score(pairs, Limits())
        with pytest.raises(UsageError, match="3 search units besides 3 already used"):
            scorer.score(pairs, Limits())
        assert scorer.usage() == {}
        scorer.close()


def test_usage_sums_over_requests():
    with Loopback() as server:
        scorer = open_at(server.url, batch_docs=10, concurrency=3)
        scorer.score([Pair("q", f"t{i}") for i in range(95)], Limits())
        scorer.close()
    assert scorer.usage() == {"search_units": 10}


def test_the_digest_names_what_changes_a_score_and_no_key():
    def digest(reference="cohere:m", url="https://a.example", env=ENV, **remote):
        model = ModelSettings(remote=RemoteSettings(endpoint=url, **remote))
        scorer = open_remote(reference, model, env, Report())
        scorer.close()
        return scorer.info.digest

    same = digest()
    assert digest(env={"CO_API_KEY": "other"}) == same
    assert digest(batch_docs=7, concurrency=1) == same
    assert (
        len({same, digest("cohere:n"), digest("cohere-v1:m"), digest(url="https://b.example"), digest(extra='{"a":1}')})
        == 5
    )
