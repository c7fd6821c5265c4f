"""`rerank serve` takes what clients and PDFs really hold, and refuses it with `--strict` where Cohere's API does."""

from __future__ import annotations

import json
import math

import pytest
from serve.harness import builtin, serving


@pytest.fixture(scope="module")
def free():
    """A scorer whose logit is the number that a text begins with."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def strict():
    with serving(strict=True) as server:
        yield server


@pytest.fixture(scope="module")
def real():
    with serving(builtin) as server:
        yield server


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# What is refused only because Cohere refuses it.
STRICT_ERRORS = {
    "all blank": ({"query": "q", "documents": ["", " "]}, 400, "invalid request: list of documents must not contain only empty strings or only whitespace"),
    "only one, blank": ({"query": "q", "documents": [""]}, 400, "invalid request: document at index 0 cannot be empty"),
    "too many": ({"query": "q", "documents": ["a"] * 10000}, 400, "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than 10000"),
    "too many chunks": ({"query": "q", "documents": ["a"] * 1000, "max_chunks_per_doc": 10}, 400, "invalid request: number of total max chunks (number of documents * max chunks per doc) must be less than 10000"),
    "top_n": ({"query": "q", "documents": ["a"], "top_n": 0}, 400, "invalid request: top_n must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", STRICT_ERRORS)
def test_strict_has_coheres_refusals(free, strict, name):
    value, status, message = STRICT_ERRORS[name]
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        answer = strict.post(path, json.dumps(value | {"model": "free"}).encode())
        if path == "/v2/rerank" and "max_chunks_per_doc" in value:
            continue  # v2 has no such field
        assert (answer.status, answer.json["message"]) == (status, message)
        assert free.post(path, json.dumps(value).encode()).status == 200


@pytest.mark.parametrize("text", ["", " ", "\uf0b7", "\x0c", "\ufffd", "\u200b", "\u00ad"])
def test_blank_documents_are_scored_lowest(real, text):
    """What PDFs hold between their paragraphs; some of them are tokens of a model, none refuses a request."""
    alone = real.post("/v2/rerank", query="q", documents=[text])
    assert (alone.status, list(alone.scores)) == (200, [0])
    beside = real.post("/v1/rerank", query="a question", documents=[text, "an answer to a question", text])
    assert sorted(beside.scores) == [0, 1, 2]
    assert next(iter(beside.scores)) == 1
    tei = real.post("/rerank", query="q", texts=[text, text])
    assert list(tei.scores) == [0, 1]
    if not text.strip():
        assert alone.scores == {0: 0.0}
        assert alone.json["meta"]["billed_units"]["search_units"] == 1
        assert json.loads(tei.headers["x-rerank-warnings"]) == ["2 documents are empty and scored lowest"]


NULLS = {
    "/v1/rerank": {"documents": ["1", None]},
    "/v2/rerank": {"documents": ["1", None]},
    "/rerank": {"texts": ["1", None]},
    "/voyage/v1/rerank": {"documents": ["1", None]},
    "/v1/ranking": {"passages": [{"text": "1"}, None]},
    "/v1/reranking": {"input": ["1", None]},
    "/v1/score": {"text_1": "q", "text_2": ["1", None]},
}


@pytest.mark.parametrize("path", NULLS)
def test_a_null_document_is_a_blank_one(real, strict, path):
    body = {"query": "q", "return_documents": True} | NULLS[path]
    answer = real.post(path, **body)
    assert answer.status == 200, answer.body
    assert "null" not in answer.body.decode().replace('"param":null', "")
    for version in ("/v1/rerank", "/v2/rerank"):
        refused = strict.post(version, query="q", documents=["1", None], model="free")
        assert refused.status == 422
        assert "documents[1] is of type null" in refused.json["message"]


def test_a_null_document_comes_last_and_is_sent_back_as_text(real):
    answer = real.post("/v1/rerank", query="q", documents=[None, "1", None], return_documents=True)
    assert answer.scores[0] == answer.scores[2] == 0.0
    assert [row["document"]["text"] for row in answer.json["results"]] == ["1", "", ""]
    assert answer.json["meta"]["warnings"] == ["2 documents are empty and scored lowest"]


@pytest.mark.parametrize("name", ["max_chunks_per_doc", "max_tokens_per_doc"])
@pytest.mark.parametrize("value", [0, 0.0, -1])
def test_a_limit_of_0_is_none(free, strict, name, value):
    path = {"max_chunks_per_doc": "/v1/rerank", "max_tokens_per_doc": "/v2/rerank"}[name]
    body = {"query": "q", "documents": ["1", "2"], "model": "free", name: value}
    assert free.post(path, **body).status == (400 if value else 200)
    refused = strict.post(path, **body)
    assert (refused.status, refused.json["message"]) == (400, f"invalid request: {name} must be at least 1")


def test_max_chunks_per_doc_limits_windows_only(free):
    """SiliconFlow's clients and RAGFlow send 1024."""
    answer = free.post("/v1/rerank", query="q", documents=[str(n) for n in range(10)], max_chunks_per_doc=1024)
    assert (answer.status, len(answer.scores)) == (200, 10)
    assert free.post("/v1/rerank", query="q", documents=["a"] * 10_000).status == 200


@pytest.mark.parametrize("top_n", [0, 0.0, None])
def test_a_top_n_of_0_means_all(free, top_n):
    assert len(free.post("/v1/rerank", query="q", documents=["1", "2"], top_n=top_n).scores) == 2
    assert len(free.post("/rerank", query="q", texts=["1", "2"], top_n=top_n).scores) == 2


def test_use_activation_false_returns_logits(free):
    assert free.post("/v1/rerank", query="q", documents=["3"], use_activation=False).scores == {0: 3.0}
    assert free.post("/v1/rerank", query="q", documents=["3"], use_activation="true").scores == {0: sigmoid(3)}


def test_texts_that_is_no_array_is_an_unknown_field_beside_documents(free):
    answer = free.post("/v1/rerank", query="q", documents=["3"], texts=True)
    assert answer.scores == {0: sigmoid(3)}
    assert answer.json["meta"]["warnings"] == ["unknown field `texts` is ignored"]


def parts(text):
    return {"content": [{"type": "text", "text": text}]}


@pytest.mark.parametrize("query", ["q", {"text": "q"}, parts("q")])
@pytest.mark.parametrize(
    "documents",
    [["1 a", "3 b"], [parts("1 a"), parts("3 b")], [{"text": "1 a"}, parts("3 b")], {"content": [{"type": "text", "text": "1 a"}, {"text": "3 b"}]}],
)  # fmt: skip
def test_texts_may_be_inside_objects(free, query, documents):
    answer = free.post("/v1/rerank", query=query, documents=documents, return_documents=True)
    assert answer.scores == {1: sigmoid(3), 0: sigmoid(1)}
    assert [row["document"]["text"] for row in answer.json["results"]] == ["3 b", "1 a"]
