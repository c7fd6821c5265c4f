"""`rerank serve` enforces keys, sizes, queues and time limits, and shuts down in order."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve.harness import HeldScorer, Program, serving, wait_for

from rerank_cli.server import connection as server_connection
from rerank_cli.server import settings as server_settings
from rerank_cli.server.admission import check_key

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def small():
    with serving(max_body=2000, max_documents=5, max_query=20, max_document=30) as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"query": "q" * 21, "documents": ["a"]}, 422, "the query has 21 characters; this server takes at most 20"),
        ({"query": "q", "documents": ["a", "b" * 31]}, 422, "document at index 1 has 31 characters"),
        ({"query": "q", "documents": [{"text": "b" * 31}]}, 422, "document at index 0 has 31 characters"),
        ({"query": "q", "documents": ["a"] * 6}, 400, "at most 5 documents per request"),
        (
            {"query": "q", "documents": ["a"], "pad": "x" * 2000},
            413,
            "the body is too large: this server takes at most 2000 bytes",
        ),
    ],
)
def test_oversized_requests_are_refused(small, fields, status, words):
    answer = small.post("/v2/rerank", fields)
    assert answer.status == status
    assert words in answer.json["message"]
    if "documents" in fields and all(isinstance(d, str) for d in fields["documents"]):
        tei = small.post("/rerank", {"query": fields["query"], "texts": fields["documents"], "pad": fields.get("pad")})
        assert tei.status == status


def test_a_body_of_unknown_length_is_measured_while_it_comes(small):
    with small.raw() as raw:
        raw.sendall(
            b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(5):
            raw.sendall(b"200\r\n" + b" " * 512 + b"\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    assert small.post("/v2/rerank", query="q", documents=["a"]).status == 200


def test_a_client_that_sends_too_much_still_gets_the_error(small):
    """The rest of the body is read for a moment, or the client would see a reset instead of the answer."""
    assert small.post("/v2/rerank", b" " * 5_000_000).status == 413


@pytest.mark.parametrize("depth", [63, 64, 65, 5000])
def test_deep_nesting_is_refused(depth):
    with serving() as server:
        nested = "[" * (depth - 1) + "]" * (depth - 1)
        answer = server.post("/v1/rerank", b'{"query": "q", "documents": [{"text": "a", "x": %s}]}' % nested.encode())
        assert answer.status == (200 if depth <= 64 else 400 if depth > 1000 else 422)
        ignored = server.post("/v1/rerank", b'{"query": "q", "documents": ["a"], "x": [%s]}' % nested.encode())
        assert ignored.status == answer.status


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json"]
)
def test_other_content_types_are_refused(small, kind):
    """A form is what any web page may send to a server on loopback without asking."""
    answer = small.send("POST", "/v2/rerank", b'{"query": "q", "documents": ["a"]}', {"content-type": kind})
    assert answer.status == 415
    assert answer.json["message"]


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", None]
)
def test_content_types_of_json_are_taken(small, kind):
    headers = {} if kind is None else {"content-type": kind}
    assert small.send("POST", "/v2/rerank", b'{"query": "q", "documents": ["a"]}', headers).status == 200


def test_compressed_bodies_are_refused(small):
    assert small.post("/v2/rerank", b"\x1f\x8b", headers={"content-encoding": "gzip"}).status == 415


KEYS = ("first-key", "zweiter-schlüssel")


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "no api key supplied"),
        ({"authorization": "Bearer wrong"}, 401, "invalid api token"),
        ({"authorization": "Basic first-key"}, 401, "no api key supplied"),
        ({"authorization": "Bearer "}, 401, "no api key supplied"),
        ({"authorization": "Bearer first-key"}, 200, None),
        ({"authorization": "bearer first-key"}, 200, None),
        ({"authorization": "BEARER  first-key "}, 200, None),
        ({"api-key": "first-key"}, 200, None),
        ({"api-key": "first-key", "authorization": "Bearer"}, 200, None),
        ({"api-key": "first-key", "authorization": "Basic abc"}, 200, None),
        ({"x-api-key": "first-key"}, 200, None),
        ({"authorization": "Bearer zweiter-schlüssel".encode().decode("latin-1")}, 200, None),
        ({"authorization": "Bearer first-keyx"}, 401, "invalid api token"),
    ],
)
def test_keys_are_checked(headers, status, message):
    with serving(keys=KEYS) as server:
        answer = server.post("/v2/rerank", query="q", documents=["a"], headers=headers)
        assert answer.status == status
        if message:
            assert (answer.json["message"], answer.json["detail"]) == (message, message)
            assert answer.headers["www-authenticate"] == "Bearer"
        assert server.get("/metrics", **headers).status == status
        assert server.get("/health").status == server.get("/ready").status == 200
        assert server.get("/openapi.json").json["components"]["securitySchemes"]
    assert not any(key in server.stderr.getvalue() for key in KEYS)


def test_without_keys_any_key_will_do():
    check_key({"authorization": "Bearer whatever"}, ())


def test_a_full_queue_answers_429_and_recovers():
    scorer = HeldScorer()
    with serving(lambda: scorer, max_queue=3) as server, ThreadPoolExecutor(8) as pool:
        accepted = [pool.submit(server.post, "/v2/rerank", query="q", documents=[str(i)]) for i in range(3)]
        wait_for(lambda: server.app.admission.active == 3)
        for _ in range(5):
            answer = server.post("/v2/rerank", query="q", documents=["a"])
            assert answer.status == 429
            assert int(answer.headers["retry-after"]) >= 1
        tei = server.post("/rerank", query="q", texts=["a"])
        assert tei.status == 429
        assert server.get("/health").status == 200
        scorer.release()
        assert [future.result().status for future in accepted] == [200] * 3
        assert server.post("/v2/rerank", query="q", documents=["a"]).status == 200
        assert server.app.admission.active == 0
        assert server.worker.waiting == 0


def test_a_request_has_a_time_limit():
    scorer = HeldScorer()
    with serving(lambda: scorer, timeout_s=0.3) as server:
        answer = server.post("/v2/rerank", query="q", documents=["a"])
        assert (answer.status, answer.json["message"]) == (504, "no answer within 0.3 seconds")
        tei = server.post("/rerank", query="q", texts=["a"])
        assert (tei.status, tei.json["error_type"]) == (504, "overloaded")
        scorer.release()
        assert server.post("/v2/rerank", query="q", documents=["a"]).status == 200
        wait_for(lambda: server.worker.waiting == 0)


def test_a_client_that_goes_away_frees_its_work():
    scorer = HeldScorer()
    with serving(lambda: scorer) as server:
        body = json.dumps({"query": "q", "documents": [f"{i} {'long ' * 500}" for i in range(200)]}).encode()
        raw = server.raw()
        raw.sendall(
            b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % len(body)
            + body
        )
        assert scorer.entered.acquire(timeout=30)
        before = server.worker.waiting
        raw.close()
        wait_for(lambda: server.app.admission.active == 0)
        assert server.worker.waiting < before
        scorer.release()
        assert server.post("/v2/rerank", query="q", documents=["a"]).status == 200
        assert sum(map(len, scorer.batches)) < 50, "the rest was not scored"
        assert "status=499" in server.stderr.getvalue()


def test_slow_headers_are_cut_off(monkeypatch):
    """Slow loris: many connections that never finish their headers must not stay, nor stop others."""
    monkeypatch.setattr(server_connection, "HEADER_S", 0.3)
    with serving() as server:
        slow = [server.raw() for _ in range(30)]
        for raw in slow[10:]:
            raw.sendall(b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\n")
        for raw in slow[20:]:
            raw.sendall(b"X-A: b\r\n")
        assert server.post("/v2/rerank", query="q", documents=["a"]).status == 200
        for raw in slow:
            assert raw.recv(1) == b"", "closed by the server"
            raw.close()
        assert server.post("/v2/rerank", query="q", documents=["a"]).status == 200


def test_slow_bodies_are_cut_off(monkeypatch):
    monkeypatch.setattr("rerank_cli.server.admission.BODY_S", 0.3)
    monkeypatch.setattr("rerank_cli.server.admission.DISCARD_S", 0.1)
    with serving() as server, server.raw() as raw:
        raw.sendall(
            b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 408 ")
        wait_for(lambda: server.app.admission.active == 0)


def test_a_connection_is_used_again(monkeypatch):
    """The time for headers starts again for each request of a connection, and stops while a response is prepared."""
    monkeypatch.setattr(server_connection, "HEADER_S", 0.3)
    scorer = HeldScorer()
    with serving(lambda: scorer) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("POST", "/v2/rerank", b'{"query": "q", "documents": ["a"]}', JSON)
            assert scorer.entered.acquire(timeout=30)
            time.sleep(0.5)
            scorer.release(1)
            reply = connection.getresponse()
            assert (reply.status, bool(reply.read())) == (200, True)
            time.sleep(0.4)
            assert connection.sock is first
        connection.close()


@pytest.mark.parametrize("garbage", [b"\x00\xff\r\n\r\n", b"GET /nowhere HTTP/9.9\r\n\r\n", b"POST /v2/rerank HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                                     b"POST /rerank HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n"])  # fmt: skip
def test_invalid_http_closes_only_its_connection(small, garbage):
    with small.raw() as raw:
        try:
            raw.sendall(garbage)
            first = raw.recv(64)
        except ConnectionError:
            first = b""
        assert first == b"" or first.startswith(b"HTTP/1.1 4")
    assert small.post("/v2/rerank", query="q", documents=["a"]).status == 200


def test_every_limit_has_its_place():
    assert server_settings.ServeSettings().host == "127.0.0.1"
    assert "first-key" not in repr(server_settings.ServeSettings(keys=KEYS))


def test_sigterm_finishes_what_was_accepted(home):
    """Real processes: the answer to an accepted request comes after the signal, new ones are refused."""
    program = Program(home)
    try:
        documents = [f"{i} " + "some words about routers and their pins " * 5 for i in range(60)]
        results = []
        thread = threading.Thread(
            target=lambda: results.append(program.post("/v2/rerank", query="reset the router", documents=documents))
        )
        thread.start()
        wait_for(lambda: results or b"rerank_requests_inside 1.0" in program.get("/metrics").body)
        program.process.terminate()
        wait_for(lambda: refused(program))
        thread.join(60)
        code = program.wait()
    finally:
        program.close()
    assert results[0].status == 200
    assert len(results[0].json["results"]) == 60
    assert code == 143
    assert "Traceback" not in program.log


def refused(program: Program) -> bool:
    try:
        answer = program.post("/v2/rerank", query="q", documents=["a"])
    except OSError:
        return True
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status == 503


def test_the_last_response_of_a_connection_says_so():
    """A kept connection ends with the response to the last request accepted before the signal, and says so."""
    scorer = HeldScorer()
    with serving(lambda: scorer) as server, ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.post, "/v2/rerank", query="q", documents=["1"])
        assert scorer.entered.acquire(timeout=30)
        server.app.admission.draining = True
        scorer.release()
        assert (accepted.result().status, accepted.result().headers["connection"]) == (200, "close")
        server.app.admission.draining = False


def test_after_the_signal_the_port_answers_until_the_last_accepted_request_is_done(home):
    """Clients and probes see 503 and Retry-After, not a refused connection."""
    program = Program(home)
    try:
        documents = [f"{i} " + "some words about routers and their pins " * 40 for i in range(150)]
        thread = threading.Thread(target=lambda: program.post("/v2/rerank", query="reset", documents=documents))
        thread.start()
        wait_for(lambda: b"rerank_requests_inside 1.0" in program.get("/metrics").body)
        program.process.terminate()
        wait_for(lambda: program.post("/v2/rerank", query="q", documents=["a"]).status == 503)
        assert program.get("/ready").status == 503
        thread.join(60)
        assert program.wait() == 143
    finally:
        program.close()


def test_a_small_request_cannot_cost_much():
    """Names are compared to guess what was meant, and fields are looked up in every document: both have a limit."""
    fields = {f"f{n}": "a" for n in range(1500)}
    with serving() as server:
        named = server.post("/v1/rerank", query="x", documents=[fields], rank_fields=[f"g{n}" for n in range(1500)])
        assert (named.status, "at most 100" in named.json["message"]) == (422, True)
        missing = server.post("/v1/rerank", query="x", documents=[fields], rank_fields=[f"g{n}" for n in range(100)])
        assert missing.status == 400
        unknown = server.post("/v1/rerank", query="x", documents=["a"], **{f"u{n}": 1 for n in range(18_000)})
        assert unknown.status == 200


def test_draining_refuses_with_retry_after():
    with serving() as server:
        server.app.admission.draining = True
        answer = server.post("/v2/rerank", query="q", documents=["a"])
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert server.get("/ready").status == 503
        assert server.get("/health").status == 200
        server.app.admission.draining = False


START_UP_ERRORS = {
    "a key file that is none": (["--keys-file", "missing.txt"], 3, "cannot read the keys"),
    "a variable without keys": (["--keys-env", "NOTHING"], 2, "has no key"),
    "a key instead of a variable": (["--keys-env", "sk-123"], 2, "not the name of an environment variable"),
    "a port out of range": (["--port", "70000"], 2, "is too large"),
    "an address of nobody": (["--host", "192.0.2.1", "--port", "0"], 2, "cannot listen on 192.0.2.1"),
    "a remote model without a key": (["-m", "cohere:rerank-v3.5", "--port", "0"], 2, "`CO_API_KEY` is unset"),
    "an unknown provider": (["-m", "coherre:x"], 2, "did you mean `cohere`"),
    "an option of providers for a local model": (["--max-units", "5"], 2, "--max-units belongs to a remote endpoint"),
    "units of a provider that bills tokens": (
        ["-m", "voyage:rerank-2.5", "--max-units", "5", "--port", "0"],
        2,
        "but voyage bills tokens",
    ),
    "a key for two providers": (
        ["-m", "cohere:a", "-m", "jina:b", "--api-key-env", "K"],
        2,
        "--api-key-env would count for all providers",
    ),
    "an instruction that a provider does not take": (
        ["-m", "cohere:rerank-v3.5", "--instruction", "x", "--api-key-env", "PATH", "--port", "0"],
        2,
        "--instruction",
    ),
    "offline": (["-m", "cohere:rerank-v3.5", "--offline", "--api-key-env", "K", "--port", "0"], 2, "K"),
    "a model that is not there": (["-m", "./nowhere", "--port", "0"], 4, "nowhere"),
    "a positional argument": (["docs.jsonl"], 2, "docs.jsonl"),
}


@pytest.mark.parametrize("name", START_UP_ERRORS)
def test_start_up_errors_have_codes_and_hints(run, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, code, words = START_UP_ERRORS[name]
    done = run("serve", *argv)
    assert done.code == code, done.err
    assert words in done.err
    assert done.out == b""


def test_a_taken_port_is_reported_before_the_model_is_loaded(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "--port", str(taken.getsockname()[1]), "-m", "./nowhere")
    assert done.code == 2
    assert "cannot listen on 127.0.0.1" in done.err
    assert "--port" in done.err


def test_keys_of_file_and_variable(home, tmp_path):
    (tmp_path / "keys").write_text("\ufeffalpha\n# team\n\nbeta\n")
    program = Program(home, "--keys-file", str(tmp_path / "keys"), "--keys-env", "K", env={"K": "gamma,delta"})
    try:
        for key, status in {"alpha": 200, "beta": 200, "gamma": 200, "delta": 200, "# team": 401, "K": 401}.items():
            headers = {"authorization": f"Bearer {key}"}
            assert program.post("/v2/rerank", query="q", documents=["a"], headers=headers).status == status
        program.process.send_signal(2)
        assert program.wait() == 130
    finally:
        program.close()
    assert "alpha" not in program.log
