"""What goes wrong on the wire ends in the right exit code and words, within the time-out, and never shows a key."""

from __future__ import annotations

import gzip
import json
import logging
import re
import time
from dataclasses import replace
from email.utils import formatdate

import pytest
from remote.loopback import Loopback, as_json, cohere, drip, free_port, hang, in_turn, reset, tei

from rerank_cli.errors import ExitCode, RemoteError, UsageError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.retries import is_transient, requested_wait
from rerank_cli.scorers.remote.scorer import PartialError
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

KEY = "sk-very-secret-0123456789"
PAIRS = [
    Pair("reset the router", text) for text in ("the router is reset by a pin", "cats", "the office opens at nine")
]
HTML = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<!DOCTYPE html><html><body>Please sign in</body></html>")


def results(*items, **more):
    return as_json({"results": [{"index": i, "relevance_score": s} for i, s in items], **more})


def score(url, pairs=PAIRS, report=None, reference="cohere:rerank-v3.5", **remote):
    """Score over one endpoint; quick retries unless said otherwise."""
    remote = {"retries": 0, "timeout_s": 5.0, "max_wait_s": 0.05, **remote}
    settings = ModelSettings(remote=RemoteSettings(endpoint=url, **remote))
    env = {"CO_API_KEY": KEY, "TEI_API_KEY": KEY}
    scorer = open_remote(reference, settings, env, report or Report())
    try:
        return scorer.score(pairs, Limits())
    finally:
        scorer.close()


BOMB = gzip.compress(bytes(64 * 2**20), 9)
BAD_REPLIES = {
    "html-200": (HTML, r"the reply is text/html instead of JSON: `<!DOCTYPE html>"),
    "html-unnamed": ((200, {}, b"<html>"), r"the reply is a page instead of JSON"),
    "empty-200": ((200, {}, b""), r"the reply is empty"),
    "truncated-json": ((200, {}, b'{"results": [{"index": 0, "relev'), r"the reply is not complete JSON"),
    "no-results": (as_json({"id": "x"}), r"the reply has no `results`"),
    "error-with-200": (as_json({"error": {"message": "quota gone"}}), r"has no `results`: quota gone"),
    "result-no-object": (as_json({"results": [0.3, 0.2, 0.1]}), r"a result is a number instead of an object"),
    "index-too-big": (results((0, 0.1), (1, 0.2), (3, 0.3)), r"index 3, but only 3 documents were sent"),
    "index-negative": (results((0, 0.1), (1, 0.2), (-1, 0.3)), r"index -1, but only"),
    "index-string": (results((0, 0.1), (1, 0.2), ("2", 0.3)), r"a string as its `index`"),
    "index-float": (results((0, 0.1), (1, 0.2), (2.0, 0.3)), r"a number as its `index`"),
    "index-bool": (results((0, 0.1), (True, 0.2), (2, 0.3)), r"a boolean as its `index`"),
    "index-missing": (as_json({"results": [{"relevance_score": 0.5}] * 3}), r"null or missing as its `index`"),
    "index-twice": (results((0, 0.1), (1, 0.2), (1, 0.3)), r"contains a document twice"),
    "score-string": (results((0, "0.9"), (1, 0.2), (2, 0.3)), r"relevance_score of a document is a string"),
    "score-null": (results((0, None), (1, 0.2), (2, 0.3)), r"of a document is null or missing"),
    "score-bool": (results((0, True), (1, 0.2), (2, 0.3)), r"of a document is a boolean"),
    "fewer-results": (results((2, 0.1)), r"asked for 3 scores and got 1;"),
    "no-results-at-all": (results(), r"asked for 3 scores and got 0"),
    "accepted-later": (as_json({}, 202), r"answered 202 Accepted"),
    "gzip-bomb": ((200, {"Content-Encoding": "gzip"}, BOMB), r"exceeds 8 MiB"),
    "not-gzip": ((200, {"Content-Encoding": "gzip"}, b"plain"), r"not compressed as its header says"),
    "bad-request": (as_json({"message": "model 'x' not found"}, 400), r"answered 400 Bad Request: model 'x' not found"),
    "unauthorized": (as_json({"message": "invalid api token"}, 401), r"answered 401 Unauthorized: invalid api token"),
    "empty-401": ((401, {}, b""), r"answered 401 Unauthorized; 0 of 3"),
    "no-credit": (as_json({"message": "Please add a payment method"}, 402), r"402 Payment Required: Please add"),
    "forbidden": (as_json({"detail": "no access"}, 403), r"403 Forbidden: no access"),
    "not-found": ((404, {}, b"404 page not found"), r"404 Not Found: 404 page not found"),
    "unprocessable": (as_json({"detail": [{"msg": "field required"}]}, 422), r"422 \w+( \w+)?: field required"),
    "deny-listed": (as_json({"message": "deny-listed"}, 498), r"answered 498: deny-listed"),
    "not-implemented": (as_json({"error": {"message": "no reranking"}}, 501), r"501 Not Implemented: no reranking"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_REPLIES)
def test_bad_replies_fail_at_once_with_the_providers_words(name):
    answer, words = BAD_REPLIES[name]
    with Loopback(lambda _seen: answer) as server, pytest.raises(RemoteError, match=words) as caught:
        score(server.url, retries=3)
    assert len(server.seen) == 1
    assert server.url in caught.value.message
    assert caught.value.code == ExitCode.REMOTE
    assert "0 of 3 documents were scored" in caught.value.message


def test_what_is_odd_but_right_is_accepted():
    strange = {"results": [{"index": 1, "relevance_score": 1, "document": None}, {"index": 0, "relevance_score": 0,
               "document": "text"}, {"index": 2, "relevance_score": 5e-1, "document": {"text": 3}, "x": []}],
               "meta": {"billed_units": None, "warnings": ["model is  old"]}, "warnings": ["b"], "usage": None}  # fmt: skip
    report = Report()
    with Loopback(lambda _seen: as_json(strange)) as server:
        assert [s.value for s in score(server.url, report=report)] == [0.0, 1.0, 0.5]
    assert report.warnings() == ("cohere-v2 says: model is old", "cohere-v2 says: b")


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
def test_failures_that_pass_are_tried_again(answer, attempts):
    with Loopback(in_turn(answer)) as server:
        assert len(score(server.url, retries=2)) == 3
    assert len(server.seen) == attempts


def test_retries_end_and_are_counted():
    with Loopback(lambda _seen: as_json({"message": "full"}, 503)) as server:
        with pytest.raises(RemoteError, match=r"answered 503 Service Unavailable: full \(after 3 attempts\)"):
            score(server.url, retries=2)
        assert len(server.seen) == 3


def test_a_cancelled_request_is_sent_once_more_only():
    with Loopback(lambda _seen: as_json({}, 499)) as server:
        with pytest.raises(RemoteError, match="after 2 attempts"):
            score(server.url, retries=5)
        assert len(server.seen) == 2


def test_x_should_retry_false_ends_it():
    with Loopback(lambda _seen: as_json({}, 500, x_should_retry="false")) as server:
        with pytest.raises(RemoteError, match="500"):
            score(server.url, retries=5)
        assert len(server.seen) == 1


def test_a_server_that_asks_for_too_much_patience_is_told_so():
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
def test_how_long_a_server_asks_to_wait(headers, seconds):
    assert requested_wait(429, headers, NOW) == seconds


def test_reset_headers_of_another_failure_ask_for_nothing():
    headers = {"x-ratelimit-reset": "3600"}
    assert requested_wait(500, headers, NOW) is None
    assert requested_wait(503, {"retry-after": "7", **headers}, NOW) == 7.0


def test_which_statuses_may_pass():
    again = {status for status in range(400, 600) if is_transient(status, {})}
    assert again == {408, 409, 429, 499} | set(range(500, 600)) - {501, 505}


def test_a_port_where_nothing_listens():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RemoteError, match=r"cannot connect to http://127.*[Cc]onnection refused \(after 2 attempts\)"):
        score(url, retries=1)


def test_a_host_that_is_unknown_is_final(monkeypatch):
    with pytest.raises(RemoteError, match="the host is unknown") as caught:
        score("https://no-such-host.invalid", retries=5)
    assert "attempts" not in caught.value.message


@pytest.mark.timeout(10)
@pytest.mark.parametrize("answer", [hang, drip("headers"), drip("body")], ids=["stall", "drip-headers", "drip-body"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_nothing_outlives_the_time_out(answer, concurrency):
    words = r"did not answer within 0\.4 s"
    with Loopback(lambda _seen: answer) as server, pytest.raises(RemoteError, match=words):
        score(server.url, timeout_s=0.4, concurrency=concurrency, batch_docs=1)


def test_after_a_time_out_the_next_attempt_may_succeed():
    with Loopback(in_turn(hang, drip("body"))) as server:
        assert len(score(server.url, timeout_s=0.4, retries=2)) == 3


def test_a_413_halves_until_it_fits_and_is_remembered():
    def small(seen):
        return cohere(seen) if len(seen.body["documents"]) <= 5 else (413, {}, b"Payload Too Large")

    pairs = [Pair("q", f"text {i}") for i in range(40)]
    report = Report()
    with Loopback(small) as server:
        found = score(server.url, pairs, report, concurrency=1, batch_docs=20)
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


def test_a_422_that_names_a_field_does_not():
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
            score_jina(server.url, pairs, **settings)
        assert "--allow-split" in caught.value.hint
        assert not server.seen
        report = Report()
        assert len(score_jina(server.url, pairs, report, allow_split=True, **settings)) == 6
        assert "--allow-split" in report.warnings()[0]
    with Loopback(lambda _seen: (413, {}, b"")) as server:
        with pytest.raises(UsageError, match="refused 6 documents in one request"):
            score_jina(server.url, pairs)
        assert len(server.seen) == 1


def score_jina(url, pairs, report=None, **remote):
    settings = ModelSettings(remote=RemoteSettings(endpoint=url, retries=0, **remote))
    scorer = open_remote("jina:jina-reranker-v3", settings, {"JINA_API_KEY": KEY}, report or Report())
    try:
        return scorer.score(pairs, Limits())
    finally:
        scorer.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays(status):
    with Loopback() as other:
        away = f"http://localhost:{other.port}/v2/rerank?token={KEY}"
        with Loopback(lambda _seen: (status, {"Location": away}, b"")) as server:
            with pytest.raises(RemoteError, match=f"points to `http://localhost:{other.port}/v2/rerank`: not followed"):
                score(server.url)
            assert len(server.seen) == 1
        assert not other.seen


def test_the_scores_so_far_come_with_the_failure():
    def fails_late(seen):
        return cohere(seen) if seen.number < 3 else as_json({"message": "invalid api token"}, 401)

    with Loopback(fails_late) as server, pytest.raises(PartialError, match="2 of 3 documents were scored") as caught:
        score(server.url, concurrency=1, batch_docs=1)
    assert [s is not None for s in caught.value.scores] == [True, True, False]


@pytest.mark.timeout(10)
def test_a_failure_ends_the_waiting_neighbours():
    def answer(seen):
        return as_json({}, 502, Retry_After="30") if seen.number == 1 else as_json({"message": "no"}, 401)

    pairs = [Pair("q", f"t{i}") for i in range(8)]
    with Loopback(answer) as server, pytest.raises(RemoteError, match="401"):
        score(server.url, pairs, batch_docs=1, concurrency=2, retries=3, max_wait_s=60.0)


def test_no_key_in_messages_logs_or_repr(caplog):
    caplog.set_level(logging.INFO)
    said = []
    echo = as_json({"error": {"message": f"Incorrect API key provided: {KEY}. Header was 'Bearer {KEY}'"}}, 401)
    for answer in (echo, (500, {}, KEY.encode()), (200, {}, f"<html>{KEY}".encode()), as_json({"message": KEY}),
                   as_json({"results": [KEY]}), (302, {"Location": f"http://x/{KEY}"}, b""),
                   as_json({"message": "x" * 288 + KEY}, 401), (200, {}, b"<html>" + b"x" * 60 + KEY.encode()),
                   results((0, 1), (1, 1), (2, 1), warnings=["x" * 290 + KEY]),
                   results((0, 1), (1, 1), (2, 1), warnings=[f"key {KEY}"])):  # fmt: skip
        report = Report()
        with Loopback(lambda _seen, answer=answer: answer) as server:
            try:
                score(server.url, report=report, retries=1)
            except RemoteError as error:
                said += [str(error), repr(error), error.message, str(error.hint)]
                chain = error
                while chain := (chain.__cause__ or chain.__context__):
                    said += [str(chain), repr(chain)]
        said += [*report.warnings(), *report.notes]
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert "Incorrect API key provided: ***" in "".join(said)
    assert KEY not in "".join(said)
    assert KEY[:8] not in "".join(said), "half a key is one too"
    assert KEY not in caplog.text


@pytest.mark.parametrize("header", ["Authorization: Token token={key}", "X-Auth: {key}:x"])
def test_a_key_inside_a_template_is_a_secret_by_itself(header):
    key = "Zk9/qw+12=="
    said = json.dumps({"errors": [{"title": f"bad key {key}"}]}).replace("/", "\\/").encode()
    settings = ModelSettings(remote=RemoteSettings(retries=0, auth_header=header))
    for answer in ((401, {}, said), as_json({"message": f"bad key {key}"}, 401)):
        with Loopback(lambda _seen, answer=answer: answer) as server:
            model = replace(settings, remote=replace(settings.remote, endpoint=server.url))
            scorer = open_remote("cohere:m", model, {"CO_API_KEY": key}, Report())
            with pytest.raises(RemoteError, match=r"bad key \*\*\*"):
                scorer.score(PAIRS, Limits())
            scorer.close()


def test_what_was_answered_before_a_halved_request_failed_is_kept():
    """One document is too large for the server: the others are paid for, and the error names it."""

    def answer(seen):
        return (413, {}, b"") if "text 7" in seen.body["documents"] else cohere(seen)

    pairs = [Pair("q", f"text {i}") for i in range(10)]
    with Loopback(answer) as server, pytest.raises(PartialError) as caught:
        score(server.url, pairs, concurrency=1)
    assert caught.value.pair == pairs[7]
    assert sum(one is not None for one in caught.value.scores) == 7


def test_words_that_name_no_batch_limit_are_told_as_they_are():
    words = "Invalid payload: model jina-reranker-v3 needs a paid key"
    with Loopback(lambda _seen: as_json({"detail": words}, 422)) as server:
        with pytest.raises(RemoteError, match=words):
            score_jina(server.url, PAIRS)
        assert len(server.seen) == 1


def test_a_proxy_that_is_down_is_named():
    port = free_port()
    env = {"CO_API_KEY": KEY, "HTTPS_PROXY": f"http://user:secret@127.0.0.1:{port}"}
    settings = ModelSettings(remote=RemoteSettings(retries=0))
    scorer = open_remote("cohere:m", settings, env, Report())
    with pytest.raises(RemoteError, match=rf"cannot connect to the proxy 127\.0\.0\.1:{port}") as caught:
        scorer.score(PAIRS, Limits())
    assert "HTTPS_PROXY" in caught.value.hint
    scorer.close()


def test_a_secret_header_may_hold_blanks():
    settings = ModelSettings(remote=RemoteSettings(retries=0, headers=("X-Auth: @env:MY",)))
    with Loopback() as server:
        model = replace(settings, remote=replace(settings.remote, endpoint=server.url))
        scorer = open_remote("tei:", model, {"MY": "Basic YWJj ZGVm"}, Report())
        with pytest.raises(RemoteError):  # the stand-in speaks Cohere's shape
            scorer.score(PAIRS, Limits())
        scorer.close()
        assert server.seen[0].headers["x-auth"] == "Basic YWJj ZGVm"


def test_the_scorer_and_its_parts_show_no_key():
    settings = ModelSettings(remote=RemoteSettings(endpoint="https://gw.example/?sig=abcdef"))
    scorer = open_remote("cohere:m", settings, {"CO_API_KEY": KEY}, Report())
    shown = f"{scorer!r} {scorer} {scorer.info} {scorer._client!r} {scorer._target!r}"
    assert KEY not in shown
    assert "abcdef" not in f"{scorer!r} {scorer.info.reason} {scorer._client!r}"
    scorer.close()


# --- through the command line: code, words, empty stdout, no key -----------------------------------------------------

DOCS = b"the router is reset by a pin\ncats\nthe office opens at nine\n"
COMMAND = {
    "html": (lambda _s: HTML, 5, r"the reply is text/html instead of JSON.*\nhint: this URL is a web page"),
    "401": (lambda _s: as_json({"message": f"bad {KEY}"}, 401), 5, r"401 Unauthorized: bad \*\*\*.*\nhint: check the key"),
    "429": (lambda _s: as_json({}, 429), 5, r"429 Too Many Requests.*\nhint: lower --concurrency"),
    "stall": (lambda _s: hang, 5, r"did not answer within 0\.3 s.*\nhint: .*--timeout"),
    "fewer": (lambda _s: results((0, 0.5)), 5, r"asked for 3 scores and got 1.*\nhint: .*top_n"),
    "reset": (lambda _s: reset, 5, r"the connection to http://127.* was lost"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMAND)
def test_the_command_ends_with_5_and_clear_words(run, name):
    answer, code, words = COMMAND[name]
    with Loopback(answer) as server:
        done = run(
            "-q", "reset the router", "-m", "cohere:rerank-v3.5", "--endpoint", server.url,
            "--timeout", "0.3", "--retries", "0", stdin=DOCS, env={"CO_API_KEY": KEY},
        )  # fmt: skip
    assert (done.code, done.out) == (code, b"")
    assert re.search(r"rerank: error: .*" + words, done.err)
    assert KEY not in done.err


def last_wrong(value):
    """The right reply, but the last document of a query that says so gets `value` as its score (raw JSON)."""

    def answer(seen):
        status, headers, body = cohere(seen)
        if "router" not in seen.body["query"] or "nine" not in seen.body["documents"][-1]:
            return status, headers, body
        payload = json.loads(body)
        for item in payload["results"]:
            if item["index"] == len(seen.body["documents"]) - 1:
                item["relevance_score"] = "SCORE"
        return status, headers, json.dumps(payload).replace('"SCORE"', value).encode()

    return answer


WRONG = {
    "nan": ("NaN", 4),
    "infinite": ("-Infinity", 4),
    "huge": ("1" + "0" * 400, 4),
    "null": ("null", 5),
    "text": ('"1"', 5),
}
NAMED = {
    "lines": (DOCS, "2 (0-based) of <stdin>"),
    "repeats": (b"cats\ncats\n\nthe office opens at nine\n", "2 (0-based) of <stdin>"),
    "ids": (b'{"id": "a", "text": "cats"}\n{"id": "b", "text": " "}\n{"id": "c", "text": "at nine"}\n', "'c'"),
}


@pytest.mark.parametrize("documents", NAMED)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("batch_docs", ["1", "2"])
def test_a_bad_score_is_told_with_its_query_and_document(run, wrong, documents, batch_docs):
    (value, code), (stdin, name) = WRONG[wrong], NAMED[documents]
    call = ("-q", "reset the router", "-m", "cohere:rerank-v3.5", "--batch-docs", batch_docs, "--concurrency", "1")
    for more in ((), ("--cache",)):
        with Loopback(last_wrong(value)) as server:
            done = run(*call, "--endpoint", server.url, *more, stdin=stdin, env={"CO_API_KEY": KEY})
        assert (done.code, done.out) == (code, b""), done.err
        assert "query 'reset the router'" in done.err
        assert f"document {name}\n" in done.err


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_score_of_a_batch_is_told_with_its_row(run, wrong):
    value, code = WRONG[wrong]
    rows = [
        {"id": f"r{i}", "query": f"{q} {i}", "documents": ["cats", "at nine"]}
        for i, q in enumerate(["cat", "router", "nine"])
    ]
    with Loopback(last_wrong(value)) as server:
        done = run("batch", "-m", "cohere:rerank-v3.5", "--endpoint", server.url, "--concurrency", "1",
                   stdin="".join(json.dumps(row) + "\n" for row in rows), env={"CO_API_KEY": KEY})  # fmt: skip
    assert done.code == (6 if code == 4 else 5), done.err  # no number: the row fails, the others are ranked
    assert "query 'router 1'" in done.err
    assert re.search(r"document 1 \(0-based\) of ", done.err)
    assert len(done.records) == (2 if code == 4 else 0)


def test_a_counter_that_is_no_plain_number_is_ignored(run):
    def answer(seen):
        return as_json([{"index": 0, "score": 0.5}], x_compute_tokens="\xb2")

    with Loopback(answer) as server:
        done = run("-q", "a", "-m", "tei:", "--endpoint", server.url, "--json", stdin=b"x\n")
    assert done.code == 0, done.err
    assert not done.json["meta"].get("usage")


def test_the_command_refuses_a_key_over_plain_http(run):
    done = run("-q", "q", "-m", "tei:", "--endpoint", "http://tei.example", stdin=DOCS, env={"TEI_API_KEY": KEY})
    assert (done.code, done.out) == (2, b"")
    assert "a key is not sent over plain http to tei.example" in done.err
    assert KEY not in done.err


def test_the_command_ranks_over_a_provider(run):
    with Loopback() as server:
        done = run(
            "-q", "reset the router", "-m", "cohere:rerank-v3.5", "--endpoint", server.url, "--json",
            stdin=DOCS, env={"CO_API_KEY": KEY},
        )  # fmt: skip
    assert done.code == 0, done.err
    assert [r["index"] for r in done.json["results"]] == [0, 2, 1]
    assert done.json["meta"]["usage"] == {"search_units": 1}
    assert json.dumps(done.json).find(KEY) < 0


def test_the_command_offline_calls_this_machine_only(run):
    for how in (("--offline",), ()):
        env = {"CO_API_KEY": KEY} | ({} if how else {"RERANK_OFFLINE": "1"})
        done = run("-q", "q", "-m", "cohere:x", *how, stdin=DOCS, env=env)
        assert (done.code, done.out) == (2, b"")
        assert "--offline: cohere-v2 is on the network, at api.cohere.com\nhint: " in done.err
    with Loopback() as server:
        assert run("-q", "q", "-m", "cohere:x", "--offline", "--endpoint", server.url, stdin=DOCS).code == 0


def test_a_key_in_the_url_is_not_shown(run):
    quoted = KEY.replace("-", "%2D")

    def answer(seen):
        return as_json({"message": f"denied: {seen.path} for {KEY}"}, 401)

    with Loopback(answer) as server:
        done = run("-q", "q", "-m", "tei:", "--endpoint", f"{server.url}?api_key={quoted}&v=2", "-v", stdin=DOCS)
    assert server.seen[0].path == f"/rerank?api_key={quoted}&v=2"
    assert "denied: /rerank?api_key=***&v=2 for ***" in done.err
    assert done.code == 5


@pytest.mark.parametrize(
    "option",
    [("--api-key-env", KEY), ("--header", f"X-Foo: @env:{KEY}"), ("--header", f"X-Foo: Bearer {KEY}")],
)
def test_a_key_in_the_wrong_place_is_not_repeated(run, option):
    done = run("-q", "q", "-m", "cohere:x", *option, stdin=DOCS)
    assert (done.code, done.out) == (2, b"")
    assert "hint: " in done.err
    assert KEY not in done.err


def test_a_dry_run_writes_what_it_is_asked_for(run, tmp_path):
    call = ("-q", "q", "-m", "cohere:rerank-v3.5", "--dry-run")
    plain = run(*call, stdin=DOCS)
    assert plain.lines[:4] == ["provider: cohere-v2", "model: rerank-v3.5", "requests: 1", "documents: 3"]
    file, named = tmp_path / "estimate.txt", tmp_path / "estimate.json"
    assert (run(*call, "-o", file, stdin=DOCS).out, file.read_text()) == (b"", plain.text)
    told = run(*call, "--json", stdin=DOCS).json
    assert (told["units"], told["dry_run"], told["refused"]) == (1, True, None)
    run(*call, "-o", named, stdin=DOCS)
    assert json.loads(named.read_text()) == run(*call, "-f", "json", stdin=DOCS).json == told
    refused = run(*call, "-f", "trec", stdin=DOCS)
    assert (refused.code, refused.err) == (
        2,
        "rerank: error: --dry-run writes no trec\nhint: it writes lines, or an object with --json\n",
    )


def test_a_dry_run_says_that_max_units_would_stop_the_run(run):
    call = ("-q", "q", "-m", "cohere:rerank-v3.5", "--dry-run", "--max-units")
    done = run(*call, "0", stdin=DOCS)
    assert done.code == 0
    assert "without --dry-run this is refused: this would use about 1 search units, more than --max-units 0" in done.err
    assert "--max-units 0" in run(*call, "0", "--json", stdin=DOCS).json["refused"]
    assert "refused" not in run(*call, "1", stdin=DOCS).err
