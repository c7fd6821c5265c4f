"""`rerank mcp` against careless and hostile callers: odd paths and texts, cancelled calls, an agent that goes away."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT

pytest.importorskip("mcp")
from test_mcp import ask, message

from rerank_cli.mcp_input import without_halves
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

HOURS = {
    "query": "fox",
    "documents": [f"{n} " + "The quick brown fox jumps over the lazy dog. " * 60 for n in range(9000)],
}


def files(*paths: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "rank_files", {"query": "boat", "paths": list(paths), **more}


@contextmanager
def talking(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that was greeted."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "rerank_cli", "mcp", "--root", str(root)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env) as server:
        try:
            hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
            say(server, "initialize", hello, 0)
            assert answer(server)["id"] == 0
            say(server, "notifications/initialized", {})
            yield server
        finally:
            server.kill()


def say(server: subprocess.Popen[bytes], method: str, params: Any, number: int | None = None) -> None:
    assert server.stdin
    text = json.dumps(
        {"jsonrpc": "2.0", "method": method, "params": params} | ({} if number is None else {"id": number})
    )
    server.stdin.write(text.encode() + b"\n")
    server.stdin.flush()


def answer(server: subprocess.Popen[bytes]) -> Any:
    assert server.stdout
    return json.loads(server.stdout.readline())


def test_patterns_leave_out_what_links_lead_to(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("the secret boat\n")
    (root / "a.txt").write_text("a boat\n")
    (root / "b.txt").write_text("a ship\n")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "loop.txt").symlink_to("loop.txt")
    found, up, folder, both = ask(files("*.txt"), files("../**/*"), files("."), files("*.txt", "*.md"), root=root)
    assert [hit["file"] for hit in found.structured_content["results"]] == ["a.txt", "b.txt"]
    assert found.structured_content["warnings"] == ["`*.txt` also matches links out of the root folder: left out"]
    assert "outside of the root" in message(up)
    assert "`.` is a folder" in message(folder)
    assert "no file is called `*.md`" in message(both)


def test_nobody_learns_what_exists_outside_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "there.txt").write_text("x\n")
    names = ["../there.txt", "../not.txt", str(tmp_path / "there.txt"), str(tmp_path / "not.txt"), "*/../../there.txt"]
    for name, result in zip(names, ask(*map(files, names), root=root), strict=True):
        assert message(result).split(": ", 1)[1].startswith(f"`{shown(name)}` is outside of the root folder")


def test_answers_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("a boat\n")
    (tmp_path / "b.md").write_bytes(b"\0\1\2 not text")
    name = os.fsdecode(b"odd\xff.txt")
    (tmp_path / name).write_text("a boat\n")
    calls = [files("*.md", input_format="files"), files("odd*"), files("odd*", input_format="files"), files("x" * 5000)]
    whole, odd, odd_whole, long = ask(*calls, root=tmp_path)
    assert [(hit["id"], hit["file"]) for hit in whole.structured_content["results"]] == [("a.md", "a.md")]
    assert whole.structured_content["warnings"][0].startswith("1 of 2 files is left out")
    assert "b.md" in whole.structured_content["warnings"][0] or "NUL" in whole.structured_content["warnings"][0]
    assert odd.structured_content["results"][0]["file"] == "odd\ufffd.txt"
    assert odd_whole.structured_content["results"][0]["id"] == "odd\ufffd.txt"
    assert len(message(long)) < 300
    for result in (whole, odd, odd_whole, long):
        assert str(tmp_path) not in result.model_dump_json()


def test_large_files_and_large_numbers(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(2**30)  # a hole
    objects = {"query": "x", "documents": [{"text": "a", "n": 10**400}]}
    huge, number, none, hint = ask(
        files("huge.txt", input_format="files"), ("rank_documents", objects), files(), files("h*", "h*"), root=tmp_path
    )
    assert "1,073,741,824 bytes, more than 268,435,456" in message(huge)
    assert "1,073,741,824 bytes" in message(hint), "each file counts once"
    assert json.loads(number.structured_content["results"][0]["text"]) == objects["documents"][0]
    assert "at least 1" in message(none), "not stdin, which is the agent's"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_files_that_cannot_be_read_are_let_go(tmp_path: Path) -> None:
    """Each failed call kept its file open and what it had read in memory."""
    (tmp_path / "zeros.txt.gz").write_bytes(gzip.compress(bytes(300 * 2**20), 1))
    with talking(tmp_path) as server:
        opened, arguments = [], files("zeros.txt.gz", input_format="files")[1]
        for number in range(1, 9):
            say(server, "tools/call", {"name": "rank_files", "arguments": arguments}, number)
            assert answer(server)["result"]["isError"]
            opened.append(len(list(Path(f"/proc/{server.pid}/fd").iterdir())))
        assert opened[-1] == opened[0]


def test_hints_name_arguments_of_the_tool(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a boat\n")
    fields, kind = ask(files("a.txt", rank_fields=["x"]), files("a.txt", input_format="json"), root=tmp_path)
    assert "`rank_fields x`" in message(fields)
    assert '"input_format": "lines"' in message(kind)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb'"a\ud83d"', rb'"a\ufffd"'),
        (rb'"\ude00\ud83d\ude00\uD83D"', rb'"\ufffd\ud83d\ude00\ufffd"'),
        (rb'"\\ud83d \\\ud83d"', rb'"\\ud83d \\\ufffd"'),
        (rb'"\u00e9\n"', rb'"\u00e9\n"'),
    ],
)
def test_halves_of_surrogate_pairs(sent: bytes, read: bytes) -> None:
    assert without_halves(sent) == read


def test_half_an_emoji_is_answered(tmp_path: Path) -> None:
    with talking(tmp_path) as server:
        say(
            server,
            "tools/call",
            {"name": "rank_documents", "arguments": {"query": "a", "documents": ["cut \ud83d"]}},
            1,
        )
        assert answer(server)["result"]["structuredContent"]["results"][0]["text"] == "cut \ufffd"


def test_a_cancelled_call_makes_room_for_the_next(tmp_path: Path) -> None:
    with talking(tmp_path) as server:
        say(server, "tools/call", {"name": "rank_documents", "arguments": HOURS}, 1)
        say(server, "tools/call", {"name": "rank_documents", "arguments": HOURS}, 2)
        say(server, "tools/call", {"name": "rank_documents", "arguments": {"query": "a", "documents": ["b"]}}, 3)
        say(server, "notifications/cancelled", {"requestId": 2})
        say(server, "notifications/cancelled", {"requestId": 1})
        reply = answer(server)
        assert reply["id"] == 3, str(reply)[:900]


def test_many_calls_that_wait_leave_the_server_responsive(tmp_path: Path) -> None:
    with talking(tmp_path) as server:
        say(server, "tools/call", {"name": "rank_documents", "arguments": HOURS}, 1)
        for number in range(2, 80):
            say(
                server,
                "tools/call",
                {"name": "rank_documents", "arguments": {"query": "a", "documents": ["b"]}},
                number,
            )
        say(server, "ping", {}, 80)
        assert answer(server)["id"] == 80
        say(server, "notifications/cancelled", {"requestId": 1})
        assert {answer(server)["id"] for _ in range(2, 80)} == set(range(2, 80))


@pytest.mark.parametrize("end", ["stdin", signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("busy", [False, True])
def test_the_server_ends_with_its_agent(tmp_path: Path, end: Any, busy: bool) -> None:
    with talking(tmp_path) as server:
        if busy:
            say(server, "tools/call", {"name": "rank_documents", "arguments": HOURS}, 1)
        say(server, "ping", {}, 2)
        assert answer(server)["id"] == 2
        if end == "stdin":
            assert server.stdin
            server.stdin.close()
        else:
            server.send_signal(end)
        assert server.wait(60) == {"stdin": 0, signal.SIGINT: 130, signal.SIGTERM: 143}[end]
        assert server.stderr
        assert b"Traceback" not in server.stderr.read()


@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ("<&-", 2, "stdin or stdout is closed"),
        ("</dev/null >&-", 2, "stdin or stdout is closed"),
        (">/dev/full", 3, "cannot write to stdout: No space left on device"),
        ("</dev/null", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(env: dict[str, str], shell: str, code: int, words: str) -> None:
    command = f"{sys.executable} -m rerank_cli mcp {shell}"
    text = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    done = subprocess.run(["sh", "-c", command], input=text, capture_output=True, env=env, check=False)
    assert (done.returncode, words in done.stderr.decode()) == (code, True)
    assert "internal error" not in done.stderr.decode()
