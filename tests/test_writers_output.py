"""Closed pipes end quietly, full disks are reported, and files are written whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from writers_support import LINE, document, ranking, write

from rerank_cli.errors import OutputError
from rerank_cli.terminal import Terminal
from rerank_cli.writers import ClosedPipe, open_output

SCRIPT = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from writers_support import LINE, document, ranking
from rerank_cli.errors import RerankError
from rerank_cli.report import Report
from rerank_cli.settings import OutputSettings
from rerank_cli.terminal import Terminal
from rerank_cli.writers import ClosedPipe, write_ranking

count, form, output = int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
ranked = ranking([document(b"a line of some text, number %d" % i, LINE) for i in range(count)])
try:
    write_ranking(ranked, OutputSettings(format=form, output=output and Path(output)), Terminal.of_process(), Report())
except ClosedPipe:
    sys.exit(0)
except RerankError as error:
    sys.stderr.write(error.message)
    sys.exit(int(error.code))
""".format(root=str(ROOT), tests=str(ROOT / "tests"))


def start(*argv: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *argv], stderr=subprocess.PIPE, **options)  # type: ignore[call-overload, no-any-return]


def memory() -> Terminal:
    return Terminal(io.BytesIO(), io.BytesIO(), io.StringIO())


# ---------------------------------------------------------------- real processes


@pytest.mark.parametrize("form", ["lines", "jsonl", "table"])
@pytest.mark.parametrize("count", [1, 20_000])
def test_a_closed_pipe_ends_quietly(form: str, count: int) -> None:
    """Also with output so short that it fails only at the last flush, and none of it at interpreter shutdown."""
    if form == "table":
        count = min(count, 500)
    read, written = os.pipe()
    os.close(read)
    process = start(str(count), form, stdout=written)
    os.close(written)
    assert process.communicate()[1] == b""
    assert process.returncode == 0


def test_a_pipe_closed_midway_ends_quietly() -> None:
    process = start("50000", "jsonl", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"text":"a line')
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("count", [1, 20_000])
@pytest.mark.parametrize("form", ["lines", "json"])
def test_a_full_disk_is_reported_with_its_reason(count: int, form: str) -> None:
    with Path("/dev/full").open("wb") as full:
        process = start(str(count), form, stdout=full)
        assert process.communicate()[1] == b"cannot write to stdout: No space left on device"
    assert process.returncode == 3
    process = start(str(count), form, "/dev/full", stdout=subprocess.DEVNULL)
    assert process.communicate()[1] == b"cannot write to /dev/full: No space left on device"
    assert process.returncode == 3


def test_a_closed_stdout_is_an_error_and_not_a_crash() -> None:
    process = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", SCRIPT, "5", "lines"],
        capture_output=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (3, b"cannot write to stdout: Bad file descriptor")


def test_a_non_blocking_pipe_gets_everything() -> None:
    """Other programs leave descriptors non-blocking behind them; a slow reader is then no error."""
    import time

    read, written = os.pipe()
    os.set_blocking(written, False)
    process = start("20000", "jsonl", stdout=written)
    os.close(written)
    time.sleep(0.5)
    with os.fdopen(read, "rb") as stream:
        found = stream.read()
    assert process.communicate()[1] == b""
    assert found.count(b"\n") == 20_000
    assert process.returncode == 0


def test_a_file_that_grows_too_large_is_reported_and_removed(tmp_path: Path) -> None:
    """As on a disk that fills up while writing: the reason is reported, and no part of the file remains."""
    limited = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-B", "-c", SCRIPT, "20000", "jsonl"]
    done = subprocess.run([*limited, str(tmp_path / "out")], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr == f"cannot write to {tmp_path / 'out'}: File too large".encode()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("form", "loaded"), [("jsonl", False), ("lines", False), ("csv", False), ("table", True)])
def test_only_the_table_loads_rich(form: str, loaded: bool) -> None:
    told = SCRIPT + "\nsys.stderr.write(str('rich' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", told, "2", form], capture_output=True, check=False)
    assert done.stderr == str(loaded).encode()


def test_dev_stdout_is_stdout(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with target.open("wb") as stream:
        stream.write(b"before\n")
        stream.flush()
        process = start("1", "ids", "/dev/stdout", stdout=stream)
        assert process.communicate()[1] == b""
    assert target.read_bytes() == b"before\n3\n"


# ---------------------------------------------------------------- files


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "out.lines"
    with open_output(target, memory()) as put:
        put(b"one\n")
        assert not target.exists()
        put(b"two\n")
    assert target.read_bytes() == b"one\ntwo\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.lines"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("fault", [ValueError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(type(fault)), open_output(target, memory()) as put:  # noqa: PT012 both lines belong to the case
        put(b"new")
        raise fault
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_permissions_and_symlinks_survive(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("target")
    with open_output(link, memory()) as put:
        put(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_dangling_symlink_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    with open_output(tmp_path / "link", memory()) as put:
        put(b"new")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_fifo_is_written_directly(tmp_path: Path) -> None:
    import threading

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    with open_output(fifo, memory()) as put:
        put(b"through")
    reader.join()
    assert found == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_long_file_names_work(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    with open_output(target, memory()) as put:
        put(b"x")
    assert target.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("name", "reason"), [("missing/out", "No such file"), (".", "Is a directory"), ("file/out", "Not a directory")]
)
def test_unwritable_paths_are_reported(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=reason), open_output(tmp_path / name, memory()):
        pass


def test_the_file_keeps_raw_bytes_even_beside_a_terminal(tmp_path: Path) -> None:
    target = tmp_path / "out"
    write(ranking([document(b"a\x1b[31mb\xff", LINE)]), "lines", tty=True, output=target)
    assert target.read_bytes() == b"a\x1b[31mb\xff\n"


def test_a_dash_is_stdout() -> None:
    assert write(ranking([document(b"x", LINE)]), "lines", output=Path("-")) == b"x\n"


# ---------------------------------------------------------------- streams that fail


class Broken(io.BytesIO):
    """A stream that fails with one errno."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def write(self, data: object) -> int:
        raise OSError(self.code, os.strerror(self.code))


def test_errors_of_a_stream_without_descriptor() -> None:
    with (
        pytest.raises(ClosedPipe),
        open_output(None, Terminal(io.BytesIO(), Broken(errno.EPIPE), io.StringIO())) as put,
    ):
        put(b"x")
    with (
        pytest.raises(OutputError, match="Input/output error"),
        open_output(None, Terminal(io.BytesIO(), Broken(errno.EIO), io.StringIO())) as put,
    ):
        put(b"x")
