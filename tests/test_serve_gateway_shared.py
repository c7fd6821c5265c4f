"""Equal requests that are in flight at the same time reach the provider once; a client that leaves takes nobody along."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from remote.loopback import Loopback, as_json, cohere
from serve.harness import Program, wait_for
from test_serve_gateway import DOCS, KEY, QUERY, expected, figures

CLIENTS = 20


class Provider(Loopback):
    """Holds every answer until `held` is set."""

    def __init__(self) -> None:
        self.held = threading.Event()
        super().__init__(self.slow)
        self.outcome = cohere

    def slow(self, seen):
        assert self.held.wait(60)
        return self.outcome(seen)


@pytest.fixture
def provider():
    with Provider() as server:
        yield server
        server.held.set()


@pytest.fixture
def serve(provider, tmp_path):
    programs = []

    def start(*argv):
        named = ("-m", "cohere:rerank-v3.5", "--endpoint", provider.url, *argv)
        programs.append(Program(tmp_path, *named, env={"CO_API_KEY": KEY}))
        return programs[-1]

    yield start
    for program in programs:
        program.close()
        assert "Traceback" not in program.log


def inside(program, number):
    wait_for(lambda: f"rerank_requests_inside {number}.0".encode() in program.get("/metrics").body)


def sent(program, documents):
    """The connection of a client that may leave."""
    body = json.dumps({"query": QUERY, "documents": documents}).encode()
    head = f"POST /v2/rerank HTTP/1.1\r\nHost: 127.0.0.1:{program.port}\r\nContent-Type: application/json\r\n"
    connection = program.raw()
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def together(program, provider, number=CLIENTS, **members):
    """The answers to so many equal requests, all of which were there before the provider answered."""
    body = {"query": QUERY, "documents": DOCS} | members
    with ThreadPoolExecutor(number) as pool:
        found = [pool.submit(program.post, "/v2/rerank", body) for _ in range(number)]
        inside(program, number)
        provider.held.set()
        return [one.result() for one in found]


def test_equal_requests_at_the_same_time_are_billed_once(serve, provider):
    program = serve("--max-units", "1")
    answers = together(program, provider)
    assert {answer.status for answer in answers} == {200}, answers[0].body
    assert all(answer.scores == expected(DOCS) for answer in answers)
    assert sorted(answer.json["meta"]["billed_units"]["search_units"] for answer in answers) == [0] * (CLIENTS - 1) + [
        1
    ]
    assert len(provider.seen) == 1
    assert sum(figures(program, "rerank_search_units_total").values()) == 1
    assert sum(figures(program, "rerank_cached_pairs_total").values()) == (CLIENTS - 1) * len(DOCS)
    after = program.post("/v2/rerank", query=QUERY, documents=DOCS)
    assert [after.scores, len(provider.seen)] == [expected(DOCS), 1]


def test_a_failure_is_given_to_all_that_waited_and_is_not_kept(serve, provider):
    program = serve()
    provider.outcome = lambda _seen: as_json({"message": "the provider is ill"}, 500)
    answers = together(program, provider)
    assert {answer.status for answer in answers} == {502}
    assert len({answer.json["message"] for answer in answers}) == 1
    assert len(provider.seen) == 1
    provider.outcome = cohere
    assert program.post("/v2/rerank", query=QUERY, documents=DOCS).scores == expected(DOCS)


def test_a_first_client_that_leaves_does_not_cancel_the_others(serve, provider):
    """Requests of one document each, one after the other: what the first has not sent yet is sent for the others."""
    program = serve("--batch-docs", "1", "--concurrency", "1")
    first = sent(program, DOCS)
    wait_for(lambda: len(provider.seen) == 1)
    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(program.post, "/v2/rerank", query=QUERY, documents=DOCS) for _ in range(3)]
        inside(program, 4)
        first.close()
        inside(program, 3)
        provider.held.set()
        answers = [one.result() for one in others]
    assert all(answer.scores == expected(DOCS) for answer in answers)
    assert len(provider.seen) == len(DOCS)
    units = sorted(answer.json["meta"]["billed_units"]["search_units"] for answer in answers)
    assert units == [0, 0, len(DOCS)], "what the first began is billed to one of the others"
    assert sum(figures(program, "rerank_search_units_total").values()) == len(DOCS)


def test_a_request_that_all_have_left_is_not_joined(serve, provider):
    program = serve("--concurrency", "1")
    blocking = sent(program, ["something else"])
    wait_for(lambda: len(provider.seen) == 1)
    left = sent(program, DOCS)
    inside(program, 2)
    left.close()
    inside(program, 1)
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(program.post, "/v2/rerank", query=QUERY, documents=DOCS)
        inside(program, 2)
        provider.held.set()
        assert again.result().scores == expected(DOCS)
    blocking.close()
    assert [seen.body["documents"] for seen in provider.seen] == [["something else"], DOCS]


@pytest.mark.parametrize(("argv", "calls"), [((), 1), (("--no-cache",), 4), (("--cache-mode", "ro"), 1)])
def test_without_a_cache_every_request_is_sent(serve, provider, argv, calls):
    answers = together(serve(*argv), provider, 4)
    assert all(answer.scores == expected(DOCS) for answer in answers)
    assert len(provider.seen) == calls


@pytest.mark.parametrize("other", [{"max_tokens_per_doc": 7}, {"query": "another"}, {"documents": DOCS[::-1]}])
def test_requests_that_differ_are_not_shared(serve, provider, other):
    program = serve()
    with ThreadPoolExecutor(2) as pool:
        bodies = [{"query": QUERY, "documents": DOCS} | members for members in ({}, other)]
        found = [pool.submit(program.post, "/v2/rerank", body) for body in bodies]
        inside(program, 2)
        provider.held.set()
        assert [one.result().status for one in found] == [200, 200]
    assert len(provider.seen) == 2
