"""A provider's failures reach clients of `rerank serve` with their meaning: theirs, the server's, or to try again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote.loopback import Loopback, as_json, cohere, drip, free_port, hang, in_turn, reset
from serve.harness import Program

from rerank_cli.errors import ProviderReply, RemoteError
from rerank_cli.server.provider_errors import http_error

KEY = "server-key-1234567890"


@pytest.fixture(scope="module")
def provider():
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def gateway(home, provider, *more):
    argv = ("-m", "cohere:rerank-v3.5", "--endpoint", provider.url, "--no-cache", *more)
    program = Program(home, *argv, env={"CO_API_KEY": KEY})
    yield program
    program.close()
    assert "Traceback" not in program.log
    assert KEY not in program.log


@pytest.fixture(scope="module")
def program(home, provider):
    yield from gateway(home, provider)


@pytest.fixture(scope="module")
def hasty(home, provider):
    """Only for providers that are silent: on a busy machine the others may need longer."""
    yield from gateway(home, provider, "--timeout", "0.7")


# What the provider answers -> status, part of the message, Retry-After
FAILURES = {
    "bad request": (as_json({"message": "top_n is odd"}, 400), 400, "refused the request: top_n is odd", None),
    "unprocessable": (as_json({"message": "a text is odd"}, 422), 422, "refused the request: a text is odd", None),
    "a text that is denied": (as_json({"message": "denied"}, 498), 422, "refused the request: denied", None),
    "wrong key": (as_json({"message": f"invalid token {KEY}"}, 401), 502, "refused the server's key", None),
    "no credit": (as_json({"message": "pay"}, 402), 502, "refused the server's key or account (402)", None),
    "forbidden": (as_json({"message": "no"}, 403), 502, "refused the server's key or account (403)", None),
    "no such model": (as_json({"message": "model not found"}, 404), 502, "failed (404)", None),
    "rate limit": (as_json({"message": "slow down"}, 429, Retry_After="7"), 429, "is busy: slow down", "7"),
    "a long wait": (as_json({"message": "slow down"}, 429, Retry_After="3600"), 429, "is busy", "3600"),
    "a short wait": (as_json({"message": "slow down"}, 429, retry_after_ms="20"), 429, "is busy", "1"),
    "no wait": (as_json({"message": "slow down"}, 429), 429, "is busy", None),
    "overloaded": (as_json({"message": "later"}, 503, Retry_After="3"), 503, "is busy: later", "3"),
    "broken": (as_json({"message": "oops"}, 500), 502, "failed (500)", None),
    "a proxy's page": ((502, {"Content-Type": "text/html"}, b"<html>bad gateway"), 502, "failed (502)", None),
    "gateway timeout": (as_json({}, 504), 504, "did not answer in time", None),
    "silence": (hang, 504, "did not answer in time", None),
    "a byte now and then": (drip("body"), 504, "did not answer in time", None),
    "half a reply": (reset, 502, "no valid answer", None),
    "not JSON": ((200, {"Content-Type": "application/json"}, b"{"), 502, "no valid answer", None),
    "too few scores": (as_json({"results": []}), 502, "no valid answer", None),
    "a score that is not a number": (
        (200, {"Content-Type": "application/json"}, b'{"results": [{"index": 0, "relevance_score": 1e999}]}'), 502, "", None,
    ),
}  # fmt: skip


SILENT = frozenset({"silence", "a byte now and then"})


@pytest.mark.parametrize("name", FAILURES)
def test_failures(program, hasty, provider, name):
    program = hasty if name in SILENT else program
    reply, status, words, retry_after = FAILURES[name]
    provider.answer = lambda _seen: reply
    provider.seen.clear()
    answer = program.post("/v2/rerank", query="q", documents=["a document"])
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after), answer.body
    assert words in answer.json["message"]
    assert KEY not in answer.body.decode()
    assert len(provider.seen) == 1, "the client tries again, not the server"


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_every_api_words_them_as_its_clients_expect(program, provider, path):
    provider.answer = lambda _seen: as_json({"message": "slow down"}, 429, Retry_After="7")
    answer = program.post(path, query="q", documents=["a"])
    assert "slow down" in answer.json["message"]
    assert "slow down" in answer.json["detail"]
    tei = program.post("/rerank", query="q", texts=["a"])
    assert (tei.status, tei.json["error_type"]) == (429, "overloaded")


def test_the_server_goes_on_after_any_failure(program, provider):
    provider.answer = cohere
    assert program.post("/v2/rerank", query="q", documents=["after"]).status == 200
    assert program.get("/ready").status == 200


def test_nobody_listens(home):
    argv = ("-m", "cohere:x", "--endpoint", f"http://127.0.0.1:{free_port()}")
    program = Program(home, *argv, env={"CO_API_KEY": KEY})
    answer = program.post("/v2/rerank", query="q", documents=["a"])
    program.close()
    assert (answer.status, "no valid answer" in answer.json["message"]) == (502, True)
    assert "cannot connect to http://127.0.0.1" in program.log, "the log says why"


def test_retries_of_the_server_itself(home):
    with Loopback(in_turn(as_json({}, 503), as_json({}, 429, Retry_After="0"))) as provider:
        argv = ("-m", "cohere:x", "--endpoint", provider.url, "--retries", "2", "--max-wait", "1")
        program = Program(home, *argv, env={"CO_API_KEY": KEY})
        answer = program.post("/v2/rerank", query="q", documents=["a"])
        program.close()
    assert (answer.status, len(provider.seen)) == (200, 3)


def test_a_listwise_model_is_not_split(home):
    with Loopback() as provider:
        argv = ("-m", "jina:jina-reranker-v3", "--endpoint", provider.url, "--batch-docs", "2")
        program = Program(home, *argv, env={"JINA_API_KEY": KEY})
        answer = program.post("/rerank", query="q", documents=["1", "2", "3"])
        program.close()
    assert (answer.status, provider.seen) == (400, [])
    assert "compares all documents of a request" in answer.json["message"]


@given(st.integers(100, 999), st.none() | st.floats(0, 1e6))
def test_no_status_of_a_provider_blames_the_client_s_key_or_says_success(status, wait_s):
    error = RemoteError("said", reply=ProviderReply(status, "said", wait_s))
    found = http_error(error, "m")
    assert found.status in {400, 413, 422, 429, 502, 503, 504}
    if "retry-after" in found.headers:
        assert found.status in {429, 503}
        assert int(found.headers["retry-after"]) >= max(1, wait_s)


def test_a_cache_that_cannot_be_used_is_a_warning(home, tmp_path):
    broken = tmp_path / "cache.sqlite"
    broken.write_bytes(b"this is not SQLite" * 100)
    with Loopback() as provider:
        argv = ("-m", "cohere:x", "--endpoint", provider.url, "--cache-path", str(broken))
        program = Program(home, *argv, env={"CO_API_KEY": KEY})
        statuses = [program.post("/v2/rerank", query="q", documents=["a"]).status for _ in range(2)]
        program.close()
    assert (statuses, len(provider.seen)) == ([200, 200], 2)
    assert "is unusable" in program.log
