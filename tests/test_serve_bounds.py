"""What a request may cost `rerank serve` is limited before it is spent: connections, memory, log lines, guesses."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import resource
import socket
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve.harness import HeldScorer, serving, wait_for

from rerank_cli.server import admission, body_limits, connection_limit, log, run
from rerank_cli.server.body_limits import check_counts
from rerank_cli.server.connection_limit import ConnectionLimit
from rerank_cli.server.http_errors import HttpError
from rerank_cli.server.json_body import load
from rerank_cli.server.log import Log
from rerank_cli.server.settings import ServeSettings
from rerank_cli.terminal import Terminal

SIZE = 2 << 20  # bytes of a body; the default limit is 16 MiB


def open_connections(server):
    return len(server.server.server_state.connections)


def test_idle_connections_give_way_to_new_ones():
    with serving(max_connections=20) as server:
        idle = [server.raw() for _ in range(100)]
        for raw in idle[::3]:
            raw.sendall(b"POST /v2/rerank HTTP/1.1\r\nHost: localhost\r\n")
        assert server.get("/health").status == 200
        assert server.post("/v2/rerank", query="q", documents=["1"]).status == 200
        wait_for(lambda: open_connections(server) <= 20)
        for raw in idle:
            raw.close()
    lines = [line for line in server.stderr.getvalue().splitlines() if "--max-connections" in line]
    assert len(lines) >= 1


def test_requests_in_progress_do_not_give_way():
    scorer = HeldScorer()
    with serving(lambda: scorer, max_connections=3) as server, ThreadPoolExecutor(3) as pool:
        working = [pool.submit(server.post, "/v2/rerank", query="q", documents=[str(n)]) for n in range(3)]
        wait_for(lambda: server.app.admission.active == 3)
        with server.raw() as more:  # no connection is idle, so the new one is closed
            assert more.recv(1) == b""
        scorer.release()
        assert [each.result().status for each in working] == [200] * 3
        assert server.get("/health").status == 200


class Fake:
    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


def test_the_connection_that_was_idle_longest_is_closed():
    said = []
    limit = ConnectionLimit(3, said.append)
    one, two, three, four, five = (Fake() for _ in range(5))
    for each in (one, two, three):
        limit.add(each)
    limit.set_idle(one, idle=False)
    limit.set_idle(one, idle=True)  # it has been answered: now it is the latest
    limit.set_idle(two, idle=True)  # a part of a header came: it keeps its place
    limit.add(four)
    assert (one.aborted, two.aborted, three.aborted) == (False, True, False)
    for each in (one, three, four):
        limit.set_idle(each, idle=False)
    limit.add(five)
    assert five.aborted
    assert len(said) == 2


def test_a_connection_that_cannot_be_accepted_is_one_line():
    """As when the process has no descriptors left, which asyncio reports hundreds of times."""
    with serving() as server:
        loop = server.server.servers[0].get_loop()
        for _ in range(500):
            context = {
                "message": "socket.accept() out of system resource",
                "exception": OSError(errno.EMFILE, "Too many open files"),
            }
            loop.call_soon_threadsafe(loop.call_exception_handler, context)
        assert server.get("/health").status == 200
        lines = server.stderr.getvalue()
    assert 1 <= lines.count("Too many open files") < 100


def test_lines_about_connections_are_at_most_one_per_second(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    stderr = io.StringIO()
    written = Log(Terminal(io.BytesIO(), io.BytesIO(), stderr), access=True, tracebacks=False)
    for _ in range(1000):
        written.connection("too many")
        now[0] += 0.01
    lines = stderr.getvalue().splitlines()
    assert len(lines) in {10, 11}
    assert "(99 more times since the last such line)" in lines[1] or "(100 more" in lines[1]


def test_the_limit_of_open_files_is_raised(monkeypatch):
    limits = {}
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _which, pair: limits.update(new=pair))
    spare = connection_limit.SPARE_FILES
    assert connection_limit.raise_file_limit(1024) == 1024
    assert limits["new"] == (1024 + spare, 4096)
    assert connection_limit.raise_file_limit(100_000) == 4096 - spare
    monkeypatch.setattr(resource, "setrlimit", lambda *_: (_ for _ in ()).throw(ValueError))
    assert connection_limit.raise_file_limit(1024) == 1


SHAPES = {
    "empty objects": b'{"query": "q", "documents": [%s]}' % b",".join([b"{}"] * (SIZE // 3)),
    "empty lists": b'{"query": "q", "documents": [%s]}' % b",".join([b"[]"] * (SIZE // 3)),
    "empty strings": b'{"query": "q", "documents": [%s]}' % b",".join([b'""'] * (SIZE // 3)),
    "short strings": b'{"query": "q", "texts": [%s]}' % b",".join([b'"ab"'] * (SIZE // 5)),
    "escaped strings": b'{"query": "q", "documents": [%s]}' % b",".join([rb'"\"\\"'] * (SIZE // 7)),
    "numbers": b'{"query": "q", "documents": [%s]}' % b",".join([b"1.5"] * (SIZE // 4)),
    "objects": b'{"query": "q", "documents": [%s]}' % b",".join([b'{"a":{}}'] * (SIZE // 9)),
    "one list within": b'{"query": "q", "documents": [[%s]]}' % b",".join([b"{}"] * (SIZE // 3)),
    "one document": b'{"query": "q", "documents": [{"text": "a", "x": [%s]}]}' % b",".join([b"{}"] * (SIZE // 3)),
    "a query": b'{"query": [%s], "documents": ["a"]}' % b",".join([b"[]"] * (SIZE // 3)),
    "rank fields": b'{"query": "q", "documents": ["a"], "rank_fields": [%s]}' % b",".join([b'"a"'] * (SIZE // 4)),
    "an unknown member": b'{"query": "q", "documents": ["a"], "x": [%s]}' % b",".join([b"{}"] * (SIZE // 3)),
    "a list alone": b"[%s]" % b",".join([b"{}"] * (SIZE // 3)),
    "objects without an end": b'{"documents": [' + b"{}," * (SIZE // 3),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_refused_body_takes_little_memory(name):
    """Counts are checked before values are built."""
    body = bytearray(SHAPES[name])
    check_counts(bytearray(SIZE), ServeSettings())  # imports
    tracemalloc.start()
    with pytest.raises(HttpError) as caught:
        check_counts(body, ServeSettings())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.status in {400, 422}
    assert peak <= 4 * len(body)


LONG_TEXTS = {"an emoji": "a" * (SIZE - 40) + "😀", "escapes and an emoji": "😀" + r"plain \u00e9 \n" * (SIZE // 14)}


@pytest.mark.parametrize("name", LONG_TEXTS)
def test_a_text_far_too_long_is_refused_before_it_is_built(name):
    body = f'{{"query": "q", "documents": ["{LONG_TEXTS[name]}"]}}'.encode()
    with pytest.raises(HttpError, match="more than 500000 characters") as caught:
        check_counts(body, ServeSettings(max_document=500_000))
    assert caught.value.status == 422


@pytest.mark.parametrize("name", SHAPES)
def test_such_bodies_are_refused_by_the_server(name):
    with serving() as server:
        answer = server.post("/v1/rerank", SHAPES[name])
        assert answer.status in {400, 422}
        assert answer.json["message"]


def structure(body):
    """Elements of the longest list that is a member, and values, as the parsed body has them."""
    value = json.loads(body)
    return max((len(each) for each in value.values() if isinstance(each, list)), default=0)


TEXTS = ["", "a", 'with "quotes"', "back\\slash", "\\", '\\"', "[{,:", "}]", "ü😀", "\u2028", "x" * 70_000]


@pytest.mark.parametrize("block", [7, 64, 1 << 20])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_elements_are_counted_as_a_parser_does(monkeypatch, block, ascii_only):
    """Whatever strings hold, and wherever blocks end."""
    monkeypatch.setattr(body_limits, "BLOCK", block)
    monkeypatch.setattr(body_limits, "SMALL", 0)
    monkeypatch.setattr(body_limits, "FEW", 1)
    texts = [text for text in TEXTS if block > 64 or len(text) < 100]
    for count in range(1, 40):
        documents = [{"text": texts[n % len(texts)], "k[,": [n, {"": [texts[-n % len(texts)]]}]} for n in range(count)]
        body = json.dumps(
            {"query": ["a", '"', "b"], "documents": documents, "x": {"a": 1, "b": 2}}, ensure_ascii=ascii_only
        )
        raw = body.encode()
        most = structure(raw)
        check_counts(raw, ServeSettings(max_documents=most))
        with pytest.raises(HttpError, match=f"at most {most - 1} documents"):
            check_counts(raw, ServeSettings(max_documents=most - 1))


@given(text=st.text(max_size=300), ascii_only=st.booleans(), block=st.sampled_from([1, 7, 64]))
def test_a_text_within_the_limit_is_never_refused(text, ascii_only, block):
    body = json.dumps({"query": "q", "documents": [text]}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_limits, "BLOCK", block)
        patch.setattr(body_limits, "SMALL", 0)
        check_counts(body, ServeSettings(max_document=max(10, len(text))))


def test_what_the_limits_allow_is_not_refused():
    """Ten thousand documents with thirty fields each."""
    documents = [{"text": "a", **{f"f{n}": "b" for n in range(29)}}] * 10_000
    check_counts(json.dumps({"query": "q", "documents": documents}).encode(), ServeSettings())
    check_counts(json.dumps({"query": "q", "documents": ["a, [b], {c}: " * 1000] * 1000}).encode(), ServeSettings())


@pytest.mark.parametrize(
    "body", [b'\xef\xbb\xbf{"a": 1}', b'{"a": 12345678901234567890}', rb'{"a": "\ud800"}', b'{"id": 1.10}']
)
def test_bodies_are_read_as_before(body):
    expected = json.loads(body.decode("utf-8-sig"))
    found = load(bytearray(body))
    assert found in (expected, {"id": "1.10"})


def test_documents_are_read_as_far_as_their_tokens_may_be_scored():
    """Or text without white space would be tokenised whole, whatever is scored of it."""
    with serving() as server:
        answer = server.post("/v2/rerank", query="q", documents=["1 " + "😀" * 500_000, "2 b"])
        assert list(answer.scores) == [1, 0]
        assert "1 document was cut" in answer.json["meta"]["warnings"][0]
        scored = server.app.metrics.text()[0]
        assert b'rerank_documents_total{model="free"} 2.0' in scored
        refused = server.post("/rerank", query="q", texts=["1 " + "a" * 200_000], truncate=False)
        assert (refused.status, "may not be cut" in refused.json["error"]) == (422, True)


def test_a_request_cannot_ask_for_more_tokens_than_the_server_allows():
    with serving(max_tokens=100) as server:
        answer = server.post("/v2/rerank", query="q", documents=["1 a"], max_tokens_per_doc=10**9)
        assert answer.json["meta"]["warnings"] == ["max_tokens_per_doc is 4096, the most that this server takes"]


def test_wrong_keys_wait_and_right_ones_do_not(monkeypatch):
    over = threading.Event()

    async def sleep(seconds):
        assert seconds == 600.0
        await asyncio.to_thread(over.wait, 60)

    monkeypatch.setattr(admission, "FAILED_KEY_S", 600.0)
    monkeypatch.setattr(admission, "FAILED_KEYS", 3)
    monkeypatch.setattr(admission, "asyncio", SimpleNamespace(sleep=sleep, timeout=asyncio.timeout))
    with serving(keys=("right",)) as server, ThreadPoolExecutor(3) as pool:
        guess = {"authorization": "Bearer wrong"}
        waiting = [pool.submit(server.post, "/v2/rerank", query="q", documents=["1"], headers=guess) for _ in range(3)]
        wait_for(lambda: server.app.admission._wrong_keys == 3)
        right = server.post("/v2/rerank", query="q", documents=["1"], headers={"authorization": "Bearer right"})
        assert right.status == 200
        assert not any(each.done() for each in waiting)
        assert server.post("/v2/rerank", query="q", documents=["1"], headers=guess).status == 429
        over.set()
        assert {each.result().status for each in waiting} == {401}
        assert server.app.admission._wrong_keys == 0


class Sockets:
    """The socket module as on Windows."""

    SO_EXCLUSIVEADDRUSE = -5


def test_on_windows_the_port_is_taken_exclusively(monkeypatch):
    asked = []

    class Bound(socket.socket):
        def setsockopt(self, *arguments):
            asked.append(arguments)

    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", Sockets.SO_EXCLUSIVEADDRUSE, raising=False)
    monkeypatch.setattr(socket, "socket", Bound)
    run.listen("127.0.0.1", 0).close()
    assert asked == [(socket.SOL_SOCKET, Sockets.SO_EXCLUSIVEADDRUSE, 1)]
