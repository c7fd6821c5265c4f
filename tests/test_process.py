"""The program as a process: pipes, signals, disks, locales, terminals, and what it leaves behind.

Every test starts the real program; nothing is patched inside it.
"""

from __future__ import annotations

import errno
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import CAPITAL, PROGRAM, ROOT, SAMPLES

TWO = b"Washington is the capital.\nBread and butter.\n"
RANK = ["-q", CAPITAL, "-f", "lines"]


def start(*argv: str | Path, env: dict[str, str], **streams) -> subprocess.Popen[bytes]:
    defaults = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*PROGRAM, *map(str, argv)], env=env, **(defaults | streams))


def shell(script: str, env: dict[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """A line of bash in which `rerank` is the program."""
    define = f'rerank() {{ "{sys.executable}" -m rerank_cli "$@"; }}\n'
    return subprocess.run(
        ["bash", "--norc", "-c", define + script], env=env, cwd=cwd, capture_output=True, timeout=100, check=False
    )


# --- pipes


@pytest.mark.parametrize("count", [3, 20_000], ids=["short output", "long output"])
def test_a_closed_pipe_is_not_a_failure(env: dict[str, str], count: int) -> None:
    """Short output is lost at the last flush, long output in the middle: both end quietly with 0."""
    script = (
        f"yes 'capital of a country' | head -{count} | rerank -q capital --input-format lines -f jsonl "
        "| true; echo ${PIPESTATUS[2]}"
    )
    done = shell(script, env)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_the_first_line_is_whole_when_the_rest_is_not_read(env: dict[str, str]) -> None:
    done = shell("yes 'capital' | head -5000 | rerank -q capital -f jsonl | head -1; echo ${PIPESTATUS[2]}", env)
    record, code = done.stdout.splitlines()
    assert json.loads(record)["rank"] == 1
    assert (code, done.stderr) == (b"0", b"")


def test_help_into_a_closed_pipe(env: dict[str, str]) -> None:
    done = shell("rerank --help | true; echo ${PIPESTATUS[0]}", env)
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_records_through_two_reranks(env: dict[str, str]) -> None:
    """`rerank -f jsonl | rerank`: the keys are replaced, one warning says so."""
    done = shell(f"rerank -q capital -f jsonl {SAMPLES}/capital.jsonl | rerank -q '{CAPITAL}' -f jsonl -n 1", env)
    record = json.loads(done.stdout)
    assert (record["id"], record["rank"]) == ("washington-dc", 1)
    assert done.stdout.count(b'"relevance_score"') == 1
    assert done.stderr.count(b"warning") == 1


# --- signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_it_at_once_and_leaves_nothing(
    env: dict[str, str], tmp_path: Path, number: int, code: int
) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("what was there before\n")
    process = start(*RANK, "-v", "-o", output, env=env)
    # More than a pipe holds, and not yet a document: when all is written, the program has loaded its reader and reads.
    process.stdin.write(b"a" * (1 << 20))
    process.stdin.flush()
    assert process.stderr.readline().startswith(b"rerank: configuration: ")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, b"")
    assert b"Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert output.read_text() == "what was there before\n"


# --- streams that are closed, full or of the wrong kind


def test_a_non_blocking_stdin_is_read_to_its_end(env: dict[str, str]) -> None:
    """Other programs leave descriptors non-blocking behind them; a slow writer is then not the end."""
    read, written = os.pipe()
    os.set_blocking(read, False)
    process = start(*RANK, env=env, stdin=read)
    os.close(read)
    with os.fdopen(written, "wb", buffering=0) as stream:
        for line in (b"Washington is the capital.\n", b"Bread and butter.\n"):
            time.sleep(0.7)
            stream.write(line)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, TWO, b"")


def test_closed_stdin_is_empty_input(env: dict[str, str]) -> None:
    """As under some daemons: file descriptor 0 is closed."""
    done = shell("rerank -q x <&-; echo $?", env)
    assert done.stdout == b"0\n"
    assert b"no documents" in done.stderr


def test_closed_stdin_does_not_matter_when_files_are_named(env: dict[str, str]) -> None:
    done = shell(f"rerank -q '{CAPITAL}' -f ids -n 1 {SAMPLES}/capital.jsonl <&-", env)
    assert (done.stdout, done.returncode) == (b"washington-dc\n", 0)


def test_closed_stdout_and_stderr(env: dict[str, str]) -> None:
    done = shell("printf 'a\\nb\\n' | rerank -q a >&-; echo $? >&2", env)
    assert b"Traceback" not in done.stderr
    assert done.stderr.endswith(b"3\n")  # the results are lost, so this is no success
    quiet = shell("printf 'a\\nb\\n' | rerank -q a 2>&-; echo $?", env)
    assert quiet.stdout.splitlines()[-1] == b"0"
    assert b"a" in quiet.stdout.splitlines()


@pytest.mark.parametrize("how", [[], ["--json"], ["-f", "table"], ["-f", "csv"], ["-o", "/dev/full"]], ids=str)
def test_a_full_disk_is_an_error(env: dict[str, str], how: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("-q", CAPITAL, *how, env=env, stdout=full)
        _, err = process.communicate(TWO, timeout=60)
    assert process.returncode == 3
    assert os.strerror(errno.ENOSPC).lower() in err.decode().lower()
    assert b"Traceback" not in err


def test_a_help_that_cannot_be_written_is_an_error(env: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start("--help", env=env, stdout=full)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, b"Traceback" in err) == (3, False)


def test_a_full_stderr_does_not_matter(env: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(*RANK, "-v", env=env, stderr=full)
        out, _ = process.communicate(TWO, timeout=60)
    assert (process.returncode, out) == (0, TWO)


def test_an_output_folder_that_is_read_only_or_missing(env: dict[str, str], tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "out.csv", Path("/proc/out.csv")):
        process = start(*RANK[:2], "-o", path, env=env)
        out, err = process.communicate(TWO, timeout=60)
        assert (process.returncode, out) == (3, b"")
        assert err.startswith(b"rerank: error: ")


def test_a_folder_and_a_file_without_permission(process, tmp_path: Path) -> None:
    folder = process("-q", "x", tmp_path)
    assert (folder.code, folder.out) == (3, b"")
    assert "directory" in folder.err


# --- locale, colour, terminals


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1", "xx_YY.nonsense", ""])
def test_bytes_survive_any_locale(env: dict[str, str], locale: str) -> None:
    documents = "Zürich ist die größte Stadt der Schweiz.\n東京は日本の首都です。\n".encode()
    process = start("-q", "größte Stadt", "-f", "lines", env=env | {"LC_ALL": locale, "PYTHONUTF8": "0"})
    out, err = process.communicate(documents, timeout=60)
    assert process.returncode == 0, err
    assert sorted(out.splitlines()) == sorted(documents.splitlines())
    table = start("-q", "größte Stadt", "-f", "table", env=env | {"LC_ALL": locale})
    drawn, _ = table.communicate(b"plain words\n", timeout=60)
    assert drawn.isascii()


def test_a_query_that_is_not_utf8(env: dict[str, str]) -> None:
    """Bytes that are no text are replaced; a query is never a reason to crash."""
    done = shell("printf 'gr\\374n is green\\nblue\\n' | rerank -q $'gr\\374n' -f lines --quiet", env)
    assert (done.returncode, done.stdout.splitlines()) == (0, [b"gr\xfcn is green", b"blue"]), done.stderr


def test_an_error_that_the_locale_cannot_encode(env: dict[str, str]) -> None:
    process = start("-q", "x", "größe.txt", env=env | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, b"")
    assert b"no such file" in err


class Screen:
    """A pseudo-terminal for the program, read until it ends."""

    def __init__(self, *argv: str | Path, env: dict[str, str], stdin: bytes | None = b"") -> None:
        self.master, slave = pty.openpty()
        given = slave if stdin is None else subprocess.PIPE
        self.process = start(*argv, env=env, stdin=given, stdout=slave, stderr=slave)
        os.close(slave)
        if stdin is not None:
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def finish(self) -> tuple[bytes, int]:
        shown, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    piece = os.read(self.master, 65536)
                except OSError:  # Linux says EIO when the other side is closed
                    break
                if not piece:
                    break
                shown += piece
            elif self.process.poll() is not None:
                break
        os.close(self.master)
        return shown, self.process.wait(timeout=30)


ESC = b"\x1b["
COLOURS = {
    "a terminal has colour": ({"TERM": "xterm"}, [], True),
    "NO_COLOR": ({"TERM": "xterm", "NO_COLOR": "1"}, [], False),
    "an empty NO_COLOR says nothing": ({"TERM": "xterm", "NO_COLOR": ""}, [], True),
    "a dumb terminal": ({"TERM": "dumb"}, [], False),
    "--color never": ({"TERM": "xterm", "FORCE_COLOR": "1"}, ["--color", "never"], False),
    "--color always beats NO_COLOR": ({"TERM": "xterm", "NO_COLOR": "1"}, ["--color", "always"], True),
}


@pytest.mark.parametrize(("extra", "argv", "colour"), COLOURS.values(), ids=COLOURS)
def test_colour_on_a_terminal(env: dict[str, str], extra: dict[str, str], argv: list[str], colour: bool) -> None:
    shown, code = Screen(*RANK[:2], *argv, "--quiet", env=env | extra, stdin=TWO).finish()
    assert code == 0
    assert b"Washington" in shown, "a terminal gets the table"
    assert (ESC in shown) is colour


@pytest.mark.parametrize(
    ("extra", "colour"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": ""}, False)], ids=str
)
def test_colour_in_a_pipe(env: dict[str, str], extra: dict[str, str], colour: bool) -> None:
    process = start(*RANK[:2], "-f", "table", env=env | extra)
    out, err = process.communicate(TWO, timeout=60)
    assert (ESC in out) is colour
    assert ESC not in err, "no progress where no terminal is"


def test_a_document_cannot_control_the_terminal(env: dict[str, str]) -> None:
    evil = b"\x1b]0;owned\x07\x1b[2Jcapital \xe2\x80\xae[/b][red]x\n"
    shown, code = Screen("-q", "capital", "-f", "lines", "--quiet", env=env | {"TERM": "xterm"}, stdin=evil).finish()
    assert code == 0
    assert b"\x1b]0;" not in shown
    assert b"\x1b[2J" not in shown
    assert b"[/b][red]x" in shown


def test_a_terminal_on_stdin_is_not_read(env: dict[str, str]) -> None:
    """It does not wait: the error names what is missing; without arguments, the short help is shown."""
    shown, code = Screen("-q", "x", env=env, stdin=None).finish()
    assert code == 2
    assert b"rerank: error: " in shown
    assert b"hint: " in shown
    shown, code = Screen(env=env, stdin=None).finish()
    assert code == 2
    assert b"usage: rerank --query TEXT" in shown


# --- what it leaves behind, and whom it talks to


FORBIDDEN = """
import socket
def refuse(*_args, **_kwargs):
    raise SystemExit("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.socket.bind = refuse
socket.create_connection = socket.getaddrinfo = refuse
"""


@pytest.mark.parametrize(
    "argv", [[*RANK, "-v"], ["--json", "-q", "x"], ["--help"], ["--version"], ["config"]], ids=lambda argv: argv[0]
)
def test_an_empty_home_stays_empty_and_no_socket_opens(
    env: dict[str, str], tmp_path: Path, home: Path, argv: list[str]
) -> None:
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(FORBIDDEN)
    work = tmp_path / "work"
    work.mkdir()
    places = env | {"PYTHONPATH": f"{guard}:{ROOT}", "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
    process = start(*argv, env=places, cwd=work)
    out, err = process.communicate(TWO, timeout=60)
    assert process.returncode == 0, err
    assert out
    assert b"a socket was opened" not in err
    assert list(home.rglob("*")) == []
    assert list(work.rglob("*")) == []


def test_the_socket_guard_works(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(FORBIDDEN)
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert b"a socket was opened" in done.stderr


def test_a_home_that_is_missing_or_read_only(env: dict[str, str]) -> None:
    process = start(*RANK, env=env | {"HOME": "/nonexistent"})
    out, err = process.communicate(TWO, timeout=60)
    assert (process.returncode, out, err) == (0, TWO, b"")


def test_a_current_folder_that_is_gone(env: dict[str, str], tmp_path: Path) -> None:
    done = shell(
        "mkdir gone; cd gone; rmdir ../gone; printf 'a\\nb\\n' | rerank -q a --quiet; echo $?", env, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == b"0", done.stderr


def test_hostile_modules_in_the_current_folder_are_not_imported(env: dict[str, str], tmp_path: Path) -> None:
    """The installed command does not look for modules in the current folder."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the current folder')")
    code = "import sys; from rerank_cli.cli.main import run; sys.argv = ['rerank', *sys.argv[1:]]; run()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *RANK], input=TWO, env=env, cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, TWO)
