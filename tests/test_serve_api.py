"""`rerank serve` answers the APIs of Cohere, Jina and TEI, with their paths, fields and error messages."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve.harness import builtin, serving

from rerank_cli.server.adapters import adapter_of_path

QUERY = "how do I reset the router?"
DOCS = [
    "Hold the recessed pin for ten seconds.",
    "The office opens at nine.",
    "Routers forward packets between networks.",
]


@pytest.fixture(scope="module")
def free():
    """A scorer whose logit is the number that a text begins with."""
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def strict():
    with serving(strict=True, names=("house-model",)) as server:
        yield server


@pytest.fixture(scope="module")
def real():
    with serving(builtin) as server:
        yield server


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


PATHS = {
    "/v2/rerank": "2", "/v1/rerank": "1", "/rerank": "1", "/v2/rerank/": "2", "/v1/v2/rerank": "2", "/v1/v1/rerank": "1",
    "/v1/rerank/v1/rerank": "1", "/v1/rerank/v2/rerank": "2", "/openai/deployments/x/v1/rerank": "1", "/reranking": "1",
    "/v2//rerank": "2", "//v1//rerank//": "1", "/v1/reranking": "1", "/compatible-api/v1/reranks": "1", "/providers/cohere/v2/rerank": "2",
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_base_url_of_real_set_ups_works(free, path):
    answer = free.post(path, query="q", documents=["1 a", "2 b"])
    assert answer.status == 200
    assert answer.json["meta"]["api_version"] == {"version": PATHS[path]}
    assert list(answer.scores) == [1, 0]


@pytest.mark.parametrize("path", ["/index.html", "/v1", "/v2/rerankx", "/rerank/x", "/xrerank", "/v1/chat", "/docs/x"])
def test_other_paths_are_not_found(free, path):
    assert free.post(path, query="q", documents=["a"]).status == 404
    answer = free.get(path)
    assert (answer.status, answer.json["message"]) == (404, answer.json["detail"])
    assert answer.json["message"].startswith("404 page not found: POST to a path that ends with /v2/rerank, ")


def test_a_whole_response(free):
    answer = free.post("/v2/rerank", query="two words", documents=["1 a", "3 b", "2 c"], model="rerank-v3.5", top_n=2)
    body = answer.json
    assert body.pop("id") == answer.headers["x-request-id"]
    assert body == {
        "model": "free",
        "results": [{"index": 1, "relevance_score": sigmoid(3)}, {"index": 2, "relevance_score": sigmoid(2)}],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 9, "output_tokens": 0},
            "warnings": ["model `rerank-v3.5` is served by `free`"],
        },
        "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9},
    }
    assert answer.headers["content-type"] == "application/json"


def test_scores_are_floats_and_search_units_are_integers(free):
    """OpenSearch wants floats, LiteLLM whole search units: a score of 1 must be 1.0, units 1 and not 1.0."""
    text = free.post("/v2/rerank", query="q", documents=["900 x", "-900 y"]).body.decode()
    assert '"relevance_score":1.0}' in text
    assert '"relevance_score":0.0}' in text
    assert '"search_units":1}' in text


def test_cohere_v1_with_objects(free):
    documents = [{"title": "1", "body": "Nine"}, {"title": "5", "body": "Form", "n": 7}, {"body": "x"}]
    answer = free.post(
        "/v1/rerank", query="q", documents=documents, rank_fields=["body", "title"], return_documents=True, top_n=5
    )
    results = answer.json["results"]
    assert {r["index"] for r in results} == {0, 1, 2}
    for result in results:
        sent = documents[result["index"]]
        assert result["document"].items() >= sent.items()
    by_index = {r["index"]: r["document"]["text"] for r in results}
    assert by_index[0] == "body: Nine\ntitle: '1'\n"
    plain = free.post("/v1/rerank", query="q", documents=[{"text": "4 x", "a": 1}, "3 y"], return_documents=True)
    assert plain.json["results"] == [
        {"index": 0, "relevance_score": sigmoid(4), "document": {"text": "4 x", "a": 1}},
        {"index": 1, "relevance_score": sigmoid(3), "document": {"text": "3 y"}},
    ]


@pytest.mark.parametrize("text", [None, 12, ["a"], {"b": 1}])
def test_text_of_a_document_that_comes_back_is_a_string(free, text):
    sent = {"title": "7 x", "text": text}
    answer = free.post("/v1/rerank", query="q", documents=[sent], rank_fields=["title"], return_documents=True)
    assert answer.json["results"][0]["document"] == {"title": "7 x", "text": "title: 7 x\n"}


def test_documents_come_back_as_they_were_sent(free):
    body = b'{"query": "q", "return_documents": true, "documents": [{"text": "a", "n": 123456789012345678901234567890, "s": "\\ud83d"}]}'
    (result,) = free.post("/v1/rerank", body).json["results"]
    assert result["document"] == {"text": "a", "n": 123456789012345678901234567890, "s": "\ud83d"}


@pytest.mark.parametrize("other", ["1", '"\\ud83d"', "99999999999999999999"])
def test_numbers_that_could_not_be_sent_back_are_refused(free, other):
    body = b'{"query": "q", "return_documents": true, "documents": [{"text": "a", "x": [1e999, %s]}]}'
    answer = free.post("/v1/rerank", body % other.encode())
    assert (answer.status, answer.json["message"]) == (
        422,
        "document at index 0 has a number beyond the range of a double",
    )
    digits = free.post("/v1/rerank", b'{"query": "q", "documents": ["a"], "top_n": %s}' % (b"9" * 5000))
    assert digits.status == 400
    assert digits.json["message"].startswith("invalid json syntax: a number has too many digits")


@pytest.mark.parametrize("value", [True, "true", "True"])
def test_booleans_may_be_strings(free, value):
    (result,) = free.post("/v2/rerank", query="q", documents=["a"], return_documents=value, return_len="true").json[
        "results"
    ]
    assert result["document"] == {"text": "a"}


def test_explicit_nulls_count_as_absent(free):
    nulls = dict.fromkeys(
        ("model", "top_n", "rank_fields", "return_documents", "max_tokens_per_doc", "max_chunks_per_doc", "texts")
    )
    answer = free.post("/v2/rerank", {"query": "q", "documents": ["1", "2"], **nulls})
    assert answer.status == 200
    assert answer.json["meta"]["warnings"] == []
    assert "document" not in answer.json["results"][0]


@pytest.mark.parametrize(("top_n", "expected"), [(None, 3), (1, 1), (3, 3), (99, 3), (2.0, 2)])
def test_top_n_limits_the_results(free, top_n, expected):
    assert len(free.post("/v2/rerank", query="q", documents=["1", "2", "3"], top_n=top_n).json["results"]) == expected


def test_ties_keep_their_order_and_scores_fall(free):
    results = free.post("/v2/rerank", query="q", documents=["1 b", "2", "1 a", "2 c"]).json["results"]
    assert [r["index"] for r in results] == [1, 3, 0, 2]


def test_equal_texts_have_equal_scores(free):
    assert free.post("/v2/rerank", query="q", documents=["3", "1", "3"]).scores == {
        0: sigmoid(3),
        2: sigmoid(3),
        1: sigmoid(1),
    }


def test_unknown_fields_are_named(free):
    answer = free.post("/v2/rerank", query="q", documents=["a"], top_k=3, priority=5, foo={"a": 1})
    assert answer.json["meta"]["warnings"] == [
        "unknown field `top_k` is ignored; did you mean `top_n`?",
        "field `priority` has no effect on this server",
        "unknown field `foo` is ignored",
    ]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
def test_a_body_with_texts_gets_a_tei_response(free, path):
    answer = free.post(path, query="q", texts=["1 a", "3 b"], truncate=True)
    assert answer.json == [{"index": 1, "score": sigmoid(3)}, {"index": 0, "score": sigmoid(1)}]
    assert answer.headers["x-compute-tokens"] == "2"
    raw = free.post(path, query="q", texts=["1 a", "3 b"], raw_scores=True, return_text="true", top_n=1)
    assert raw.json == [{"index": 1, "score": 3.0, "text": "3 b"}]
    bad = free.post(path, query="", texts=["a"])
    assert (bad.status, bad.json["error_type"]) == (400, "empty")
    assert bad.json["error"].startswith("invalid request")
    warned = free.post(path, query="q", texts=["a"], x=1)
    assert json.loads(warned.headers["x-rerank-warnings"]) == ["unknown field `x` is ignored"]


def test_tei_without_truncation_refuses_what_does_not_fit(real):
    answer = real.post("/rerank", query="q", texts=["short", "word " * 2000], truncate=False)
    assert (answer.status, answer.json["error_type"]) == (422, "validation")
    assert "document at index 1" in answer.json["error"]
    assert real.post("/rerank", query="q", texts=["short", "word " * 2000], truncate=True).status == 200
    query = real.post("/rerank", query="word " * 1000, texts=["short"], truncate=False)
    assert (query.status, query.json["error_type"]) == (422, "validation")
    assert "the query has 1000 tokens" in query.json["error"]


def test_tei_responses_warn_of_cut_and_non_latin_texts(real):
    def warnings(**fields):
        return json.loads(real.post("/rerank", **fields).headers.get("x-rerank-warnings", "[]"))

    assert warnings(query="q", texts=["a"]) == []
    assert warnings(query="word " * 400, texts=["a", "b " * 5000]) == [
        "1 document was cut (max_tokens_per_doc 4096)",
        "the query was cut to half of the model's window",
    ]
    (foreign,) = warnings(query="как сбросить роутер", texts=["Удерживайте кнопку десять секунд"])
    assert "Latin" in foreign


ERRORS = {
    "no query": ({"documents": ["a"]}, 400, "invalid request: query must not be empty or be only whitespace"),
    "blank query": ({"query": " \n", "documents": ["a"]}, 400, "invalid request: query must not be empty or be only whitespace"),
    "no documents": ({"query": "q"}, 400, "invalid request: list of documents must not be empty"),
    "empty list": ({"query": "q", "documents": []}, 400, "invalid request: list of documents must not be empty"),
    "no field": ({"query": "q", "documents": ["a"], "rank_fields": []}, 400, "invalid request: rank_fields cannot be empty, it must either contain at least one field or be omitted"),
    "too many": ({"query": "q", "documents": ["a"] * 10001}, 400, "invalid request: this server takes at most 10000 documents per request"),
    "top_n": ({"query": "q", "documents": ["a"], "top_n": -1}, 400, "invalid request: top_n must be at least 1"),
    "type": ({"query": "q", "documents": ["a"], "top_n": "3"}, 422, "invalid type: parameter top_n is of type string but should be of type integer. For proper usage, please refer to https://docs.cohere.com/reference/rerank"),
    "bool": ({"query": "q", "documents": ["a"], "top_n": True}, 422, "invalid type: parameter top_n is of type boolean but should be of type integer. For proper usage, please refer to https://docs.cohere.com/reference/rerank"),
    "documents": ({"query": "q", "documents": "a"}, 422, "invalid type: parameter documents is of type string but should be of type array. For proper usage, please refer to https://docs.cohere.com/reference/rerank"),
    "number": ({"query": "q", "documents": ["a", 5]}, 422, "invalid type: parameter documents[1] is of type integer but should be of type string or object. For proper usage, please refer to https://docs.cohere.com/reference/rerank"),
    "no object": ([1], 422, "invalid type: parameter body is of type array but should be of type object. For proper usage, please refer to https://docs.cohere.com/reference/rerank"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_coheres_messages(free, name):
    value, status, message = ERRORS[name]
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        answer = free.post(path, json.dumps(value).encode())
        assert (answer.status, answer.json["message"]) == (status, message)
        assert answer.json["detail"] == message
        assert answer.json["id"] == answer.headers["x-request-id"]


def test_documents_that_all_lack_the_fields_get_an_error_that_lists_their_own(free):
    answer = free.post("/v1/rerank", query="q", documents=[{"body": "b"}, {"body": "c"}])
    assert answer.status == 400
    message = "invalid request: none of 2 documents has field `text`; they have `body` (2); "
    assert answer.json["message"] == message + 'did you mean `"rank_fields": ["body"]`? 2 of 2 have `body`'
    answer = free.post("/v1/rerank", query="q", documents=[{"body": "b"}, {"body": "c"}], rank_fields=["body"])
    assert answer.status == 200
    answer = free.post("/v2/rerank", query="q", documents=[{"body": "b"}, {"body": "c"}], rank_fields=["body"])
    assert answer.status == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"query":"q","documents":["a",]}', "remove the comma before `]`"),
        (b'{"query":"q","documents":["a"],"x":NaN}', "write `null` instead"),
        (b'{"query":"q","documents":["a"', "is it complete?"),
        (b"{'query':'q','documents':['a']}", "JSON has double quotes"),
    ],
)
def test_broken_json_says_what_to_change(free, body, words):
    answer = free.post("/v1/rerank", body)
    assert answer.status == 400
    assert answer.json["message"].startswith("invalid json syntax: ")
    assert words in answer.json["message"]


EMPTY_DOCUMENTS = ["", {"text": None}, {"text": " "}, {"text": ""}, {"body": "b"}, {"text": []}]


@pytest.mark.parametrize("document", EMPTY_DOCUMENTS, ids=json.dumps)
def test_null_missing_and_empty_texts_are_scored_lowest_or_refused_if_strict(free, strict, document):
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        answer = free.post(path, query="q", documents=[document, {"text": "2 a"}, {"text": "-3 b"}])
        assert answer.status == 200, answer.json
        assert [row["index"] for row in answer.json["results"]] == [1, 2, 0]
        assert answer.json["results"][2]["relevance_score"] == 0.0
        assert "1 document is empty and scored lowest" in answer.json["meta"]["warnings"]
    raw = free.post("/rerank", query="q", documents=["-3 b", document], raw_scores=True)
    assert [row["relevance_score"] for row in raw.json["results"]] == [-3.0, -3.0]
    refused = strict.post("/v1/rerank", query="q", documents=[{"text": "a"}, document])
    assert (refused.status, refused.json["message"]) == (400, "invalid request: document at index 1 cannot be empty")


def test_an_empty_text_of_a_tei_request_is_scored_lowest(free):
    answer = free.post("/rerank", query="q", texts=["", "2 a", " "])
    assert [row["index"] for row in answer.json] == [1, 0, 2]
    assert [row["score"] for row in answer.json[1:]] == [0.0, 0.0]


def test_a_rank_field_that_no_document_has_is_a_warning(free):
    answer = free.post("/v1/rerank", query="q", rank_fields=["title", "tilte"], documents=[{"title": "a"}])
    assert answer.status == 200
    assert "no document has the rank field `tilte`; did you mean `title`?" in str(answer.json["meta"]["warnings"])


def test_a_document_without_known_tokens_is_empty(real):
    answer = real.post("/v2/rerank", query="q", documents=["\x00\x01", "a"])
    assert [(row["index"], row["relevance_score"]) for row in answer.json["results"]][1] == (0, 0.0)
    alone = real.post("/v2/rerank", query="q", documents=["\x00\x01"])
    assert alone.scores == {0: 0.0}
    assert alone.json["meta"]["warnings"] == ["1 document is empty and scored lowest"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1,", b'{"a": NaN}', b"\xff\xfe", b'{"query": "\xff"}', b'{"a":1} x', b"[" * 100_000]
)
def test_invalid_json_is_refused(free, body):
    answer = free.post("/v2/rerank", body)
    assert answer.status == 400
    assert answer.json["message"].startswith("invalid json syntax: ")


def test_strict_refuses_as_cohere_does(strict):
    answer = strict.post("/v2/rerank", query="q", documents=["a"], model="free", top_k=1)
    assert answer.status == 422
    assert answer.json["message"] == (
        "unknown field: parameter 'top_k' is not a valid field. For proper usage, please refer to https://docs.cohere.com/reference/rerank"
    )
    assert strict.post("/v2/rerank", query="q", documents=["a"], model="free", rank_fields=["a"]).status == 422
    assert strict.post("/v1/rerank", query="q", documents=[{"a": "b"}], rank_fields=["a"]).status == 200
    objects = strict.post("/v2/rerank", query="q", documents=["b", {"text": "a"}], model="free")
    assert objects.status == 422
    assert "parameter documents[1] is of type object but should be of type string" in objects.json["message"]
    missing = strict.post("/v2/rerank", query="q", documents=["a"])
    assert (missing.status, missing.json["message"]) == (400, "a model parameter is required for this endpoint.")
    other = strict.post("/v1/rerank", query="q", documents=["a"], model="xyz")
    assert (other.status, other.json["message"]) == (
        404,
        "model 'xyz' not found, make sure the correct model ID was used and that you have access to the model.",
    )
    for name in ("free", "house-model"):
        assert strict.post("/v2/rerank", query="q", documents=["a"], model=name).json["meta"]["warnings"] == []
    assert strict.post("/rerank", query="q", texts=["a"], foo=1).json["error_type"] == "validation"


def test_search_units_count_what_the_model_read(real):
    long = "the " * 510  # 510 tokens: two chunks of v3.5, one of v3.0
    for model, expected in (("rerank-v3.5", 2), ("rerank-english-v3.0", 1)):
        answer = real.post("/v2/rerank", query=QUERY, documents=[long, "short"] * 30, model=model)
        assert answer.json["meta"]["billed_units"] == {"search_units": 1}
        answer = real.post("/v2/rerank", query=QUERY, documents=[long] * 51, model=model)
        assert answer.json["meta"]["billed_units"] == {"search_units": expected}


def test_cut_texts_are_reported(real):
    answer = real.post("/v2/rerank", query="word " * 400, documents=["a " * 50, "b"], max_tokens_per_doc=10)
    assert answer.json["meta"]["warnings"] == [
        "1 document was cut (max_tokens_per_doc 10)",
        "the query was cut to half of the model's window",
    ]
    chunked = real.post("/v1/rerank", query="q", documents=["word " * 900], max_chunks_per_doc=2)
    assert chunked.json["meta"]["warnings"] == ["1 document was cut (max_tokens_per_doc 4096, max_chunks_per_doc 2)"]
    foreign = real.post("/v2/rerank", query="как сбросить роутер", documents=["Удерживайте кнопку десять секунд"])
    assert any("Latin" in warning for warning in foreign.json["meta"]["warnings"])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/v2/rerank", "POST"), ("PUT", "/rerank", "POST"), ("POST", "/health", "GET, HEAD")],
)
def test_wrong_methods_name_the_allowed_ones(free, method, path, allow):
    answer = free.send(method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


@given(st.text(alphabet="/v12rerank.x", max_size=30))
def test_any_path_has_at_most_one_meaning(path):
    adapter = adapter_of_path(path)
    route = adapter and adapter.api
    stripped = re.sub("/+", "/", path).rstrip("/")
    assert (route == "v2") == stripped.endswith("/v2/rerank")
    assert (route == "v1") == stripped.endswith("/v1/rerank")
