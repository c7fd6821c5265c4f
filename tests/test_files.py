"""Files are replaced whole or not at all."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import pytest

from rerank_cli.errors import OutputError
from rerank_cli.files import cannot_write, replacing


def test_a_file_is_replaced_whole_and_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with replacing(target) as write:
        write(b"ne")
        write(b"w")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [target]


def half_written(target: Path, error) -> None:
    with replacing(target, partial(cannot_write, path="results")) as write:
        write(b"half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("of the block itself"), ValueError])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, error) -> None:
    target = tmp_path / "results"
    target.write_bytes(b"old")
    with pytest.raises(type(error) if isinstance(error, Exception) else error) as caught:
        half_written(target, error)
    assert not isinstance(caught.value, OutputError)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_errors_are_raised_with_the_callers_message(tmp_path: Path) -> None:
    words, told = partial(cannot_write, path="out"), r"^out: cannot write: No such file or directory$"
    with pytest.raises(OutputError, match=told), replacing(tmp_path / "none" / "out", words):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "folder") as write:
        write(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_named_temporary_file_of_a_killed_run_is_overwritten(tmp_path: Path) -> None:
    target, left = tmp_path / "state", tmp_path / "state.new"
    left.write_bytes(b"torn, and longer than what comes")
    with replacing(target, temporary=left) as write:
        write(b"whole")
    assert target.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [target]
