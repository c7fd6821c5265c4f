"""Texts in model files that no encoder takes, names that no engine opens, and what an engine says on stdout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fuzz.models import MANIFEST
from tiny_graphs import model_folder

from rerank_cli.errors import ModelError
from rerank_cli.models.converted import key_of
from rerank_cli.models.files import read_json, safetensors_header
from rerank_cli.models.onnx_files import external_files
from rerank_cli.models.reference import resolve

HALVES = [rb'{"name": "\ud800"}', rb'{"\udfff": 1}', b'{"name": ["\xed\xa0\x80"]}']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model")[0]


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


@pytest.mark.parametrize("data", HALVES)
def test_half_a_surrogate_pair_in_any_json_file_of_a_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="half of a surrogate pair"):
        read_json(path)
    path.write_bytes(len(data).to_bytes(8, "little") + data)
    with pytest.raises(ModelError, match="half of a surrogate pair"):
        safetensors_header(path)


def test_whole_pairs_and_backslashes_are_texts(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(rb'{"name": "\ud83d\ude00", "path": "C:\\ud800", "ju": "' + "팀".encode() + b'"}')
    assert read_json(tmp_path / "x.json") == {"name": "\U0001f600", "path": r"C:\ud800", "ju": "팀"}


def test_a_manifest_with_half_a_pair_is_an_error_of_the_model(run, folder: Path) -> None:
    (folder / "rerank.json").write_text(json.dumps(MANIFEST | {"revision": "\ud800"}))
    for argv in (("rank", "-q", "q", "-m", str(folder)), ("models", "show", str(folder))):
        done = run(*argv, stdin="a\nb\n")
        assert done.code == 4, done.err
        assert "half of a surrogate pair" in done.err


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
def test_a_folder_whose_name_is_not_utf8(run, folder: Path) -> None:
    other = Path(os.fsdecode(os.fsencode(folder.parent) + b"/m\xff"))
    try:
        folder.rename(other)
    except OSError:
        pytest.skip("a file system with names in Unicode only")
    done = run("rank", "-q", "q", "-m", str(other), stdin="a\nb\n")
    assert done.code == 4, done.err
    assert "is not UTF-8" in done.err
    assert "hint: rename the folder" in done.err


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX systems only")
def test_a_folder_above_whose_name_is_not_utf8(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    above = Path(os.fsdecode(os.fsencode(folder.parent) + b"/m\xff"))
    try:
        above.mkdir()
    except OSError:
        pytest.skip("a file system with names in Unicode only")
    folder.rename(above / "model")
    monkeypatch.chdir(above)
    assert len(key_of(resolve("./model"))) == 24


def test_an_engine_that_cannot_load_a_graph_says_nothing_on_stdout(run, folder: Path, capfd) -> None:
    """ONNX Runtime announces a fallback there for an error that it cannot decode."""
    graph = (folder / "model.onnx").read_bytes()
    assert b"ReduceSum" in graph
    (folder / "model.onnx").write_bytes(graph.replace(b"ReduceSum", b"Reduce\xc7um"))
    done = run("rank", "-q", "q", "-m", str(folder), "--backend", "onnx", stdin="a\nb\n")
    assert done.code == 4, done.err
    assert capfd.readouterr().out == ""
    assert done.out == b""


@pytest.mark.parametrize("higher", [1 << 32, 3 << 32])
def test_a_field_number_that_engines_cut_down_hides_no_location(folder: Path, higher: int) -> None:
    """Protobuf's readers keep the low 32 bits of a tag: the graph (field 7) is found there, and must be found here."""
    import onnx
    import onnxruntime

    path = folder / "model.onnx"
    assert [each.name for each in external_files(path, folder)] == ["weights.bin"]
    model = onnx.load(path, load_external_data=False)
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    path.write_bytes(model.SerializeToString() + varint(higher | 7 << 3 | 2) + varint(len(graph)) + graph)
    onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])  # it loads the weights
    with pytest.raises(ModelError, match="impossible number"):
        external_files(path, folder)


def test_a_link_that_leads_to_itself_is_an_error_of_the_model(folder: Path) -> None:
    (folder / "more.json").symlink_to(folder / "more.json")
    with pytest.raises(ModelError, match="leads to itself"):
        resolve(str(folder))
    (folder / "rerank.json").write_text(json.dumps(MANIFEST))
    with pytest.raises(ModelError, match="leads to itself"):
        resolve(str(folder))
