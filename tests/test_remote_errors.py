"""Bad replies, redirects and failures of an endpoint are errors with the provider's words, and no key is ever shown."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from dataclasses import replace
from urllib.parse import quote

import pytest
from remote.loopback import Loopback, as_json, cohere, free_port
from remote.scoring import HTML, KEY, PAIRS, results, score

from rerank_cli.errors import ExitCode, RemoteError
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.keys import Secret
from rerank_cli.scorers.remote.redaction import redact
from rerank_cli.scorers.remote.scorer import PartialError
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

BOMB = gzip.compress(bytes(64 * 2**20), 9)
BAD_REPLIES = {
    "html-200": (HTML, r"the reply is text/html instead of JSON: `<!DOCTYPE html>"),
    "html-unnamed": ((200, {}, b"<html>"), r"the reply is a page instead of JSON"),
    "html-as-json": ((200, {"Content-Type": "application/json"}, b"<html>"), r"the reply is a page instead of JSON"),
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


def test_unusual_but_valid_replies_are_accepted():
    strange = {"results": [{"index": 1, "relevance_score": 1, "document": None}, {"index": 0, "relevance_score": 0,
               "document": "text"}, {"index": 2, "relevance_score": 5e-1, "document": {"text": 3}, "x": []}],
               "meta": {"billed_units": None, "warnings": ["model is  old"]}, "warnings": ["b"], "usage": None}  # fmt: skip
    report = Report()
    with Loopback(lambda _seen: as_json(strange)) as server:
        assert [s.value for s in score(server.url, report=report)] == [0.0, 1.0, 0.5]
    assert report.warnings() == ("cohere says: model is old", "cohere says: b")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_is_not_sent(status):
    with Loopback() as other:
        away = f"http://localhost:{other.port}/v2/rerank?token={KEY}"
        with Loopback(lambda _seen: (status, {"Location": away}, b"")) as server:
            with pytest.raises(RemoteError, match=f"points to `http://localhost:{other.port}/v2/rerank`: not followed"):
                score(server.url)
            assert len(server.seen) == 1
        assert not other.seen


def test_a_failure_carries_the_scores_so_far():
    def fails_late(seen):
        return cohere(seen) if seen.number < 3 else as_json({"message": "invalid api token"}, 401)

    with Loopback(fails_late) as server, pytest.raises(PartialError, match="2 of 3 documents were scored") as caught:
        score(server.url, concurrency=1, batch_docs=1)
    assert [s is not None for s in caught.value.scores] == [True, True, False]


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
def test_a_key_inside_a_header_template_is_redacted(header):
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
    shown = f"{scorer!r} {scorer} {scorer.info} {scorer._channel!r} {scorer._channel._client!r} {scorer._target!r}"
    assert KEY not in shown
    assert "abcdef" not in f"{scorer!r} {scorer.info.reason} {scorer._channel._client!r}"
    scorer.close()


SECRET = "sk-proj/Ab1+Cd2=Ef3_Gh4-Ij5Kl6Mn7"
QUOTES = {
    "whole": SECRET,
    "its first half": SECRET[:16],
    "its second half": SECRET[16:],
    "its middle": SECRET[8:20],
    "cut by dots": f"{SECRET[:10]}…{SECRET[-9:]}",
    "in capitals": SECRET.upper(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 behind a name": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 behind another": base64.b64encode(f"me:{SECRET}".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"u:{SECRET}:p".encode()).decode(),
    "hexadecimal": SECRET.encode().hex(),
    "a URL": quote(SECRET, safe=""),
    "a URL in a URL": quote(quote(SECRET, safe=""), safe=""),
    "a URL in lower case": quote(SECRET, safe="").lower(),
    "JSON in JSON": json.dumps(json.dumps(SECRET)).replace("/", "\\/"),
    "escapes": "".join(f"\\u{ord(char):04X}" for char in SECRET),
}


@pytest.mark.parametrize("name", QUOTES)
def test_keys_are_redacted_in_part_and_encoded(name):
    shown = redact(f"the key {QUOTES[name]} is wrong", [Secret(f"Bearer {SECRET}"), Secret(SECRET)])
    assert shown.startswith("the key ")
    assert shown.endswith(" is wrong")
    assert "***" in shown
    quoted = QUOTES[name]
    assert not any(quoted[start : start + 8] in shown for start in range(len(quoted) - 7))


def test_other_text_is_not_redacted():
    secrets = [Secret("Bearer k-1234"), Secret("Token token=abcdefgh12345678"), Secret("abc"), Secret("")]
    text = "Bearer token missing: abc 1234 abcd, the Token header is 'k-12'"
    assert redact(text, secrets) == text
    assert redact("k-1234", secrets) == "***"
    assert redact("", secrets) == ""


def test_half_a_key_at_the_end_of_a_long_message_is_redacted():
    body = json.dumps({"message": "x" * 290 + SECRET}).encode()
    with Loopback(lambda _seen: (400, {}, body)) as server:
        remote = RemoteSettings(retries=0, endpoint=server.url)
        scorer = open_remote("cohere:m", ModelSettings(remote=remote), {"CO_API_KEY": SECRET}, Report())
        with pytest.raises(RemoteError) as caught:
            scorer.score(PAIRS, Limits())
        scorer.close()
    assert SECRET[:6] not in caught.value.message
