"""Clients that do not send or read what they should are cut off, and cost the server little."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve.harness import HeldScorer, serving, wait_for

from rerank_cli.server import connection

HEAD = b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def connections(server):
    return len(server.server.server_state.connections)


def ask_without_reading(server):
    """A request for an answer of ten megabytes by a client that does not read it."""
    documents = [f"{i} {'x' * 200_000}" for i in range(50)]
    body = json.dumps({"query": "q", "documents": documents, "return_documents": True}).encode()
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", server.port))
    raw.settimeout(60)
    raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return raw


def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch):
    """Or its unread answer would stay in memory, and SIGTERM would wait for it."""
    monkeypatch.setattr(connection, "SEND_S", 0.5)
    with serving() as server:
        raw = ask_without_reading(server)
        wait_for(lambda: "status=200" in server.stderr.getvalue())
        wait_for(lambda: connections(server) == 0)
        raw.close()


def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch):
    monkeypatch.setattr(connection, "SEND_S", 0.5)
    monkeypatch.setattr(connection, "SEND_BYTES", 1)
    with serving() as server, ask_without_reading(server) as raw:
        found = bytearray()
        while not found.endswith(b"}}"):
            found += raw.recv(1 << 20)
            if len(found) % 8 == 0:
                time.sleep(0.01)
        answer = json.loads(found.partition(b"\r\n\r\n")[2])
        assert len(answer["results"]) == 50


@pytest.mark.parametrize("path", [b"/v2/rerank", b"/nowhere"])
def test_the_body_of_a_refused_request_has_a_time_limit(monkeypatch, path):
    monkeypatch.setattr(connection, "BODY_S", 0.3)
    with serving(keys=("key",)) as server, server.raw() as raw:
        raw.sendall(HEAD.replace(b"/v2/rerank", path) + b"Content-Length: 1000000\r\n\r\n{")
        assert raw.recv(64).startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 404 "))
        try:
            while connections(server):
                raw.sendall(b" ")
                time.sleep(0.01)
        except ConnectionError:
            pass
        wait_for(lambda: connections(server) == 0)


def test_a_connection_stays_usable_after_a_refused_body(monkeypatch):
    with serving(keys=("key",)) as server, server.raw() as raw:
        body = b'{"query": "q", "documents": ["a"]}'
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        assert raw.recv(64).startswith(b"HTTP/1.1 401 ")
        raw.sendall(body + HEAD + b"Api-Key: key\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        found = b""
        while b"HTTP/1.1 200 " not in found:
            found += raw.recv(4096)


@pytest.mark.parametrize("rest", [b"", b'uery": "q", "documents": ["a"]}'], ids=["never", "in time"])
def test_a_stop_does_not_wait_for_the_rest_of_a_body(monkeypatch, rest):
    monkeypatch.setattr(connection, "STOP_S", 1.0)
    body = b'{"q' + (rest or b" " * 100)
    with serving() as server, server.raw() as raw:
        raw.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:3])
        wait_for(lambda: server.app.admission.active == 1)
        server.server.should_exit = True
        start = time.monotonic()
        time.sleep(0.3)  # uvicorn looks ten times a second
        raw.sendall(rest)
        assert raw.recv(64)[:13] == (b"HTTP/1.1 200 " if rest else b"")
        server.thread.join(10)
        assert not server.thread.is_alive()
        assert time.monotonic() - start < 10


def test_bodies_of_unknown_length_do_not_fill_the_server():
    """Each counts as the largest body only until it has arrived."""
    scorer = HeldScorer()
    body = b'{"query": "q", "documents": ["a"]}'

    def ask(server):
        with server.raw() as raw:
            raw.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            return raw.recv(64)

    with serving(lambda: scorer) as server, ThreadPoolExecutor(20) as pool:
        answers = []
        for count in range(1, 21):
            answers.append(pool.submit(ask, server))
            wait_for(lambda n=count: server.app.admission.active == n)
        scorer.release()
        assert all(answer.result().startswith(b"HTTP/1.1 200 ") for answer in answers)
