# ruff: noqa: F811
"""What a killed conversion leaves is never a model; the next one removes it, but nothing that is in use or not ours."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest
from tiny_models import made, own_caches  # noqa: F401 fixtures

from rerank_cli.convert import model as conversion
from rerank_cli.convert.workspace import new_folder, remove_left
from rerank_cli.models.converted import MANIFEST

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "converted"


class Killed(BaseException):
    pass


def left_by_a_kill(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an unfinished copy that nobody locks."""
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_args, **_more: None)
        with new_folder(home / "target") as folder:
            (folder / MANIFEST).write_text("{}")
    return folder.parent


def test_a_killed_conversion_is_not_listed_and_the_next_one_removes_it(made, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RERANK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    home = tmp_path / "cache" / "models" / "converted"
    replace = conversion._replace

    def die(folder: Path, *_: object) -> None:
        copied = home / ".converting-killed1" / "new"
        copied.parent.mkdir()
        folder.rename(copied)  # as it was at the moment of the kill, with its manifest
        raise Killed

    model = str(made.folder("bert"))
    monkeypatch.setattr(conversion, "_replace", die)
    with pytest.raises(Killed):
        run("models", "convert", model)
    assert (home / ".converting-killed1" / "new" / MANIFEST).is_file()
    rows = json.loads(run("models", "list", "--json").out)
    assert [row["name"] for row in rows] == ["builtin"]
    monkeypatch.setattr(conversion, "_replace", replace)
    done = run("models", "convert", model)
    assert done.code == 0, done.err
    (copy,) = home.iterdir()
    assert (copy / MANIFEST).is_file()


def test_what_a_kill_left_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = left_by_a_kill(home, monkeypatch)
    (workspace / "old").mkdir()
    (workspace / "old" / "model.onnx").write_bytes(b"x")
    remove_left(home, {MANIFEST, "model.onnx"})
    assert list(home.iterdir()) == []


def test_a_file_that_is_not_ours_in_an_old_copy_stays(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = left_by_a_kill(home, monkeypatch)
    (workspace / "old").mkdir()
    (workspace / "old" / "thesis.txt").write_text("years of work")
    remove_left(home, {MANIFEST})
    assert [str(path.relative_to(workspace)) for path in sorted(workspace.rglob("*"))] == ["old", "old/thesis.txt"]


def _convert_slowly(home: Path, ready, end) -> None:
    with new_folder(home / "target") as folder:
        (folder / "model.onnx").write_bytes(b"x")
        ready.set()
        end.wait(60)
        (folder / MANIFEST).write_text("{}")
        folder.rename(home / "target")


def test_a_conversion_in_progress_is_left_alone(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=_convert_slowly, args=(home, ready, end))
    other.start()
    assert ready.wait(60)
    remove_left(home, {MANIFEST, "model.onnx"})
    end.set()
    other.join(60)
    assert other.exitcode == 0
    assert [path.name for path in home.iterdir()] == ["target"]
    assert sorted(path.name for path in (home / "target").iterdir()) == ["model.onnx", MANIFEST]


def test_a_link_with_such_a_name_is_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "new").mkdir(parents=True)
    (tmp_path / "mine" / "new" / "thesis.txt").write_text("years of work")
    home.mkdir()
    (home / ".converting-x").symlink_to(tmp_path / "mine")
    remove_left(home, {MANIFEST})
    assert (tmp_path / "mine" / "new" / "thesis.txt").is_file()
