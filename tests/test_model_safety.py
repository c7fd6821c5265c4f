# ruff: noqa: F811
"""What is opened stays inside its folder, what is digested is what is loaded, what is removed is what we wrote."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
from tiny_graphs import WEIGHTS, graph, model_folder, weights_of
from tiny_models import COMMIT, edit, into_hub_cache, made, own_caches  # noqa: F401 fixtures

from rerank_cli import hub, models, owned
from rerank_cli.convert.model import convert
from rerank_cli.errors import ConfigError, ModelError, UsageError
from rerank_cli.inside import is_hub_name, is_relative, is_revision, joined
from rerank_cli.models.facts import LoadPolicy
from rerank_cli.models.onnx_files import external_files
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.open_local import identify, open_local
from rerank_cli.settings import Limits, ModelSettings

LEADING_OUT = [
    "../secret",
    "a/../../secret",
    "/etc/passwd",
    "..",
    "a\\..\\b",
    "C:secret",
    "C:/x",
    "a//b",
    "",
    "a\0b",
    "a\nb",
]


def settings(model: Path | str, **more) -> ModelSettings:
    return ModelSettings(model=str(model), backend="onnx", threads=1, **more)


def score(model: Path | str, **more) -> float:
    scorer = open_local(settings(model, **more), Report())
    try:
        return scorer.score([Pair("capital", "the capital of Nevada")], Limits())[0].value
    finally:
        scorer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "model")[0]


# --- What is digested is what is loaded.


@pytest.mark.parametrize("name", [WEIGHTS, "model.onnx", "tokenizer.json", "config.json"])
def test_a_change_of_any_loaded_file_changes_the_digest(folder: Path, name: str) -> None:
    before, scored = identify(settings(folder)).digest, score(folder)
    stat = (folder / name).stat()
    data = bytearray((folder / name).read_bytes())
    if name == WEIGHTS:
        weights_of(folder / name, len(data) // 4, seed=4)
    else:
        more = b"\x1a\x01x" if name == "model.onnx" else b" "  # of a graph: the version of its producer
        (folder / name).write_bytes(bytes(data) + more)
    os.utime(folder / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identify(settings(folder)).digest != before
    if name == WEIGHTS:
        assert score(folder) != scored


def test_other_files_do_not_change_the_digest(folder: Path) -> None:
    before = identify(settings(folder)).digest
    (folder / "model.onnx.extra_data").write_bytes(b"not read")
    (folder / "notes.txt").write_text("mine")
    assert identify(settings(folder)).digest == before


def test_changed_weights_of_a_hub_model_change_the_digest(folder: Path, tmp_path: Path) -> None:
    snapshot = into_hub_cache(folder, tmp_path / "hf", "acme/tiny")
    before = identify(settings("acme/tiny")).digest
    blob = (snapshot / WEIGHTS).resolve()
    data = bytearray(blob.read_bytes())
    data[5] ^= 1
    blob.write_bytes(data)
    assert identify(settings("acme/tiny")).digest != before


def test_changed_weights_of_a_converted_copy_change_the_digest(made, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(made.converted("bert"), tmp_path / "copy"))
    before = identify(settings(copy)).digest
    data = bytearray((copy / "model.onnx.data").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx.data").write_bytes(data)
    changed = identify(settings(copy)).digest
    edit(copy / "rerank.json", max_tokens=32)
    assert len({before, changed, identify(settings(copy)).digest}) == 3


# --- What is opened stays inside the folder in which it was named.


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    assert not is_relative(name)
    with pytest.raises(ModelError, match="leaves the folder"):
        joined(tmp_path, name)


@pytest.mark.parametrize(
    "location", ["../outside.bin", "{outside}", "link.bin", "sub/../../outside.bin", "*/_ORT_MEM_ADDR_/*"]
)
def test_weights_outside_the_folder_are_refused(folder: Path, tmp_path: Path, location: str) -> None:
    outside = tmp_path / "outside.bin"
    shutil.copy(folder / WEIGHTS, outside)
    (folder / "link.bin").symlink_to(outside)
    (folder / "sub").mkdir()
    tokens = (folder / WEIGHTS).stat().st_size // 4
    graph(folder / "model.onnx", tokens, location.format(outside=outside))
    for use in (score, lambda model: identify(settings(model)).digest):
        with pytest.raises(ModelError, match=r"leaves the folder|link out of the model folder|is missing"):
            use(folder)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [({"offset": "64"}, "reads"), ({"length": "-1"}, "the length"), ({"offset": "²"}, "the offset"), ({"length": "9" * 18}, "reads")],
)  # fmt: skip
def test_weights_beyond_the_end_of_their_file_are_refused(folder: Path, entries: dict[str, str], problem: str) -> None:
    graph(folder / "model.onnx", (folder / WEIGHTS).stat().st_size // 4, **entries)
    with pytest.raises(ModelError, match=problem):
        score(folder)


def test_locations_are_found_wherever_a_tensor_may_be(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def tensor(location: str) -> TensorProto:
        made = TensorProto(name=location, data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        made.external_data.add(key="location", value=location)
        return made

    inner = helper.make_graph([], "inner", [], [], [tensor("subgraph.bin")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner)
    constant = helper.make_node("Constant", [], ["c"], value=tensor("attribute.bin"))
    body = helper.make_graph([branch, constant], "g", [], [], [tensor("initializer.bin")])
    model = helper.make_model(body)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor("sparse.bin"))
    function = model.functions.add()
    function.node.add().CopyFrom(helper.make_node("Constant", [], ["c"], value=tensor("function.bin")))
    names = {"subgraph.bin", "attribute.bin", "initializer.bin", "sparse.bin", "function.bin"}
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    for name in names:
        (tmp_path / name).write_bytes(b"    ")
    assert {path.name for path in external_files(tmp_path / "model.onnx", tmp_path)} == names
    for data in (b"", b"\x3a\xff\xff\xff\xff\x0f", b"\x07", b"\x3a\x05\x2a"):
        (tmp_path / "model.onnx").write_bytes(data)
        with pytest.raises(ModelError, match="is not an ONNX graph"):
            external_files(tmp_path / "model.onnx", tmp_path)


@pytest.mark.parametrize("index", ["model.safetensors.index.json"])
@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/hostname"])
def test_a_shard_outside_the_folder_is_refused(folder: Path, index: str, shard: str) -> None:
    (folder / "model.onnx").unlink()
    (folder / index).write_text(json.dumps({"weight_map": {"w": shard}}))
    with pytest.raises(ModelError, match="leaves the folder"):
        models.resolve(str(folder))


def test_weights_that_settings_rename_and_adapters_are_refused(made, tmp_path: Path) -> None:
    folder = made.copied("bert", tmp_path / "renamed")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/other"}')
    with pytest.raises(ModelError, match="is an adapter of another model"):
        open_local(ModelSettings(model=str(folder), backend="torch", threads=1), Report())
    edit(folder / "config.json", transformers_weights="../other.safetensors")
    with pytest.raises(ModelError, match="transformers_weights"):
        models.resolve(str(folder))


@pytest.mark.parametrize(
    "members",
    [{"num_labels": None}, {"num_labels": -1}, {"pad_token_id": 10**30}, {"architectures": ["SequenceClassification", 1]},
     {"max_position_embeddings": 10**40}, {"id2label": {"x": 1, "y": 2}}],
)  # fmt: skip
def test_odd_settings_are_used_or_refused(folder: Path, members: dict) -> None:
    """Each of them ended a run with an internal error once (tests/fuzz/models.py)."""
    from rerank_cli.models.inventory import described

    edit(folder / "config.json", **members)
    with contextlib.suppress(ModelError):
        described(models.resolve(str(folder)))
        assert score(folder) is not None


# --- A revision is a word; a ref holds a commit.


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/5", "feature/x-1", COMMIT])
def test_revisions(revision: str) -> None:
    assert is_revision(revision)
    assert is_hub_name(f"a/b@{revision}")


@pytest.mark.parametrize(
    "revision", ["/some/path", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a/", "", "é", "a b", "x" * 300]
)
def test_what_is_not_a_revision(revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_hub_name(f"a/b@{revision}")
    assert hub.cached("a/b", revision or "/") is None
    with pytest.raises(UsageError, match="unknown model"):
        models.resolve(f"a/b@{revision}")


def test_a_project_file_cannot_name_a_path_through_the_revision(run, tmp_path: Path, monkeypatch) -> None:
    from rerank_cli.cli.app import root
    from rerank_cli.cli.sources import Options
    from rerank_cli.config import check_file
    from rerank_cli.config.files import ConfigFile, Role

    file = ConfigFile(tmp_path / "rerank.toml", Role.PROJECT, {"model": "a/b@/some/path"})
    with pytest.raises(ConfigError, match="a project file may choose"):
        check_file(file, "rank", Options(root()))


@pytest.mark.parametrize("content", ["../../elsewhere", "/etc", "main", "A" * 40, COMMIT + "/..", "", "\xff" * 40])
def test_a_ref_that_does_not_hold_a_commit_is_not_followed(folder: Path, tmp_path: Path, content: str) -> None:
    snapshot = into_hub_cache(folder, tmp_path / "hf", "acme/tiny")
    ref = snapshot.parent.parent / "refs" / "main"
    ref.write_text(content, "utf-8")
    (snapshot.parent.parent / "elsewhere").mkdir()
    assert hub.cached("acme/tiny", None) is None
    assert hub.cached("acme/tiny", COMMIT) is not None


# --- Code runs only from a pinned revision.


def test_code_of_a_folder_never_runs(made, tmp_path: Path, run) -> None:
    folder = made.copied("bert", tmp_path / "own")
    marker = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    classes = {"AutoConfig": "modeling_own.Own", "AutoModelForSequenceClassification": "modeling_own.Own"}
    edit(folder / "config.json", model_type="own-bert", auto_map=classes)
    command = ("rank", "-q", "x", "-m", str(folder), "--backend", "torch")
    typed = run(*command, "--trust-remote-code", stdin="a\n")
    inherited = run(*command, stdin="a\n", env={"RERANK_TRUST_REMOTE_CODE": "1"})
    assert (typed.code, inherited.code) == (4, 4)
    assert "pinned revision" in typed.err
    assert not marker.exists()


def test_code_of_another_repository_is_refused(folder: Path, tmp_path: Path) -> None:
    edit(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "other/code--modeling.Own"})
    (folder / "modeling.py").write_text("")
    into_hub_cache(folder, tmp_path / "hf", "acme/tiny")
    policy = LoadPolicy(offline=True, trust_remote_code=True)
    with pytest.raises(ModelError, match="code from another repository"):
        models.resolve(f"acme/tiny@{COMMIT}", policy)


# --- What is removed is what we wrote.


def converted_to(made, target: Path) -> None:
    convert(models.resolve(str(made.folder("bert")), LoadPolicy(backend="torch", converted=False)), ["fp32"], target, 1)


@pytest.fixture(scope="module")
def a_copy(made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "copy"
    converted_to(made, target)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def by_chance(target: Path) -> None:
    for path in target.iterdir():
        path.unlink()
    (target / "rerank.json").write_text('{"mine": true}')
    (target / "thesis.txt").write_text("years of work")


def with_a_file_more(target: Path) -> None:
    (target / "thesis.txt").write_text("years of work")


def with_a_folder_more(target: Path) -> None:
    (target / "thesis").mkdir()


def with_an_edited_file(target: Path) -> None:
    (target / "tokenizer.json").write_bytes((target / "tokenizer.json").read_bytes() + b"\n")


def with_a_link(target: Path) -> None:
    (target / "tokenizer.json").rename(target.parent / "kept.json")
    (target / "tokenizer.json").symlink_to(target.parent / "kept.json")


def with_names_that_lead_out(target: Path) -> None:
    manifest = json.loads((target / "rerank.json").read_text())
    edit(target / "rerank.json", files=manifest["files"] | {"../kept.txt": "0" * 64})


def of_an_earlier_version(target: Path) -> None:
    manifest = json.loads((target / "rerank.json").read_text())
    del manifest["files"]
    (target / "rerank.json").write_text(json.dumps(manifest))


FOREIGN = [by_chance, with_a_file_more, with_a_folder_more, with_an_edited_file, with_a_link, with_names_that_lead_out,
           of_an_earlier_version]  # fmt: skip


@pytest.mark.parametrize("change", FOREIGN)
def test_convert_does_not_replace_what_it_did_not_write(made, a_copy: Path, tmp_path: Path, change) -> None:
    target = Path(shutil.copytree(a_copy, tmp_path / "there"))
    (tmp_path / "kept.txt").write_text("kept")
    change(target)
    before = contents(tmp_path)
    with pytest.raises(ModelError):
        converted_to(made, target)
    assert contents(tmp_path) == before


def test_convert_replaces_its_own_copy_and_nothing_else(made, a_copy: Path, tmp_path: Path) -> None:
    target = Path(shutil.copytree(a_copy, tmp_path / "there"))
    (tmp_path / "neighbour.txt").write_text("kept")
    converted_to(made, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["neighbour.txt", "there"]
    assert contents(target).keys() == contents(a_copy).keys()


def test_a_file_that_appears_during_the_conversion_stays(made, a_copy: Path, tmp_path: Path, monkeypatch) -> None:
    from rerank_cli.convert import model as conversion

    target = Path(shutil.copytree(a_copy, tmp_path / "there"))
    check = conversion._removable

    def late(place: Path, *rest):
        names = check(place, *rest)
        (target / "thesis.txt").write_text("years of work")
        return names

    monkeypatch.setattr(conversion, "_removable", late)
    with pytest.raises(ModelError):
        converted_to(made, target)
    assert "years of work" in [path.read_text() for path in tmp_path.rglob("thesis.txt")]


def test_only_named_files_are_removed(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "ours").write_text("1")
    (place / "theirs").write_text("2")
    assert owned.foreign(place, {"ours"}) == ["theirs"]
    assert owned.remove(place, {"ours"}) is False
    assert contents(place) == {"theirs": b"2"}
    assert owned.is_record({"a": "0"})
    assert not owned.is_record({"../a": "0"})
    assert not owned.is_record({"a": 1})


def test_a_target_that_cannot_be_written_is_an_error_of_the_user(run, made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("models", "convert", str(made.folder("bert")), "-o", str(tmp_path / "file" / "copy"))
    assert result.code in {3, 4}
    assert "internal" not in result.err
