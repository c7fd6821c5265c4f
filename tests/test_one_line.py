"""Whatever claims to be one line is one line: foreign text forges no line, moves no cursor and is no markup.

Every control character, line separator, bidirectional mark and Rich tag is put wherever foreign text can come from:
paths, methods, ids, titles, file names, names of fields and models, error bodies, configuration.
"""

from __future__ import annotations

import io
import json
import re
import time
import unicodedata

import pytest
from free_scorer import FreeScorer
from remote.loopback import Loopback, as_json
from serve.harness import serving, wait_for

from rerank_cli import text
from rerank_cli.errors import RemoteError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.server.http_errors import HttpError
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings
from rerank_cli.terminal import Terminal

CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
FORGED = "\n2026-01-01T00:00:00+0000 id=x client=1.2.3.4 POST /v2/rerank status=200"
TAGS = "[bold red]x[/bold red][link=http://evil.example]y[/link][/]"
SINGLE = CONTROLS + MARKS
NASTY = [SINGLE[start : start + 8] for start in range(0, len(SINGLE), 8)]  # few enough that nothing is cut off
NASTY += ["\r\n", "\ud800", FORGED, "\r" + FORGED, "\x1b]0;title\x07\x1b[31mred", TAGS]
NAMES = [repr(each[:12]) for each in NASTY]
FILE_NAMES = {name: each.replace("\0", "") for name, each in zip(NAMES, NASTY, strict=True) if each != "\ud800"}
HARMFUL = re.compile(f"[{re.escape(CONTROLS)}{MARKS}]")


def assert_lines(written: str, *, begin: tuple[str, ...]) -> None:
    """Each line begins as ours do, and no character in it can do harm."""
    assert written.endswith("\n") or not written
    for line in written.removesuffix("\n").split("\n") if written else ():
        assert line.startswith(begin), repr(line)
        assert not HARMFUL.search(line), repr(line)


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_the_escape_leaves_one_line(nasty):
    escaped = text.escape_line(f"a{nasty}b")
    assert not HARMFUL.search(escaped)
    assert len(escaped.splitlines()) == 1
    assert escaped.startswith("a")
    assert escaped.endswith("b")
    assert text.escape_line(escaped) == escaped
    escaped.encode()
    assert not any(unicodedata.category(char) == "Cc" for char in text.shown(f"a{nasty}b"))


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_messages_are_one_line(nasty):
    stderr = io.StringIO()
    terminal = Terminal(io.BytesIO(), io.BytesIO(), stderr, verbosity=1)
    for write in (terminal.warn, terminal.note, terminal.detail):
        write(f"a {nasty} b")
    terminal.error(f"a {nasty} b", f"c {nasty} d")
    assert_lines(stderr.getvalue(), begin=("rerank: ", "hint: "))
    assert stderr.getvalue().count("\n") == 5


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_warnings_in_results_are_one_line(nasty):
    report = Report()
    report.warn(f"a {nasty} b")
    report.note(f"a {nasty} b")
    report.replace([f"key{nasty}"])
    assert not any(HARMFUL.search(message) for message in (*report.warnings(), *report.notes))
    assert not HARMFUL.search(HttpError(400, f"a {nasty} b").message)


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("nasty", [TAGS, FORGED, "\x1b[31m"])
def test_progress_draws_foreign_text_as_it_is(nasty, monkeypatch):
    monkeypatch.setattr("rerank_cli.terminal.PROGRESS_AFTER_S", 0)
    stderr = Screen()
    terminal = Terminal(
        io.BytesIO(), io.BytesIO(), stderr, {"TERM": "xterm"}, stderr_tty=True, color="never", columns=200
    )
    with terminal.progress(f"fetching {nasty}", total=1) as advance:
        while advance.bar is None:
            time.sleep(0.01)
        terminal.warn(f"about {nasty}")
        advance(1)
    drawn = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stderr.getvalue())  # Rich moves the cursor to redraw its bar
    assert "\x1b" not in drawn
    assert text.escape_line(f"fetching {nasty}")[:60] in drawn
    assert text.escape_line(f"about {nasty}") in drawn


@pytest.fixture(scope="module")
def free():
    with serving() as server:
        yield server


def percent(nasty: str) -> str:
    return "".join(f"%{byte:02x}" for byte in nasty.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_the_access_log_has_one_line_per_request(free, nasty):
    before = len(free.stderr.getvalue())
    path = f"/{percent(nasty)}/v2/rerank"
    assert free.post(path, query="q", documents=["1"]).status == 200
    assert free.get(f"/nowhere{percent(nasty)}", **{"x-request-id": "a b"}).status == 404
    wait_for(lambda: free.stderr.getvalue()[before:].count(" status=") >= 2)  # a line is written after its response
    written = free.stderr.getvalue()[before:]
    assert written.count("\n") == 2
    assert_lines(written, begin=(free.stderr.getvalue()[:4],))
    assert all(
        re.fullmatch(r"\S+ id=\S+ client=\S+ (GET|POST) \S+ status=\d+.*", line) for line in written.splitlines()
    )


def test_long_methods_and_paths_are_cut(free):
    before = len(free.stderr.getvalue())
    with free.raw() as raw:
        raw.sendall(b"M" * 20_000 + b" /" + b"p" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = raw.recv(65_536)
    assert reply.startswith(b"HTTP/1.1 404 ")
    with free.raw() as raw:
        raw.sendall(b"M" * 20_000 + b" /v2/rerank HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(65_536).startswith(b"HTTP/1.1 405 ")
    wait_for(lambda: free.stderr.getvalue()[before:].count(" status=") >= 2)
    written = free.stderr.getvalue()[before:]
    assert written.count("\n") == 2
    assert all(len(line) < 500 for line in written.splitlines())


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_responses_quote_foreign_text_on_one_line(free, nasty):
    """Clients print `message` and `warnings` to terminals."""
    value = f"x{nasty}"
    bodies = [
        {"query": "q", "documents": ["1"], value: 1, "model": value},
        {"query": "q", "documents": ["1"], value: [[1e999]]},
        {"query": "q", "documents": [{value: "1"}], "rank_fields": [value, value + "y"]},
        {"query": "q", "documents": [{"a": 1}], "rank_fields": [value]},
        {"query": "q", "documents": [{"text": "1", value: {"a": 1}}], "rank_fields": ["text", f"{value}.b"]},
    ]
    for body in bodies:
        answer = free.send("POST", "/v1/rerank", json.dumps(body).encode(), {"content-type": "application/json"})
        messages = answer.json["meta"]["warnings"] if answer.status == 200 else [answer.json["message"]]
        assert not any(HARMFUL.search(message) for message in messages), messages
        tei = {"texts": ["1"], **{name: each for name, each in body.items() if name != "documents"}}
        answer = free.send("POST", "/rerank", json.dumps(tei).encode(), {"content-type": "application/json"})
        said = answer.json if answer.status != 200 else {}
        warned = said.get("error") or said.get("message") or answer.headers.get("x-rerank-warnings", "[]")
        assert not HARMFUL.search(warned), warned


@pytest.mark.parametrize("name", ["content-type", "content-encoding"])
def test_headers_are_quoted_on_one_line(free, name):
    answer = free.post("/v2/rerank", b"{}", headers={name: "a\x85b\x9b31m" + TAGS})
    assert answer.status == 415
    assert not HARMFUL.search(answer.json["message"])


@pytest.mark.parametrize("nasty", FILE_NAMES.values(), ids=FILE_NAMES)
def test_file_names_and_options_forge_no_line(run, tmp_path, monkeypatch, nasty):
    monkeypatch.chdir(tmp_path)
    name = f"f{nasty}g".replace("/", "")[:80]
    (tmp_path / name).write_text('{"text": 5, "text": \n')
    (tmp_path / "rerank.toml").write_text(f"[rank]\n{json.dumps(f'k{nasty}')} = 1\n")
    for argv in (
        ("-q", "x", "--no-config", f"{name}.jsonl"),
        ("-q", "x", "--no-config", "--input-format", "json", name),
        ("-q", "x", "--no-config", f"--{name}"),
        ("-q", "x", "--no-config", "-f", name),
        ("-q", "x", "--no-config", "-m", f"./{name}", name),
        ("-q", "x", "--no-config", "-m", name, name),
        ("-q", "x"),
        ("batch", "--no-config", name),
        ("eval", "--no-config", "--qrels", name, name),
    ):
        done = run(*argv)
        assert done.code in {2, 3, 4, 6}, (argv, done.err)
        assert_lines(done.err, begin=("rerank: ", "hint: ", "f"))


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_the_table_has_one_line_per_text(run, tmp_path, nasty):
    """Of ids and titles; a document's own text is wrapped."""
    rows = [
        {"id": f"id{nasty}x", "title": f"title{nasty}y", "text": f"capital {nasty} z"},
        {"id": "2", "text": "other"},
    ]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("-q", "capital", str(tmp_path / "docs.jsonl"), "-f", "table", "--no-config")
    assert done.code == 0
    shown = done.out.decode()
    assert not HARMFUL.search(shown.replace("\n", ""))
    assert FORGED.strip() not in [line.strip() for line in shown.splitlines()]
    if nasty == TAGS:
        assert "[bold red]" in shown


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_values_of_the_configuration_are_on_one_line(run, tmp_path, nasty):
    file = tmp_path / "c.toml"
    name = f"m{nasty}n".replace("\ud800", "").replace("\0", "")  # which are refused
    file.write_text(f"model = {json.dumps('./' + name)}\n[prices]\n{json.dumps(name)} = 1.0\n")
    done = run("config", "--config", str(file))
    assert done.code == 0, done.err
    assert not HARMFUL.search(done.out.decode().replace("\n", ""))
    lines = done.out.decode().splitlines()
    assert all(re.match(r"[\w.]", line) for line in lines)
    assert sum(line.startswith("prices.") for line in lines) == 1
    assert_lines(done.err, begin=("rerank: ", "hint: "))


@pytest.mark.parametrize("nasty", NASTY, ids=NAMES)
def test_what_providers_say_is_on_one_line(nasty):
    for answer in (
        as_json({"message": f"a {nasty} b"}, 400),
        (400, {}, f"a {nasty} b".encode("utf-8", "replace")),
        (200, {}, f"<{nasty}".encode("utf-8", "replace")),
    ):
        with Loopback(lambda _seen, answer=answer: answer) as server:
            settings = ModelSettings(remote=RemoteSettings(retries=0, endpoint=server.url))
            scorer = open_remote("cohere:m", settings, {"CO_API_KEY": "k" * 20}, Report())
            with pytest.raises(RemoteError) as caught:
                scorer.score([Pair("q", "a")], Limits())
            scorer.close()
            stderr = io.StringIO()
            Terminal(io.BytesIO(), io.BytesIO(), stderr).error(caught.value.message, caught.value.hint)
            assert_lines(stderr.getvalue(), begin=("rerank: ", "hint: "))


class Nasty(FreeScorer):
    """Fails with a message that would forge a line."""

    def score(self, pairs, limits, advance=None):
        raise RuntimeError(FORGED + "\x1b[31m")


def test_failures_forge_no_line_in_the_log():
    with serving(Nasty, access_log=False) as server:
        assert server.post("/v2/rerank", query="q", documents=["1"]).status == 503
        written = server.stderr.getvalue()
        server.stderr.truncate(0)
    assert "scorer failed" in written
    assert not any(line.startswith("2026-01-01") for line in written.splitlines())
    assert "\x1b" not in written
