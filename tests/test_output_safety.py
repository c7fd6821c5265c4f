"""Outputs are checked before anything is scored, and no planted file, link or other program's file is written."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from batch_support import rows
from conftest import ROOT

from rerank_cli import files
from rerank_cli.batch import journal as journals
from rerank_cli.batch.journal import Journal
from rerank_cli.errors import OutputError
from rerank_cli.files import cannot_write, open_locked, replacing
from rerank_cli.scorers import registry

NAMES = [".partial", ".state", ".state.new"]


class Unused:
    """A scorer that must not be opened."""

    def __init__(self, *_: object) -> None:
        raise AssertionError("a model was opened before the outputs were checked")


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "open_scorer", Unused)


# ---------------------------------------------------------------- before scoring


UNWRITABLE = {
    "no folder": (["-o", "none/out"], "none/out: No such file"),
    "a folder": (["-o", "folder"], "folder: Is a directory"),
    "below a file": (["-o", "file/out"], "Not a directory"),
    "a long name": (["-o", "n" * 300], "File name too long"),
    "a name too long for the journal": (["-o", "n" * 250], "File name too long"),
    "a socket": (["-o", "socket"], "No such device"),
    "errors without a folder": (["--errors", "none/errors"], "none/errors: No such file"),
    "errors into a folder": (["--errors", "folder", "-o", "out"], "folder: Is a directory"),
    "errors with a long name": (["--errors", "n" * 300], "File name too long"),
    "errors by descriptor": (["--errors", "/dev/fd/99"], "Bad file descriptor"),
    "summary without a folder": (["--summary", "none/summary"], "none/summary: No such file"),
    "summary into a folder": (["--summary", "folder"], "folder: Is a directory"),
    "an output folder that is a file": (["--out-dir", "file"], "cannot be created: File exists"),
    "an output that is a folder": (["--out-dir", "taken"], "taken/in.responses.jsonl: cannot write: it is not a plain"),
    "an output that is a link": (["--out-dir", "linked"], "linked/in.responses.jsonl: cannot write: it is not a plain"),
    "a partial file that is a link": (["-o", "planted"], "planted.partial: cannot write: it is not a plain file"),
    "errors beside that are a link": (["--out-dir", "errors", "--errors", "x"], "in.responses.jsonl.errors: cannot"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with all kinds of obstacles, and a file `victim` that links lead to."""
    import socket

    monkeypatch.chdir(tmp_path)
    for name in ("folder", "taken/in.responses.jsonl", "linked", "errors"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in (("file", ""), ("victim", "precious\n"), ("in.jsonl", rows(3))):
        (tmp_path / name).write_text(text)
    for name in ("linked/in.responses.jsonl", "planted.partial", "errors/in.responses.jsonl.errors"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    return tmp_path


@pytest.mark.parametrize(("argv", "reason"), UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_written_is_reported_before_a_model_is_opened(
    run, unused, folder: Path, argv: list[str], reason: str
) -> None:
    before = sorted(path.name for path in folder.iterdir())
    found = run("batch", "in.jsonl", *argv)
    assert (found.code, found.out) == (3, b"")
    assert reason in found.err
    assert (folder / "victim").read_text() == "precious\n"
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("name", ["none/out", "folder", "n" * 300, "socket", "/dev/fd/99"])
def test_outputs_of_all_commands_are_checked_first(run, unused, folder: Path, name: str) -> None:
    for argv in (
        ["-q", "x", "no-such-input", "-o", name],
        ["eval", "no-such-run", "--qrels", "no-such-qrels", "-o", name],
        ["compare", "no-such-run", "nor-this", "-o", name],
    ):
        found = run(*argv)
        assert (found.code, found.out) == (3, b"")
        assert "cannot write to" in found.err


def test_a_second_output_that_cannot_be_written_is_reported_before_the_first_is_ranked(
    run, unused, folder: Path
) -> None:
    (folder / "b.jsonl").write_text(rows(1))
    (folder / "ranked" / "b.responses.jsonl.state").mkdir(parents=True)
    found = run("batch", "in.jsonl", "b.jsonl", "--out-dir", "ranked")
    assert (found.code, "b.responses.jsonl.state: cannot write" in found.err) == (3, True)


def all_may_read(folder: Path) -> bool:
    return all(part.stat().st_mode & stat.S_IXOTH for part in (folder, *folder.parents))


AS_NOBODY = """
import os, sys
from pathlib import Path
import platformdirs, sqlite3, orjson, typer, rich
from rerank_cli.cli.main import main
from rerank_cli.scorers import registry
from rerank_cli.terminal import Terminal
import rerank_cli.cli.batch, rerank_cli.cli.rank, rerank_cli.cli.batch_outputs, rerank_cli.batch.local
import rerank_cli.batch.run, rerank_cli.batch.summary, rerank_cli.evaluation.before, rerank_cli.readers.input_stream
import rerank_cli.cli.rules, rerank_cli.writers.output, rerank_cli.cli.app, rerank_cli.cli.help, rerank_cli.cli.root_help
folder = Path(sys.argv[1])
for part in (folder, *folder.parents):
    if str(part).startswith("/tmp/") and part.stat().st_uid == 0:
        part.chmod(part.stat().st_mode | 0o055)
os.chdir(folder)
def refuse(*_):
    raise AssertionError("a model was opened")
registry.open_scorer = refuse
os.setgid(65534)
os.setuid(65534)
os.environ["HOME"] = "/nonexistent"
sys.exit(main(sys.argv[2:], Terminal.of_process()))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.skipif(not all_may_read(ROOT), reason="the checkout is in a folder that another user may not read")
@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["-o", "closed/out"], "Permission denied"),
        (["-o", "open/others"], "Permission denied"),
        (["-o", "sticky/writable"], "Operation not permitted"),
        (["--out-dir", "closed"], "Permission denied"),
        (["--errors", "open/others"], "Permission denied"),
        (["--summary", "closed/summary"], "Permission denied"),
    ],
)
def test_missing_rights_are_reported_before_a_model_is_opened(tmp_path: Path, argv: list[str], reason: str) -> None:
    (tmp_path / "in.jsonl").write_text(rows(1))
    for name, mode in (("closed", 0o755), ("open", 0o777), ("sticky", 0o1777)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    (tmp_path / "open" / "others").write_text("x")
    (tmp_path / "sticky" / "writable").write_text("x")
    (tmp_path / "sticky" / "writable").chmod(0o666)
    command = [sys.executable, "-c", AS_NOBODY, str(tmp_path), "batch", "in.jsonl", *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, reason in done.stderr) == (3, True), done.stderr


# ---------------------------------------------------------------- planted files


@pytest.mark.parametrize("end", NAMES)
@pytest.mark.parametrize("how", ["link", "dangling link", "hard link", "fifo"])
def test_planted_side_files_are_not_written(tmp_path: Path, end: str, how: str) -> None:
    """Also if they appear after the check: the journal itself follows no link and waits for no pipe."""
    victim, side = tmp_path / "victim", tmp_path / f"out{end}"
    victim.write_text("precious\n")
    if how == "fifo":
        os.mkfifo(side)
    elif how == "hard link":
        os.link(victim, side)
    else:
        side.symlink_to(victim if how == "link" else tmp_path / "nothing")
    if end == ".state.new":  # removed, as a torn one of a killed run is
        Journal(tmp_path / "out", None, {}, resume=False).close()
    else:
        with pytest.raises(OutputError, match=r"out\.(partial|state): cannot write"):
            Journal(tmp_path / "out", None, {}, resume=False)
    assert victim.read_text() == "precious\n"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize("end", [".partial", ".state"])
def test_side_files_of_another_user_are_refused(tmp_path: Path, end: str) -> None:
    side = tmp_path / f"out{end}"
    side.write_text("")
    os.chown(side, 12345, 12345)
    with pytest.raises(OutputError, match="belongs to another user"):
        Journal(tmp_path / "out", None, {}, resume=False)


def test_an_output_named_through_a_link_is_still_written_where_it_points(run, free, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(rows(3, bad=frozenset({1})))
    for name in ("out", "errors", "summary"):
        (tmp_path / f"{name}.link").symlink_to(tmp_path / name)
    argv = [f"--{'output' if name == 'out' else name}={tmp_path / name}.link" for name in ("out", "errors", "summary")]
    assert run("batch", tmp_path / "in.jsonl", *argv).code == 6
    assert [(tmp_path / name).read_bytes().count(b"\n") for name in ("out", "errors", "summary")] == [2, 1, 1]
    assert (tmp_path / "errors.link").is_symlink()


def test_files_of_other_programs_are_kept(run, free, tmp_path: Path) -> None:
    """A download called `out.partial`, a `terraform.state`: a name is not ownership."""
    (tmp_path / "in.jsonl").write_text(rows(3))
    (tmp_path / "out.partial").write_text("half a download\n")
    (tmp_path / "out.state").write_text('{"terraform": 1}')
    found = run("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out")
    assert found.code == 0
    assert found.err.count("a file that no batch wrote was in the way: it is ") == 2
    kept = {path.read_text() for path in tmp_path.glob("*.kept")}
    assert kept == {"half a download\n", '{"terraform": 1}'}
    assert (tmp_path / "out").read_bytes().count(b"\n") == 3


def test_results_of_other_inputs_with_numbered_names_are_kept(tmp_path: Path) -> None:
    from rerank_cli.batch.parts import cut, drop_numbered

    source = tmp_path / "train-00001-of-00002.jsonl"
    source.write_text(rows(1))
    other, recut = "train-00002-of-00002.out", "train-00001-of-00002-00001-of-00003.out"
    for name in (other, recut):
        (tmp_path / name).write_text("results")
    assert drop_numbered(tmp_path, cut([(str(source), source.stem, ".out")])) == 1
    assert (tmp_path / other).exists()
    assert not (tmp_path / recut).exists()


# ---------------------------------------------------------------- rights


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_result_is_private_from_its_first_byte(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(0o600)
    with replacing(target) as write:
        (new,) = (path for path in tmp_path.iterdir() if path != target)
        assert mode_of(new) == 0o600
        write(b"new")
    assert mode_of(target) == 0o600
    journal = Journal(target, tmp_path / "out.errors", {}, resume=False, errors_beside=True)
    journal.add(b"{}\n", b"{}\n", 1, {})
    names = ("out.partial", "out.state", "out.errors")
    assert [mode_of(tmp_path / name) for name in names] == [0o600] * 3
    journal.finish()
    journal.close()
    assert mode_of(target) == 0o600


@pytest.mark.parametrize("mode", [0o666, 0o4755])
def test_the_rights_of_the_old_file_are_taken_over(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(mode)
    with replacing(target) as write:
        write(b"new")
    assert mode_of(target) == mode


# ---------------------------------------------------------------- between opening and locking


def test_a_finished_output_is_not_truncated_by_a_run_that_opened_it_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process opens F.partial; the first renames it to F and lets the lock go; then the other gets the lock."""
    first = Journal(tmp_path / "out", None, {}, resume=False)
    first.add(b"finished\n", b"", 1, {})
    lock, finished = files._lock, []

    def late(stream, path: Path) -> None:
        if not finished and path.name == "out.partial":
            finished.append(True)
            first.finish()
            first.close()
            first.delete_state()
        lock(stream, path)

    monkeypatch.setattr(files, "_lock", late)
    second = Journal(tmp_path / "out", None, {}, resume=False)
    assert finished
    assert (tmp_path / "out").read_bytes() == b"finished\n"
    second.add(b"again\n", b"", 1, {})
    second.finish()
    second.close()
    assert (tmp_path / "out").read_bytes() == b"again\n"


def test_a_file_that_is_removed_while_its_lock_is_awaited_is_opened_again(tmp_path: Path, monkeypatch) -> None:
    path, lock = tmp_path / "rows", files._lock

    def late(stream, name: Path) -> None:
        if name.exists() and not (tmp_path / "once").exists():
            (tmp_path / "once").touch()
            name.unlink()
        lock(stream, name)

    monkeypatch.setattr(files, "_lock", late)
    with open_locked(path, partial(cannot_write, path=path)) as stream:
        stream.write(b"x")
    assert path.read_bytes() == b"x"


def test_errors_of_two_runs_do_not_mix(run, free, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        found = run("batch", "--errors", tmp_path / "errors", stdin=rows(1))
    assert (found.code, "another rerank is writing this file" in found.err) == (3, True)


def test_a_run_deletes_only_its_own_state(tmp_path: Path) -> None:
    first = Journal(tmp_path / "out", None, {}, resume=False)
    first.add(b"{}\n", b"", 1, {})
    first.finish()
    first.close()
    second = Journal(tmp_path / "out", None, {}, resume=False)
    second.add(b"{}\n{}\n", b"", 2, {})
    first.delete_state()
    second.close()
    assert json.loads((tmp_path / "out.state").read_text())["next_row"] == 2


# ---------------------------------------------------------------- Windows


def test_windows_renames_only_closed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to rename or remove a file that is open; a rename of ours must come after the close."""
    journal = Journal(tmp_path / "out", None, {}, resume=False)
    journal.add(b"{}\n", b"", 1, {})
    monkeypatch.setattr(journals, "WINDOWS", True)
    rename, renamed = Path.replace, []

    def checked(self: Path, target: Path) -> Path:
        renamed.append((self.name, journal._output.closed))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", checked)
    journal.finish()
    journal.close()
    assert renamed == [("out.state.new", False), ("out.partial", True)]
    assert (tmp_path / "out").read_bytes() == b"{}\n"
    empty = Journal(tmp_path / "empty", None, {}, resume=False)
    remove = Path.unlink

    def closed_first(self: Path, missing_ok: bool = False) -> None:
        assert self.suffix != ".partial" or empty._output.closed
        remove(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", closed_first)
    empty.close()
    assert not (tmp_path / "empty.partial").exists()


def test_windows_moves_aside_only_closed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out.partial").write_bytes(b"half a download\n")
    monkeypatch.setattr(journals, "WINDOWS", True)
    opened, rename = [], Path.rename
    lock = journals.open_locked

    def watched(path: Path, *more, **named):
        opened.append(lock(path, *more, **named))
        return opened[-1]

    def closed_first(self: Path, target: Path) -> Path:
        assert all(stream.closed for stream in opened)
        return rename(self, target)

    monkeypatch.setattr(journals, "open_locked", watched)
    monkeypatch.setattr(Path, "rename", closed_first)
    journal = Journal(tmp_path / "out", None, {}, resume=False)
    assert [path.read_bytes() for path in journal.kept] == [b"half a download\n"]
    journal.close()
