"""The exact requests of each API's clients get replies of its form, with the ranking of `rerank rank`.

Requests and replies are those of the providers' references, or of their clients' code.
"""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve.harness import builtin, serving

QUERY = "how do I reset the router?"
DOCS = ["1 the office", "3 hold the pin", "2 routers"]
ORDER = [1, 2, 0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


SCORES = {0: sigmoid(1), 1: sigmoid(3), 2: sigmoid(2)}


@pytest.fixture(scope="module")
def free():
    """A scorer whose logit is the number that a text begins with."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def strict():
    with serving(strict=True) as server:
        yield server


def texts(documents):
    return [{"text": text} for text in documents]


def wanted(rows):
    return {row["index"]: row["score"] for row in rows}


# API -> path, body of query and documents, headers, {index: score} of a reply in its order.
SHAPES = {
    "cohere v2": ("/v2/rerank", lambda q, d: {"model": "rerank-v3.5", "query": q, "documents": d}, {}, "results"),
    "cohere v1": ("/v1/rerank", lambda q, d: {"query": q, "documents": d, "return_documents": True}, {}, "results"),
    "jina": ("/v1/rerank", lambda q, d: {"model": "jina-reranker-v3", "query": q, "documents": d, "top_n": len(d)}, {}, "results"),
    "vllm": ("/vllm/v2/rerank", lambda q, d: {"model": "m", "query": q, "documents": d}, {}, "results"),
    "infinity": ("/infinity/rerank", lambda q, d: {"model": "m", "query": q, "documents": d, "return_documents": True}, {}, "results"),
    "xinference": ("/v1/rerank", lambda q, d: {"model": "m", "query": q, "documents": d, "top_n": None, "return_len": None, "kwargs": "{}"}, {}, "results"),
    "siliconflow": ("/v1/rerank", lambda q, d: {"model": "m", "query": q, "documents": d, "top_n": len(d), "max_chunks_per_doc": 1024, "overlap_tokens": 80}, {}, "results"),
    "dashscope compatible": ("/compatible-api/v1/reranks", lambda q, d: {"model": "qwen3-rerank", "query": q, "documents": d}, {}, "results"),
    "tei": ("/rerank", lambda q, d: {"query": q, "texts": d, "raw_scores": False, "truncate": True}, {}, "tei"),
    "voyage": ("/v1/rerank", lambda q, d: {"query": q, "documents": d, "model": "rerank-2.5", "top_k": None, "truncation": True}, {}, "data"),
    "voyage top_k": ("/v1/rerank", lambda q, d: {"query": q, "documents": d, "model": "rerank-2.5", "top_k": 1000}, {}, "data"),
    "voyage npm": ("/v1/rerank", lambda q, d: {"query": q, "documents": d, "model": "rerank-2.5"}, {"X-Fern-SDK-Name": "voyageai"}, "data"),
    "mixedbread": ("/v1/reranking", lambda q, d: {"model": "m", "query": q, "input": d, "top_k": 100, "return_input": False}, {}, "mixedbread"),
    "dashscope": ("/api/v1/services/rerank/text-rerank/text-rerank", lambda q, d: {"model": "gte-rerank-v2", "input": {"query": q, "documents": d}, "parameters": {"top_n": 1000, "return_documents": False}}, {}, "dashscope"),
    "pinecone": ("/rerank", lambda q, d: {"model": "bge-reranker-v2-m3", "query": q, "documents": texts(d), "rank_fields": ["text"], "return_documents": True}, {"X-Pinecone-Api-Version": "2026-04"}, "pinecone"),
    "nvidia": ("/v1/ranking", lambda q, d: {"model": "m", "query": {"text": q}, "passages": texts(d), "truncate": "END"}, {}, "nvidia"),
    "nvidia hosted": ("/v1/retrieval/nvidia/llama-3_2-nv-rerankqa-1b-v2/reranking", lambda q, d: {"model": "m", "query": {"text": q}, "passages": texts(d)}, {}, "nvidia"),
    "weaviate": ("/rerank", lambda q, d: {"query": q, "documents": d, "property": ""}, {}, "weaviate"),
    "score": ("/v1/score", lambda q, d: {"model": "m", "text_1": q, "text_2": d}, {}, "score"),
    "score one list": ("/score", lambda q, d: {"model": "m", "text_1": [q], "text_2": d}, {}, "score"),
    "score pairs": ("/score", lambda q, d: {"model": "m", "text_1": [q] * len(d), "text_2": d}, {}, "score"),
    "score queries": ("/score", lambda q, d: {"model": "m", "queries": q, "documents": d}, {}, "score"),
    "score objects": ("/score", lambda q, d: {"text_1": texts([q])[0], "text_2": {"content": [{"type": "text", "text": text} for text in d]}}, {}, "score"),
}  # fmt: skip
READERS = {
    "results": lambda body: {row["index"]: row["relevance_score"] for row in body["results"]},
    "tei": wanted,
    "data": lambda body: {row["index"]: row["relevance_score"] for row in body["data"]},
    "mixedbread": lambda body: wanted(body["data"]),
    "pinecone": lambda body: wanted(body["data"]),
    "dashscope": lambda body: {row["index"]: row["relevance_score"] for row in body["output"]["results"]},
    "nvidia": lambda body: {row["index"]: sigmoid(row["logit"]) for row in body["rankings"]},
    "weaviate": lambda body: by_score(enumerate(row["score"] for row in body["scores"])),
    "score": lambda body: by_score((row["index"], row["score"]) for row in body["data"]),
}


def by_score(pairs):
    """For replies that keep the order of the documents, which these two do."""
    rows = list(pairs)
    assert [index for index, _ in rows] == list(range(len(rows)))
    return dict(sorted(rows, key=lambda row: -row[1]))


def ask(server, name, query, documents):
    path, body, headers, reader = SHAPES[name]
    answer = server.post(path, body(query, documents), headers)
    assert answer.status == 200, answer.body
    return READERS[reader](answer.json)


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_gets_its_reply(free, name):
    found = ask(free, name, QUERY, DOCS)
    assert list(found) == ORDER
    assert found == pytest.approx(SCORES)


@pytest.mark.parametrize(
    "name", ["tei", "voyage npm", "mixedbread", "dashscope", "nvidia", "score", "weaviate", "pinecone"]
)
def test_strict_refuses_no_shape_but_those_that_cohere_would_read_otherwise(strict, name):
    path, body, headers, reader = SHAPES[name]
    value = body(QUERY, DOCS) | ({"model": "free"} if name not in {"tei", "weaviate"} else {})
    answer = strict.post("/rerank" if name == "voyage npm" else path, value, headers)
    assert answer.status == 200, answer.body
    assert READERS[reader](answer.json) == pytest.approx(SCORES)


@given(st.lists(st.integers(-30, 30).map(lambda n: f"{n} text"), min_size=1, max_size=12))
def test_every_shape_gives_the_same_ranking(free, documents):
    expected = ask(free, "cohere v2", QUERY, documents)
    for name in SHAPES:
        found = ask(free, name, QUERY, documents)
        assert list(found) == list(expected), name
        assert found == pytest.approx(expected), name


def test_voyage(free):
    body = {"query": QUERY, "documents": DOCS, "model": "rerank-2.5", "top_k": 2, "return_documents": True}
    answer = free.post("/v1/rerank", body)
    assert answer.json == {
        "object": "list",
        "data": [
            {"index": 1, "relevance_score": sigmoid(3), "document": DOCS[1]},
            {"index": 2, "relevance_score": sigmoid(2), "document": DOCS[2]},
        ],
        "model": "free",
        "usage": {"total_tokens": answer.json["usage"]["total_tokens"]},
    }
    assert answer.json["usage"]["total_tokens"] > 0
    assert json.loads(answer.headers["x-rerank-warnings"]) == ["model `rerank-2.5` is served by `free`"]
    refused = free.post("/v1/rerank", body | {"top_k": -1})
    assert (refused.status, refused.json) == (400, {"detail": "invalid request: top_k must be at least 1"})


def test_nvidia(free):
    answer = free.post("/v1/ranking", query={"text": QUERY}, passages=texts(DOCS), top_k=2, truncate="END")
    assert answer.json["rankings"] == [{"index": 1, "logit": 3.0}, {"index": 2, "logit": 2.0}]
    refused = free.post("/v1/ranking", query={"text": QUERY}, passages="a")
    assert refused.status == 422
    assert refused.json["detail"].startswith("invalid type: parameter passages is of type string")
    image = free.post("/v1/ranking", query={"text": QUERY}, passages=[{"text": "3"}, {"image": "data:"}])
    assert image.json["rankings"] == [{"index": 0, "logit": 3.0}, {"index": 1, "logit": 0.0}]


def test_mixedbread(free):
    answer = free.post("/v1/reranking", model="m", query=QUERY, input=DOCS, top_k=1, return_input=True)
    body = answer.json
    assert body["data"] == [{"index": 1, "score": sigmoid(3), "object": "rank_result", "input": DOCS[1]}]
    assert (body["object"], body["top_k"], body["return_input"]) == ("list", 1, True)
    fields = free.post("/v1/reranking", query=QUERY, input=[{"a": "3"}, {"a": "4"}], rank_fields=["a"])
    assert {row["index"] for row in fields.json["data"]} == {0, 1}
    refused = free.post("/v1/reranking", query=QUERY, input=[3])
    assert "parameter input[0] is of type integer" in refused.json["message"]


def test_dashscope(free):
    value = SHAPES["dashscope"][1](QUERY, DOCS) | {
        "parameters": {"top_n": 1, "return_documents": True, "instruct": "x"}
    }
    answer = free.post(SHAPES["dashscope"][0], value)
    assert answer.json == {
        "output": {"results": [{"index": 1, "relevance_score": sigmoid(3), "document": {"text": DOCS[1]}}]},
        "usage": {"total_tokens": answer.json["usage"]["total_tokens"]},
        "request_id": answer.headers["x-request-id"],
    }
    refused = free.post(SHAPES["dashscope"][0], {"input": {"query": "", "documents": ["a"]}})
    assert (refused.status, refused.json["code"]) == (400, "InvalidParameter")
    assert refused.json["message"] == "invalid request: query must not be empty or be only whitespace"
    shape = free.post(SHAPES["dashscope"][0], {"input": "a"})
    assert shape.json["message"].startswith(
        "invalid type: parameter input is of type string but should be of type object"
    )


def test_pinecone(free):
    path, body, headers, _ = SHAPES["pinecone"]
    answer = free.post(path, body(QUERY, DOCS) | {"top_n": 1, "parameters": {"truncate": "END"}}, headers)
    assert answer.json == {
        "model": "free",
        "data": [{"index": 1, "score": sigmoid(3), "document": {"text": DOCS[1]}}],
        "usage": {"rerank_units": 1},
    }
    refused = free.post(path, body("", DOCS), headers)
    assert refused.json["error"]["code"] == "INVALID_ARGUMENT"
    assert refused.json["status"] == refused.status == 400


def test_weaviate(free):
    """The request of its module reranker-transformers, which reads scores by position."""
    answer = free.post("/rerank", query=QUERY, documents=DOCS, property="")
    assert answer.json["scores"] == [{"document": text, "score": SCORES[i]} for i, text in enumerate(DOCS)]
    one = free.post("/rerank", query=QUERY, documents=None, property="3 a")
    assert (one.json["property"], one.json["score"]) == ("3 a", sigmoid(3))
    refused = free.post("/rerank", query="", documents=DOCS, property="")
    assert refused.json == {"error": "invalid request: query must not be empty or be only whitespace"}


def test_score_of_pairs(free):
    answer = free.post("/score", text_1=["q", "r", "q", "s"], text_2=["1 a", "2 b", "", "2 b"], use_activation=False)
    assert answer.json["data"] == [
        {"index": index, "object": "score", "score": score} for index, score in enumerate([1.0, 2.0, 0.0, 2.0])
    ]
    assert free.post("/score", text_1="q", text_2="1").json["data"][0]["score"] == sigmoid(1)
    refused = free.post("/score", text_1=["q", "r"], text_2=["1", "2", "3"])
    assert refused.status == 400
    assert "text_1 has 2 texts and text_2 has 3" in refused.json["error"]["message"]
    for queries in ([], ["q", ""], ["q", 3]):
        assert free.post("/score", text_1=queries, text_2=["1", "2"]).status in {400, 422}


def test_pairs_are_scored_as_each_query_alone():
    """By the embedded model, equal pairs and blank texts among them."""
    queries = ["reset the router", "opening hours", "reset the router", "opening hours", "reset the router"]
    documents = ["Hold the pin.", "The office opens at nine.", "", "Hold the pin.", "Hold the pin."]
    with serving(builtin) as server:
        found = server.post("/score", text_1=queries, text_2=documents).json
        alone = {query: server.post("/v1/rerank", query=query, documents=documents).scores for query in queries}
    assert [row["score"] for row in found["data"]] == [alone[query][n] for n, query in enumerate(queries)]
    assert found["usage"]["total_tokens"] > 0


def test_documents_come_back_where_only_the_path_tells(free):
    for base in ("/vllm/v1", "/vllm/v2", "/vllm"):
        answer = free.post(f"{base}/rerank", model="m", query=QUERY, documents=DOCS, top_n=1)
        assert answer.json["results"][0]["document"] == {"text": DOCS[1]}
    answer = free.post("/infinity/rerank", query=QUERY, documents=DOCS, top_n=1, return_documents=True)
    assert answer.json["results"][0]["document"] == DOCS[1]
    ollama = free.post("/api/rerank", model="m", query=QUERY, documents=DOCS)
    assert all("document" not in row for row in ollama.json["results"])


def test_metrics_name_the_api(free):
    free.post("/v1/ranking", query={"text": QUERY}, passages=texts(DOCS))
    assert 'route="nvidia"' in free.get("/metrics").body.decode()
