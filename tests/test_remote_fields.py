"""Limits, instructions and objects are sent to the providers that have a field for them, else reported."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback, as_json
from remote.scoring import ENV, score

from rerank_cli.errors import UsageError
from rerank_cli.fields import make_renderer
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.cost import estimate
from rerank_cli.scorers.remote.native import fields_of
from rerank_cli.settings import FieldSettings, Limits, ModelSettings, RemoteSettings
from rerank_cli.text import is_blank, is_invisible

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


def test_limits_are_sent_where_there_is_a_field_and_reported_where_there_is_none():
    report = Report()
    body, _ = body_of("cohere:m", Limits(max_tokens_per_doc=300, max_chunks_per_doc=3), report=report)
    assert body["max_tokens_per_doc"] == 300
    assert "max_chunks_per_doc" not in body
    assert report.warnings() == ("cohere has no field for --max-chunks-per-doc: its own limit applies",)
    report = Report()
    body, _ = body_of("cohere-v1:m", Limits(max_tokens_per_doc=300, max_chunks_per_doc=3), report=report)
    assert body["max_chunks_per_doc"] == 3
    assert report.warnings() == ("cohere-v1 has no field for --max-tokens-per-doc: its own limit applies",)
    report = Report()
    body, _ = body_of("cohere:m", Limits(long_documents="error"), report=report)
    assert "--long-documents has no effect" in report.warnings()[0]


def test_documents_that_will_be_cut_are_reported():
    report = Report()
    with Loopback() as server:
        score(server.url, [Pair("q", "word " * 5000), Pair("q", "a")], report=report)
    assert report.notes == ["1 document is probably longer than 4096 tokens: cohere cuts there (--max-tokens-per-doc)"]


def test_extra_instruction_and_client_name_are_sent():
    body, headers = body_of("siliconflow:m", instruction="find parts", extra='{"overlap_tokens": 40}', client_name="me")
    assert body["instruction"] == "find parts"
    assert body["overlap_tokens"] == 40
    assert headers["x-client-name"] == "me"
    assert headers["user-agent"].startswith("rerank-cli/")
    body, _ = body_of("dashscope:m", instruction="find parts", extra='{"parameters": {"x": 1}}')
    assert body["parameters"] == {"return_documents": False, "instruct": "find parts", "x": 1, "top_n": 1}
    with pytest.raises(UsageError, match="cohere does not take --instruction"):
        body_of("cohere:m", instruction="find parts")


def test_instructions_go_into_the_query_where_voyage_documents_it():
    def sent(reference, instruction=None):
        seen = []

        def answer(request):
            seen.append(request.body)
            return as_json({"data": [{"index": 0, "relevance_score": 0.5}], "usage": {"total_tokens": 9}})

        with Loopback(answer) as server:
            model = ModelSettings(instruction=instruction, remote=RemoteSettings(endpoint=server.url, retries=0))
            scorer = open_remote(reference, model, ENV, Report())
            scorer.score([Pair("who pays {instruction}?", "a")], Limits())
            scorer.close()
        return seen[0], scorer.info.digest

    plain, digest = sent("voyage:rerank-2.5")
    assert plain["query"] == "who pays {instruction}?"
    for model in ("rerank-2.5", "rerank-2.5-lite", "rerank-3", "rerank-3-lite"):
        body, other = sent(f"voyage:{model}", "prefer {query} terms")
        assert body == {**plain, "model": model, "query": "prefer {query} terms\nQuery: who pays {instruction}?"}
        assert other != digest
    for model in ("rerank-2", "rerank-2-lite", "rerank-1", "rerank-lite-1"):
        with pytest.raises(UsageError, match=f"voyage: {model} does not follow instructions"):
            sent(f"voyage:{model}", "prefer terms")


def test_an_instruction_in_the_query_counts_as_tokens_of_every_document():
    pairs = [Pair("q" * 40, f"text {i}") for i in range(10)]
    with_it = estimate("voyage:rerank-3", pairs, ModelSettings(instruction="i" * 400))
    assert (
        with_it.tokens - estimate("voyage:rerank-3", pairs, ModelSettings()).tokens == 10 * 102
    )  # 408 of 4 characters


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


def test_objects_hold_strings_and_blank_ones_are_not_sent():
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
def test_objects_are_sent_only_to_providers_that_take_them(reference, native, objects):
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
    whole = {name: document[name] for name in TITLE_BODY if not is_blank(document.get(name, ""))}
    expected = {k: "" if is_invisible(v) else v.encode("utf-8", "replace").decode() for k, v in whole.items()}
    assert fields_of(pair.text, TITLE_BODY) == (expected if any(expected.values()) else None)
