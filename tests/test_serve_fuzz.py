"""Whatever a client sends, the server answers with JSON, never with a 500 or a traceback."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve.harness import serving

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(max_size=30)
documents = st.lists(
    texts | st.dictionaries(st.sampled_from(["text", "title", "a.b", "id"]), values, max_size=3) | values, max_size=6
)
FIELDS = ("query", "documents", "texts", "model", "top_n", "rank_fields", "return_documents", "max_chunks_per_doc",
          "max_tokens_per_doc", "raw_scores", "return_text", "truncate", "truncation_direction", "priority", "top_k",
          "truncation", "passages", "input", "parameters", "property", "text_1", "text_2", "use_activation")  # fmt: skip
likely = st.fixed_dictionaries(
    {"query": texts, "documents": documents},
    optional={
        "model": texts, "top_n": st.integers(-2, 9) | st.floats(), "rank_fields": st.lists(st.sampled_from(["text", "title", "a.b"])),
        "return_documents": st.booleans() | st.sampled_from(["true", "False", "x"]), "max_chunks_per_doc": st.integers(0, 5),
        "max_tokens_per_doc": st.integers(-1, 2**70), "texts": st.lists(texts, max_size=4), "raw_scores": st.booleans(),
        "return_text": st.booleans(), "truncate": st.booleans(),
    },
)  # fmt: skip
foreign = st.fixed_dictionaries(
    {"query": texts | st.fixed_dictionaries({"text": texts})},
    optional={
        "passages": documents, "input": documents | st.fixed_dictionaries({"query": texts, "documents": documents}),
        "parameters": st.fixed_dictionaries({"top_n": st.integers(-1, 3)}), "property": texts, "documents": documents,
        "text_1": texts | st.lists(texts, max_size=4), "text_2": texts | documents, "top_k": st.integers(-1, 9),
        "truncation": st.booleans(), "truncate": st.sampled_from(["NONE", "END", "x"]), "use_activation": st.booleans(),
        "top_n": st.integers(-1, 3),
    },
)  # fmt: skip
bodies = likely | foreign | st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=8) | values
infinite = st.sampled_from(["Infinity", "1e999"])  # the second is JSON, and no double
paths = st.sampled_from(
    [
        "/rerank",
        "/v1/rerank",
        "/v2/rerank",
        "/x/v2/rerank/",
        "/v1/ranking",
        "/score",
        "/text-rerank/text-rerank",
        "/vllm/rerank",
    ]
)
ERRORS = [
    {"id", "message", "detail"}, {"error", "error_type"}, {"detail"}, {"error"}, {"code", "message", "request_id"}, {"error", "status"},
]  # fmt: skip
SCORES = ("score", "relevance_score", "logit")

many = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(scope="module", params=[False, True], ids=["lenient", "strict"])
def server(request):
    with serving(strict=request.param, max_query=25, max_document=25) as server:
        yield server
        assert server.app.admission.active == 0
        assert server.worker.waiting == 0
        assert server.worker.alive


def rows_of(reply):
    """The rows of a response, whichever API."""
    if isinstance(reply, list):
        return reply
    reply = reply.get("output", reply)
    return next(reply[name] for name in ("results", "data", "rankings", "scores") if name in reply)


def check(answer):
    """A reply as promised: JSON, a status that is documented, an order that holds."""
    assert answer.status in {200, 400, 404, 413, 422}, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert b"Traceback" not in answer.body
    reply = answer.json
    if answer.status != 200:
        assert set(reply) in ERRORS
        return
    rows = rows_of(reply)
    scores = [next(row[name] for name in SCORES if name in row) for row in rows]
    assert all(isinstance(score, float) for score in scores)
    if "scores" not in reply and not any(row.get("object") == "score" for row in rows):  # in the order of the request
        assert scores == sorted(scores, reverse=True)
    assert len({row.get("index", number) for number, row in enumerate(rows)}) == len(rows)
    if isinstance(reply, dict) and "meta" in reply:
        assert isinstance(reply["meta"]["billed_units"]["search_units"], int)


@many
@given(path=paths, body=bodies, infinity=infinite)
def test_any_json_value_gets_a_valid_response(server, path, body, infinity):
    check(server.post(path, json.dumps(body).replace("Infinity", infinity).encode()))


@many
@given(path=paths, body=st.binary(max_size=200))
def test_any_bytes_get_a_valid_response(server, path, body):
    check(server.post(path, body))


@many
@given(path=paths, body=bodies, data=st.data())
def test_a_damaged_body_gets_a_valid_response(server, path, body, data):
    """A right body with one byte changed, cut or doubled."""
    text = bytearray(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    at = data.draw(st.integers(0, max(0, len(text) - 1)))
    text[at : at + 1] = data.draw(st.binary(max_size=2))
    check(server.post(path, bytes(text)))


@settings(max_examples=50, deadline=None)
@given(headers=st.dictionaries(st.sampled_from(["authorization", "content-type", "x-request-id", "api-key", "accept", "expect-x"]),
                               st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)))  # fmt: skip
def test_any_headers_get_a_valid_response(server, headers):
    answer = server.send("POST", "/v1/rerank", b'{"query": "q", "documents": ["a"]}', headers)
    assert answer.status in {200, 400, 415}
    assert answer.headers["content-type"].startswith(("application/json", "text/plain"))


@settings(max_examples=50, deadline=None)
@given(
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
    method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD"]),
)
def test_any_path_gets_a_valid_response(server, path, method):
    answer = server.send(method, "/" + path)
    assert answer.status in {200, 400, 404, 405, 415}
