# ruff: noqa: F811
"""Broken model files and converted copies are reported by name, ignored, and never block other models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import CAPITAL
from tiny_models import COMMIT, edit, into_hub_cache, made, own_caches  # noqa: F401 fixtures

BRANCH = "f" * 40


@pytest.fixture
def places(made, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of one's own; `run` clears HF_ variables, so they are set again."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RERANK_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def rank(run, folder: Path, *more: str):
    return run("rank", "-q", CAPITAL, "-m", str(folder), *more, stdin="Washington, D.C.\nMars\n")


def empty(copy: Path) -> None:
    (copy / "rerank.json").write_text("")


def of_another_format(copy: Path) -> None:
    edit(copy / "rerank.json", format=2)


def without_members(copy: Path) -> None:
    (copy / "rerank.json").write_text('{"format": 1}')


def without_graph(copy: Path) -> None:
    (copy / "model.onnx").unlink()


def with_a_bad_member(copy: Path) -> None:
    edit(copy / "rerank.json", max_tokens="64")


def without_manifest(copy: Path) -> None:
    (copy / "rerank.json").unlink()


BROKEN_COPIES = {
    empty: "cannot read",
    of_another_format: "another version of rerank (format 2)",
    without_members: "has no `name`",
    without_graph: "model.onnx is missing",
    with_a_bad_member: '`max_tokens` is "64", not a whole number',
}


@pytest.fixture(scope="module")
def folder_and_cache(made, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder model and a cache with its copy, made once."""
    from rerank_cli import models
    from rerank_cli.convert.model import convert
    from rerank_cli.models.converted import folder_of

    root = tmp_path_factory.mktemp("broken")
    folder = made.copied("bert", root / "good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RERANK_CACHE_DIR", str(root / "cache"))
        model = models.resolve(str(folder))
        convert(model, ["fp32"], folder_of(model), 2)
    return folder, root / "cache"


@pytest.fixture
def converted(folder_and_cache, places: Path) -> tuple[Path, Path]:
    """The folder, and its copy in this test's own cache."""
    folder, cache = folder_and_cache
    shutil.copytree(cache, places / "cache")
    return folder, next((places / "cache" / "models" / "converted").iterdir())


@pytest.mark.parametrize("fault", BROKEN_COPIES, ids=lambda fault: fault.__name__)
def test_a_broken_copy_is_ignored_with_a_note_and_listed(run, converted, fault) -> None:
    folder, copy = converted
    fault(copy)
    for more in ([], ["--backend", "torch"]):
        result = rank(run, folder, *more)
        assert result.code == 0, result.err
        assert "note: the converted copy is not used: " in result.err
        assert str(copy) in result.err
        assert BROKEN_COPIES[fault] in result.err
        assert f"`rerank models convert {folder}` replaces it" in result.err
    shown = run("models", "show", str(folder), "--json")
    assert (shown.code, shown.json["converted"], shown.json["backend"]) == (0, None, "torch")
    assert "is not used" in shown.err
    listed = run("models", "list", "--json")
    assert (listed.code, [row["name"] for row in listed.json]) == (0, ["builtin", str(copy)])
    assert BROKEN_COPIES[fault] in listed.json[1]["problem"]
    assert "unreadable" in run("models", "list").text
    assert BROKEN_COPIES[fault] in listed.err
    direct = rank(run, copy)
    assert direct.code == 4
    assert BROKEN_COPIES[fault] in direct.err


@pytest.mark.parametrize("fault", [of_another_format, without_manifest], ids=lambda fault: fault.__name__)
def test_convert_replaces_a_broken_copy(run, converted, fault) -> None:
    folder, copy = converted
    fault(copy)
    result = run("models", "convert", str(folder), "--json")
    assert result.code == 0, result.err
    assert result.json["folder"] == str(copy)
    result = rank(run, folder, "--backend", "onnx")
    assert (result.code, result.err) == (0, "")


def test_a_second_conversion_of_a_folder_adds_to_its_copy(run, converted) -> None:
    folder, copy = converted
    hint = rank(run, folder, "--dtype", "int8")
    assert hint.code == 4
    assert f"`rerank models convert {folder} --form int8`" in hint.err
    result = run("models", "convert", str(folder), "--form", "int8", "--json")
    assert result.code == 0, result.err
    assert result.json["folder"] == str(copy)
    assert {form["form"] for form in result.json["forms"]} == {"int8", "fp32"}
    assert rank(run, folder, "--dtype", "int8").code == 0
    shown = run("models", "show", str(folder), "--json").json
    assert shown["converted"] == str(copy)
    assert set(shown["graphs"]) == {"fp32", "int8"}
    assert [row["name"] for row in run("models", "list", "--json").json] == ["builtin", str(folder)]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"max_position_embeddings": "64x"}, '`max_position_embeddings` is "64x", not a whole number'),
        ({"pad_token_id": "x"}, '`pad_token_id` is "x", not a whole number'),
        ({"pad_token_id": [0]}, "`pad_token_id` is [0], not a whole number"),
        ({"architectures": 5}, "`architectures` is 5, not a list"),
        ({"architectures": "BertForSequenceClassification"}, "not a list"),
        ({"model_type": ["bert"]}, '`model_type` is ["bert"], not text'),
        ({"id2label": ["no", "yes"]}, '`id2label` is ["no", "yes"], not an object'),
        ({"sentence_transformers": "Sigmoid"}, "not an object"),
    ],
)
def test_a_malformed_config_is_reported_with_file_and_member(run, made, places: Path, values: dict, what: str) -> None:
    folder = made.copied("bert", places / "v")
    edit(folder / "config.json", **values)
    for result in (rank(run, folder), run("models", "show", str(folder))):
        assert result.code == 4
        assert f"{folder / 'config.json'}: " in result.err
        assert what in result.err


def test_other_malformed_files_are_reported_by_name(run, made, places: Path) -> None:
    folder = made.copied("bert", places / "v")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": ["a"]}')
    result = rank(run, folder)
    assert result.code == 4
    assert f'{index}: `weight_map` is ["a"], not an object' in result.err
    edit(folder / "config.json", id2label={"a": "no", "b": "yes"})
    result = rank(run, folder)
    assert result.code == 4
    assert "a, b in `id2label`, not 0 and 1" in result.err
    (folder / "config.json").write_text("[" * 200_000)
    result = rank(run, folder)
    assert result.code == 4
    assert f"cannot read {folder / 'config.json'}: its brackets are nested too deeply" in result.err


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size"])
def test_weights_that_do_not_fit_the_config_are_reported_with_their_shapes(run, made, places: Path, name: str) -> None:
    folder = made.copied("bert", places / "v")
    before = json.loads((folder / "config.json").read_text())[name]
    edit(folder / "config.json", **{name: before + 4})
    result = rank(run, folder, "--backend", "torch")
    assert result.code == 4
    assert f"{folder / 'model.safetensors'} does not fit {folder / 'config.json'}: `" in result.err
    assert f"{before}" in result.err
    assert f"{before + 4}" in result.err
    assert "ignore_mismatched_sizes" not in result.err


def test_list_marks_a_broken_repository_and_shows_the_others(run, made, places: Path) -> None:
    into_hub_cache(made.folder("bert"), places / "hf", "acme/good")
    for name, text in (("acme/bad", '{"architectures": 5}'), ("acme/deep", "[" * 200_000)):
        snapshot = into_hub_cache(made.folder("bert"), places / "hf", name)
        (snapshot / "config.json").unlink()
        (snapshot / "config.json").write_text(text)
    result = run("models", "list", "--json")
    assert result.code == 0, result.err
    rows = {row["name"]: row["problem"] for row in result.json}
    assert set(rows) == {"builtin", "acme/good", "acme/bad", "acme/deep"}
    assert rows["acme/good"] is None
    assert "`architectures` is 5, not a list" in rows["acme/bad"]
    assert "nested too deeply" in rows["acme/deep"]
    assert rank(run, Path("acme/bad"), "--offline").code == 4


def test_a_revision_that_is_not_cached_gets_the_cached_ones_as_a_hint(run, made, places: Path) -> None:
    into_hub_cache(made.folder("bert"), places / "hf", "own/good")
    into_hub_cache(made.folder("bert"), places / "hf", "own/nomain", BRANCH)
    (places / "hf" / "hub" / "models--own--nomain" / "refs" / "main").unlink()
    result = rank(run, Path("own/nomain"), "--offline")
    assert result.code == 4
    assert f"in the cache: `own/nomain@{BRANCH}`; or fetch it with the network: `rerank models pull own/nomain`" in (
        result.err
    )
    result = rank(run, Path("own/good@dev"), "--offline")
    assert (
        "in the cache: `own/good@main`; or fetch it with the network: `rerank models pull own/good@dev`" in result.err
    )
    assert "did you mean `own/good`?" in rank(run, Path("own/god"), "--offline").err


def test_verify_names_missing_files(run, made, places: Path) -> None:
    snapshot = into_hub_cache(made.folder("bert"), places / "hf", "own/broken")
    (snapshot / "model.safetensors").unlink()
    result = run("models", "verify", "own/broken", "--json")
    assert (result.code, result.json["problems"]) == (4, ["model.safetensors is missing"])
    assert "own/broken: 1 of its files are missing or not what they were" in result.err
    assert "`rerank models pull own/broken` fetches them again" in result.err
    assert COMMIT in result.json["folder"]


def test_show_builtin_prints_the_model_card(run) -> None:
    card = Path(__file__).parent.parent / "rerank_cli" / "builtin" / "MODEL_CARD.md"
    result = run("models", "show", "builtin")
    assert result.text.startswith("name: builtin\n")
    assert result.text.endswith("\n" + card.read_text())
    assert run("models", "show", "builtin", "--json").json["card"] == str(card)


def test_an_unknown_sub_command_is_named(run) -> None:
    result = run("models", "foo")
    assert (result.code, result.err.splitlines()[0]) == (2, "rerank: error: unknown command `models foo`")
    assert "list, show, pull, verify, convert" in result.err
    assert "did you mean `verify`?" in run("models", "verfy").err
    assert "unknown command `cache foo`" in run("cache", "foo").err
