"""`--cors-origin`: pages of these origins may use the server and read its replies; nobody else gains anything."""

from __future__ import annotations

import pytest
from serve.harness import serving

APP = "https://app.example"
ASK = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type, x-stainless-os",
}
CROSS = {"origin": APP, "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
BODY = b'{"query": "q", "documents": ["1 a"]}'
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def free():
    with serving(cors_origins=(APP, "http://localhost:3000", "chrome-extension://abcdef")) as server:
        yield server


def post(server, headers, body=BODY):
    return server.send("POST", "/v2/rerank", body, JSON | headers)


def varies(answer):
    return {name.strip().lower() for name in answer.headers["vary"].split(",")}


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000", "chrome-extension://abcdef"])
@pytest.mark.parametrize("path", ["/v2/rerank", "/rerank", "/health", "/some/v1/rerank"])
def test_a_preflight_is_answered(free, origin, path):
    answer = free.send("OPTIONS", path, None, CROSS | ASK | {"origin": origin})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    assert int(answer.headers["access-control-max-age"]) > 0
    assert "origin" in varies(answer)
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_of_a_public_page_for_a_private_network_is_answered(free):
    asked = {"access-control-request-private-network": "true"}
    answer = free.send("OPTIONS", "/rerank", None, CROSS | ASK | asked)
    assert (answer.status, answer.headers["access-control-allow-private-network"]) == (200, "true")


@pytest.mark.parametrize("body", [BODY, b"{}", b"{", b'{"query": "q", "texts": ["a"]}'])
def test_replies_and_refusals_may_be_read(free, body):
    answer = post(free, CROSS, body)
    assert answer.status == (200 if b"q" in body else 400)
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-expose-headers"] == "*"
    assert "origin" in varies(answer)


def test_every_status_may_be_read():
    with serving(cors_origins=(APP,), keys=("k",), max_body=1000, max_queue=1) as server:
        key = {"authorization": "Bearer k"}
        found = [
            post(server, CROSS),
            post(server, CROSS | {"authorization": "Bearer no"}),
            post(server, CROSS | key | {"content-type": "text/plain"}),
            post(server, CROSS | key, b"x" * 1001),
            server.get("/nowhere", **CROSS),
            server.get("/v2/rerank", **CROSS),
            server.get("/metrics", **CROSS, **key),
        ]
        assert [answer.status for answer in found] == [401, 401, 415, 413, 404, 405, 200]
        assert {answer.headers["access-control-allow-origin"] for answer in found} == {APP}


def test_programs_notice_nothing(free):
    answer = post(free, {})
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


OTHERS = {
    "another origin": {"origin": "https://evil.example"},
    "a subdomain": {"origin": "https://a.app.example"},
    "a longer name": {"origin": "https://app.example.evil.example"},
    "another scheme": {"origin": "http://app.example"},
    "another port": {"origin": "https://app.example:444"},
    "null": {"origin": "null"},
    "no origin, another site": {"origin": None, "sec-fetch-site": "cross-site"},
    "a rebound name": {"origin": APP, "host": "evil.example"},
    "its own rebound name": {"origin": "http://evil.example", "host": "evil.example"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_pages_are_refused_as_before(free, name):
    headers = {key: value for key, value in (CROSS | OTHERS[name]).items() if value is not None}
    answer = post(free, headers)
    assert answer.status == 403
    if headers.get("origin") != APP:
        assert "access-control-allow-origin" not in answer.headers
        if "origin" in headers:
            preflight = free.send("OPTIONS", "/v2/rerank", None, headers | ASK)
            assert preflight.status == 400
            assert "access-control-allow-origin" not in preflight.headers


def test_two_origins_must_both_be_allowed(free):
    for other, status in (("http://localhost:3000", b"200"), ("http://evil.example", b"403")):
        with free.raw() as raw:
            origins = f"Origin: {APP}\r\nOrigin: {other}\r\n".encode()
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n" % (free.port, origins))
            assert raw.recv(100).startswith(b"HTTP/1.1 " + status)


def test_any_origin_with_keys():
    with serving(cors_origins=("*",), keys=("k",)) as server:
        for origin in ("https://whoever.example", "null"):
            headers = CROSS | {"origin": origin}
            assert server.send("OPTIONS", "/rerank", None, headers | ASK).headers["access-control-allow-origin"] == "*"
            refused = post(server, headers)
            assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "*")
            answer = post(server, headers | {"authorization": "Bearer k"})
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
            assert "access-control-allow-credentials" not in answer.headers


def test_without_the_option_a_preflight_gets_nothing():
    for keys in ((), ("k",)):
        with serving(keys=keys) as server:
            answer = server.send("OPTIONS", "/v2/rerank", None, CROSS | ASK)
            assert answer.status == (405 if keys else 403)
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "origin",
    ["app.example", "https://app.example/path", "https://a@app.example", "https://", "null", "", "https://*.example",
     "https://app.example, https://b.example", "https://app.example:x", "https://bücher.example", "file:///tmp/x"],
)  # fmt: skip
def test_what_is_not_an_origin_is_refused(run, origin):
    result = run("serve", "--port", "0", "--cors-origin", origin)
    assert result.code == 2
    assert "is not an origin" in result.err
    assert "http://localhost:3000" in result.err


def test_any_origin_without_keys_is_refused(run):
    result = run("serve", "--port", "0", "--cors-origin", "*")
    assert result.code == 2
    assert "--keys-file" in result.err
