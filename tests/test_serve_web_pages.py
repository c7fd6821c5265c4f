"""`rerank serve` on loopback is no place for web pages of others; programs, which send no such headers, notice nothing.

`test_serve_browser.py` tries the same with a real browser.
"""

from __future__ import annotations

import pytest
from serve.harness import serving

BODY = b'{"query": "q", "documents": ["1 a"]}'
JSON = {"content-type": "application/json"}
PORT = "{port}"


@pytest.fixture(scope="module")
def free():
    with serving() as server:
        yield server


def ask(server, headers, path="/v2/rerank", method="POST"):
    own = {name: value.replace(PORT, str(server.port)) for name, value in headers.items()}
    return server.send(method, path, BODY if method == "POST" else None, own).status


FOREIGN = {
    "a page elsewhere": {"origin": "https://evil.example"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "another port by its name": {"host": "localhost:{port}", "origin": "http://localhost:3000"},
    "localhost and 127.0.0.1 are two origins": {"origin": "http://localhost:{port}"},
    "a file or a sandbox": {"origin": "null"},
    "an empty origin": {"origin": ""},
    "no URL": {"origin": "http://[::1"},
    "an extension": {"origin": "chrome-extension://127.0.0.1:{port}"},
    "more than the origin": {"origin": "http://127.0.0.1:{port}/"},
    "a user": {"origin": "http://a@127.0.0.1:{port}"},
    "Sec-Fetch-Site": {"sec-fetch-site": "cross-site"},
    "another port, without Origin": {"sec-fetch-site": "same-site"},
    "in capitals": {"sec-fetch-site": "Cross-Site"},
    "own origin, other site": {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "cross-site"},
    "a form that navigates a frame": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    "rebinding": {"host": "evil.example:{port}"},
    "rebinding with Origin": {"host": "evil.example:{port}", "origin": "http://evil.example:{port}"},
    "rebinding without a port": {"host": "evil.example"},
    "a name that begins like ours": {"host": "localhost.evil.example"},
    "an address within a name": {"host": "127.0.0.1.evil.example"},
    "a name that ends like ours": {"host": "evillocalhost"},
    "one word": {"host": "router"},
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("content", ["application/json", "text/plain", None])
def test_requests_of_other_pages_are_refused(free, name, content):
    content_type = {} if content is None else {"content-type": content}
    assert ask(free, FOREIGN[name] | content_type) == 403
    for path in ("/docs", "/health", "/metrics", "/v1/models", "/openapi.json", "/nowhere"):
        assert ask(free, FOREIGN[name], path, "GET") == 403
    assert ask(free, FOREIGN[name] | {"access-control-request-method": "POST"}, method="OPTIONS") == 403


OWN = {
    "a program": {},
    "without content type": None,
    "localhost": {"host": "localhost:{port}"},
    "localhost as a page": {"host": "localhost:{port}", "origin": "http://localhost:{port}"},
    "LocalHost.": {"host": "LocalHost.:{port}"},
    "a name below localhost": {"host": "rerank.localhost"},
    "IPv6": {"host": "[::1]:{port}"},
    "an address": {"host": "10.0.0.7"},
    "its own page": {"origin": "http://127.0.0.1:{port}", "sec-fetch-site": "same-origin"},
    "behind a proxy with TLS": {"host": "127.0.0.1:{port}", "origin": "https://127.0.0.1:{port}"},
    "the address bar": {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
    "a link": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
}


@pytest.mark.parametrize("name", OWN)
def test_programs_and_own_pages_are_served(free, name):
    headers = OWN[name]
    assert ask(free, {} if headers is None else headers | JSON) == 200
    assert ask(free, headers or {}, "/docs", "GET") == 200


def test_http_1_0_needs_no_host(free):
    with free.raw() as raw:
        raw.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 200 ")


def test_two_origins_are_checked_both(free):
    with free.raw() as raw:
        origins = f"Origin: {free.url}\r\nOrigin: http://evil.example\r\n".encode()
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n" % (free.port, origins))
        assert raw.recv(100).startswith(b"HTTP/1.1 403 ")


def test_further_names_are_allowed_by_an_option():
    with serving(allowed_hosts=("rerank.lan", "Other:80")) as server:
        for host in ("rerank.lan", "RERANK.lan:8080", "other", "127.0.0.1", "localhost"):
            assert ask(server, JSON | {"host": host}) == 200
        assert ask(server, JSON | {"host": "rerank.lan", "origin": "http://rerank.lan"}) == 200
        assert ask(server, JSON | {"host": "evil.example"}) == 403
        assert "--allowed-host" in server.get("/docs", host="evil.example").json["message"]


def test_a_server_with_keys_leaves_it_to_them():
    """A proxy may keep the client's Host; a page does not know the key."""
    with serving(keys=("secret",)) as server:
        headers = JSON | {"host": "rerank.example.com", "origin": "https://app.example.com"}
        assert ask(server, headers) == 401
        assert ask(server, headers | {"authorization": "Bearer secret"}) == 200


def test_a_server_for_other_machines_is_not_bound_to_a_name_but_to_its_own_pages():
    with serving(host="0.0.0.0") as server:
        assert ask(server, JSON | {"host": "rerank:8080"}) == 200
        assert ask(server, JSON | {"host": "rerank:8080", "origin": "http://evil.example"}) == 403
        assert ask(server, JSON | {"sec-fetch-site": "cross-site"}) == 403


def test_responses_cannot_be_embedded_elsewhere(free):
    for answer in (free.get("/health"), free.post("/v2/rerank", query="q", documents=["1"]), free.get("/nowhere")):
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
