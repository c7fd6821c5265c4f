"""Transient failures are retried within their limits, time-outs hold, and requests that are too large are halved."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from remote.loopback import Loopback, as_json, cohere, drip, free_port, hang, in_turn, reset, tei
from remote.scoring import PAIRS, score

from rerank_cli.errors import RemoteError, UsageError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote.retries import is_transient, requested_wait
from rerank_cli.scorers.remote.scorer import PartialError

JINA = "jina:jina-reranker-v3"  # a listwise model


@pytest.mark.parametrize(
    ("answer", "attempts"),
    [
        (as_json({"message": "slow down"}, 429), 2),
        (as_json({}, 503, Retry_After="0"), 2),
        (as_json({}, 500), 2),
        (as_json({}, 502), 2),
        (as_json({}, 408), 2),
        (as_json({}, 409), 2),
        (as_json({"message": "request cancelled"}, 499), 2),
        (as_json({}, 400, x_should_retry="true"), 2),
        (reset, 2),
    ],
    ids=["429", "503", "500", "502", "408", "409", "499", "x-should-retry", "reset"],
)
def test_transient_failures_are_retried(answer, attempts):
    with Loopback(in_turn(answer)) as server:
        assert len(score(server.url, retries=2)) == 3
    assert len(server.seen) == attempts


def test_retries_end_and_are_counted():
    with Loopback(lambda _seen: as_json({"message": "full"}, 503)) as server:
        with pytest.raises(RemoteError, match=r"answered 503 Service Unavailable: full \(after 3 attempts\)"):
            score(server.url, retries=2)
        assert len(server.seen) == 3


def test_a_cancelled_request_is_retried_only_once():
    with Loopback(lambda _seen: as_json({}, 499)) as server:
        with pytest.raises(RemoteError, match="after 2 attempts"):
            score(server.url, retries=5)
        assert len(server.seen) == 2


def test_x_should_retry_false_stops_retries():
    with Loopback(lambda _seen: as_json({}, 500, x_should_retry="false")) as server:
        with pytest.raises(RemoteError, match="500"):
            score(server.url, retries=5)
        assert len(server.seen) == 1


def test_a_retry_after_beyond_max_wait_fails_at_once():
    with Loopback(lambda _seen: as_json({"message": "limit"}, 429, Retry_After="3600")) as server:
        with pytest.raises(RemoteError, match="limit; it asks to wait 3,600 s") as caught:
            score(server.url, retries=5, max_wait_s=60.0)
        assert len(server.seen) == 1
    assert "--max-wait is 60 s" in caught.value.hint


def test_retry_after_is_obeyed():
    with Loopback(in_turn(as_json({}, 429, Retry_After="1"))) as server:
        started = time.monotonic()
        score(server.url, retries=1, max_wait_s=10.0)
        assert time.monotonic() - started >= 1.0
    assert len(server.seen) == 2


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ratelimit-reset": str(int(NOW) + 5)}, 5.0),
        ({"x-ratelimit-reset": "12"}, 12.0),
        ({"ratelimit-reset": "3"}, 3.0),
    ],
)
def test_the_wait_is_read_from_the_headers(headers, seconds):
    assert requested_wait(429, headers, NOW) == seconds


def test_reset_headers_of_other_failures_are_ignored():
    headers = {"x-ratelimit-reset": "3600"}
    assert requested_wait(500, headers, NOW) is None
    assert requested_wait(503, {"retry-after": "7", **headers}, NOW) == 7.0


def test_which_statuses_are_transient():
    again = {status for status in range(400, 600) if is_transient(status, {})}
    assert again == {408, 409, 429, 499} | set(range(500, 600)) - {501, 505}


def test_a_refused_connection_is_retried():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RemoteError, match=r"cannot connect to http://127.*[Cc]onnection refused \(after 2 attempts\)"):
        score(url, retries=1)


def test_an_unknown_host_is_not_retried(monkeypatch):
    with pytest.raises(RemoteError, match="the host is unknown") as caught:
        score("https://no-such-host.invalid", retries=5)
    assert "attempts" not in caught.value.message


@pytest.mark.timeout(10)
@pytest.mark.parametrize("answer", [hang, drip("headers"), drip("body")], ids=["stall", "drip-headers", "drip-body"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_nothing_lasts_longer_than_the_time_out(answer, concurrency):
    words = r"did not answer within 0\.4 s"
    with Loopback(lambda _seen: answer) as server, pytest.raises(RemoteError, match=words):
        score(server.url, timeout_s=0.4, concurrency=concurrency, batch_docs=1)


def test_after_a_time_out_the_next_attempt_may_succeed():
    with Loopback(in_turn(hang, drip("body"))) as server:
        assert len(score(server.url, timeout_s=0.4, retries=2)) == 3


def test_a_413_halves_the_request_until_it_fits_and_the_size_is_kept():
    def small(seen):
        return cohere(seen) if len(seen.body["documents"]) <= 5 else (413, {}, b"Payload Too Large")

    pairs = [Pair("q", f"text {i}") for i in range(40)]
    report = Report()
    with Loopback(small) as server:
        found = score(server.url, pairs, report=report, concurrency=1, batch_docs=20)
    with Loopback() as plain:
        assert found == score(plain.url, pairs)
    sizes = [len(seen.body["documents"]) for seen in server.seen]
    assert sizes[:3] == [20, 10, 5]
    assert set(sizes[2:]) == {5}
    assert any("refused 20 documents" in note for note in report.notes)


def test_a_422_that_names_the_batch_limit_halves_too():
    pairs = [Pair("q", f"text {i}") for i in range(100)]
    with Loopback(lambda seen: tei(seen, cap=8)) as server:
        assert len(score(server.url, pairs, reference="tei:", batch_docs=64, concurrency=1)) == 100
    assert max(len(s.body["texts"]) for s in server.seen[1:] if len(s.body["texts"]) <= 8) == 8


def test_a_422_that_names_a_field_is_not_halved():
    answer = as_json({"message": "unknown field: parameter 'x' is not a valid field"}, 422)
    with Loopback(lambda _seen: answer) as server, pytest.raises(RemoteError, match="unknown field"):
        score(server.url)
    assert len(server.seen) == 1


def test_one_document_beyond_the_servers_size_fails():
    with Loopback(lambda _seen: (413, {}, b"")) as server, pytest.raises(RemoteError, match="413") as caught:
        score(server.url, concurrency=1)
    assert "one document is larger than the server accepts" in caught.value.hint


def test_a_listwise_model_is_not_split_silently():
    pairs = [Pair("q", f"text {i}") for i in range(6)]
    settings = {"batch_docs": 2}
    with Loopback() as server:
        with pytest.raises(UsageError, match="6 documents would need 3 requests") as caught:
            score(server.url, pairs, JINA, **settings)
        assert "--allow-split" in caught.value.hint
        assert not server.seen
        report = Report()
        assert len(score(server.url, pairs, JINA, report=report, allow_split=True, **settings)) == 6
        assert "--allow-split" in report.warnings()[0]
    with Loopback(lambda _seen: (413, {}, b"")) as server:
        with pytest.raises(UsageError, match="refused 6 documents in one request"):
            score(server.url, pairs, JINA)
        assert len(server.seen) == 1


@pytest.mark.timeout(10)
def test_a_failure_cancels_waiting_requests():
    def answer(seen):
        return as_json({}, 502, Retry_After="30") if seen.number == 1 else as_json({"message": "no"}, 401)

    pairs = [Pair("q", f"t{i}") for i in range(8)]
    with Loopback(answer) as server, pytest.raises(RemoteError, match="401"):
        score(server.url, pairs, batch_docs=1, concurrency=2, retries=3, max_wait_s=60.0)


def test_scores_returned_before_a_halved_request_fails_are_kept():
    """One document is too large for the server: the others are paid for, and the error names it."""

    def answer(seen):
        return (413, {}, b"") if "text 7" in seen.body["documents"] else cohere(seen)

    pairs = [Pair("q", f"text {i}") for i in range(10)]
    with Loopback(answer) as server, pytest.raises(PartialError) as caught:
        score(server.url, pairs, concurrency=1)
    assert caught.value.pair == pairs[7]
    assert sum(one is not None for one in caught.value.scores) == 7


def test_a_422_without_a_batch_limit_keeps_its_message():
    words = "Invalid payload: model jina-reranker-v3 needs a paid key"
    with Loopback(lambda _seen: as_json({"detail": words}, 422)) as server:
        with pytest.raises(RemoteError, match=words):
            score(server.url, PAIRS, JINA)
        assert len(server.seen) == 1
