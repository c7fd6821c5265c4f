"""A standard stream that an option names is written through: nothing that is in it already is lost."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from batch_support import rows
from conftest import PROGRAM

from rerank_cli.descriptors import descriptor_of, is_plain_target, open_stream

BAD = frozenset({1, 3})


def start(argv: list[object], env: dict[str, str], redirection: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the shell's redirections."""
    words = [*PROGRAM, *map(str, argv)]
    script = f'"$@" {redirection}'
    return subprocess.run(["bash", "-c", script, "sh", *words], env=env, cwd=cwd, capture_output=True, check=False)


@pytest.mark.parametrize(
    "name", ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "/proc/thread-self/fd/2", "link", "folder/2", "log"]
)
def test_errors_to_a_redirected_stderr_are_added_to_it(tmp_path: Path, env: dict[str, str], name: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stderr")
    (tmp_path / "folder").symlink_to("/dev/fd")
    (tmp_path / "in.jsonl").write_text(rows(5, bad=BAD))
    (tmp_path / "log").write_text("here before\n")
    output = ["-o", "out.jsonl"] if name in {"/dev/stderr", "log"} else []
    done = start(["batch", "in.jsonl", "--errors", name, *output], env, "2>> log", tmp_path)
    assert done.returncode == 6, done.stderr
    log = (tmp_path / "log").read_text()
    assert log.startswith("here before\n")
    assert log.count('"where": "in.jsonl:2"') == 1
    assert log.count("\nin.jsonl:4: not valid JSON") == 1
    assert log.count("rerank: error: 2 of 5 rows failed\n") == 1
    assert "\0" not in log


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "out"])
@pytest.mark.parametrize("option", ["-o", "--errors", "--summary"])
def test_a_redirected_stdout_keeps_what_it_has(tmp_path: Path, env: dict[str, str], name: str, option: str) -> None:
    (tmp_path / "in.jsonl").write_text(rows(5, bad=BAD))
    (tmp_path / "out").write_text("here before\n")
    script = f'{{ echo first; "$@" batch in.jsonl {option} {name} --quiet; }} >> out'
    argv = ["bash", "-c", script, "sh", *PROGRAM]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 6, done.stderr
    written = (tmp_path / "out").read_text()
    assert written.startswith("here before\nfirst\n")
    assert written.count('"results"') == 3
    assert written.count('"where"') == (2 if option == "--errors" else 0)
    assert written.count('"schema_version"') == (option == "--summary")


@pytest.mark.parametrize("argv", [["-q", "x", "-f", "jsonl"], ["batch"]], ids=["rank", "batch"])
def test_any_open_descriptor_is_written_through(tmp_path: Path, env: dict[str, str], argv: list[str]) -> None:
    (tmp_path / "in.jsonl").write_text('{"query": "x", "documents": ["a"]}\n')
    (tmp_path / "out").write_text("here before\n")
    words = [*argv, "in.jsonl", "-o", "/dev/fd/7"]
    done = start(words, env, "7>> out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text().startswith("here before\n{")
    for redirection in ("7< in.jsonl", "7>&-"):
        failed = start(words, env, redirection, tmp_path)
        assert (failed.returncode, failed.stdout) == (3, b"")
        assert b"cannot write to /dev/fd/7: Bad file descriptor" in failed.stderr
    assert "documents" in (tmp_path / "in.jsonl").read_text()


def test_a_closed_stdout_is_reported_before_anything_is_scored(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "in.jsonl").write_text(rows(2))
    for argv in (["-q", "x", "in.jsonl"], ["batch", "in.jsonl"]):
        done = start([*argv, "-m", "./no-such-model"], env, ">&-", tmp_path)
        assert done.returncode == 3
        assert b"cannot write to stdout: Bad file descriptor" in done.stderr


def test_the_errors_of_rows_may_not_go_to_the_file_behind_stdin(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "in.jsonl").write_text(rows(3))
    for option in ("--errors", "--summary"):
        done = start(["batch", "-", option, "in.jsonl"], env, "< in.jsonl", tmp_path)
        assert done.returncode == 2
        assert f"{option} in.jsonl is also standard input".encode() in done.stderr
    assert (tmp_path / "in.jsonl").read_text() == rows(3)


def test_plain_files_below_dev_are_plain_files(run, free, tmp_path: Path) -> None:
    """Shared memory is a folder like any other: results appear there whole, and nothing is added to an old file."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        pytest.skip("no shared memory on this system")
    target = shared / f"rerank-test-{os.getpid()}"
    try:
        for _ in range(2):
            assert run("batch", "-o", target, stdin=rows(2)).code == 0
            assert target.read_bytes().count(b"\n") == 2
    finally:
        target.unlink(missing_ok=True)


def test_names_of_descriptors_and_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "named").symlink_to("/proc/self/fd/5")
    assert descriptor_of("/dev/stdin") == 0
    assert descriptor_of(f"/proc/{os.getpid()}/fd/12") == 12
    assert descriptor_of(f"/proc/{os.getpid()}/task/{os.getpid()}/fd/2") == 2
    assert descriptor_of(tmp_path / "named") == 5
    assert descriptor_of("/dev/../dev/./fd/3") == 3
    for other in ("/dev/null", "/dev/fd/x", tmp_path / "loop", tmp_path / "none", "-"):
        assert descriptor_of(other) is None
    assert not is_plain_target("/dev/null")
    assert is_plain_target(tmp_path / "none")


def test_a_file_that_another_process_has_open_is_added_to(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        log.write("here before\n")
        log.flush()
        other = subprocess.Popen(["sleep", "60"], stdout=log)
        try:
            name = f"/proc/{other.pid}/fd/1"
            assert not is_plain_target(name)
            with open_stream(name) as stream:
                stream.write(b"added\n")
        finally:
            other.kill()
            other.wait()
    assert (tmp_path / "log").read_text() == "here before\nadded\n"
