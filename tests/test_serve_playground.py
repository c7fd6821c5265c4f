"""The page at `/` as it is served: whole, small, from the package, under a strict policy. `test_serve_playground_browser.py` uses it."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from conftest import ROOT
from serve.harness import builtin, serving

FILE = ROOT / "rerank_cli" / "server" / "playground.html"
SVG = "http://www.w3.org/2000/svg"  # a name, not an address


@pytest.fixture(scope="module")
def free():
    with serving() as server:
        yield server


def policy_of(answer):
    """The directives of a content security policy."""
    parts = answer.headers["content-security-policy"].split(";")
    return {name: values for name, *values in (part.split() for part in parts)}


def test_the_page_is_served_whole_and_small(free):
    page = free.get("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.body == FILE.read_bytes()
    assert len(page.body) <= 40_000
    head = free.send("HEAD", "/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(page.body))
    assert free.send("POST", "/", b"").status == 405


def test_it_names_no_other_server_and_nothing_that_is_not_there(free):
    text = FILE.read_text()
    assert re.findall(r"\w+://[^\s'\"`]+", text.replace(SVG, "")) == []
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|localStorage)\b", text)
    for link in re.findall(r'(?:href|src)="([^"]+)"', text):
        assert link.startswith("data:") or free.get(f"/{link}").status == 200
    for path in re.findall(r"\$\{base\}(/[\w/]+)`", text):
        assert free.get(path).status in {200, 405}


def test_browsers_run_only_what_the_file_holds(free):
    page = free.get("/")
    policy = policy_of(page)
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), page.body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert policy[directive] == [f"'sha256-{digest}'"]
    assert (
        policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    )
    assert policy["connect-src"] == ["'self'"]
    assert b" style=" not in page.body
    assert not re.search(rb"\son\w+=", page.body)
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_docs_page_may_run_nothing_and_not_be_embedded(free):
    policy = policy_of(free.get("/docs"))
    assert "script-src" not in policy
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]


def test_every_control_has_a_label():
    text = FILE.read_text()
    for name in re.findall(r'<(?:input|textarea|select) id="([\w-]+)"', text):
        assert f'for="{name}"' in text


def test_an_option_removes_it():
    with serving(playground=False) as server:
        assert server.get("/").status == server.send("HEAD", "/").status == 404
        assert server.get("/docs").status == 200


def test_it_needs_no_key_and_asks_for_one():
    with serving(keys=("secret",)) as server:
        page = server.get("/")
        assert page.status == 200
        assert b'<div id="key-field">' in page.body
        assert b"secret" not in page.body
        assert server.get("/", host="rerank.example.com").status == 200
    assert b'<div id="key-field" hidden>' in FILE.read_bytes()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_it_is_not_for_rebound_names(free, host):
    assert free.get("/", host=host).status == 403


def test_help_says_how_to_remove_it(run):
    assert "--no-playground" in run("serve", "--help").text


@pytest.fixture(scope="module")
def real():
    with serving(builtin) as server:
        yield server


TEXT = "Café 😀 stands on a rock. " * 200 + "The password of the keeper is sardine. " + "Waves break. " * 400


@pytest.mark.parametrize("wanted", [True, False, None])
def test_the_best_window_of_a_long_document_is_found(real, wanted):
    """Offsets are those of Python's strings, as `best_chunk` in the JSON of `rank`."""
    query, documents = "What is the password of the keeper?", ["Bread is made of flour.", TEXT, {"text": TEXT, "id": 1}]
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        reply = real.post(path, query=query, documents=documents, return_best_chunk=wanted, model="builtin").json
        assert reply["meta"]["warnings"] == []
        rows = {row["index"]: row for row in reply["results"]}
        for index in (1, 2):
            if wanted:
                start, end = rows[index]["best_chunk"]
                assert "password of the keeper is sardine" in TEXT[start:end]
                assert 0 < start < end < len(TEXT)
            else:
                assert "best_chunk" not in rows[index]
        assert "best_chunk" not in rows[0]


def test_it_is_the_chunk_that_rank_reports(real, run, tmp_path):
    query = "What is the password of the keeper?"
    file = tmp_path / "long.txt"
    file.write_text(TEXT)
    theirs = run("-q", query, "--input-format", "files", "--json", str(file)).json["results"][0]["best_chunk"]
    ours = real.post("/rerank", query=query, documents=[TEXT], return_best_chunk=True).json["results"][0]["best_chunk"]
    assert ours == theirs
    assert real.post("/rerank", query=query, documents=[TEXT], return_best_chunk="x").status == 422


def test_it_is_not_a_member_of_coheres_api():
    """A strict server takes it where the playground sends it."""
    with serving(strict=True) as server:
        for path, status in (("/rerank", 200), ("/v1/rerank", 422), ("/v2/rerank", 422)):
            assert (
                server.post(path, query="q", documents=["1"], model="free", return_best_chunk=True, highlight=1).status
                == status
            )
