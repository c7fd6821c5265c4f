# ruff: noqa: F811
"""`rerank models` lists, shows, verifies and converts models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import COMMIT, DOCUMENTS, QUERY, into_hub_cache, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.convert.model import agrees, compare
from rerank_cli.errors import ModelError
from rerank_cli.scorers.open_local import identify
from rerank_cli.settings import ModelSettings

PAIRS = [(QUERY, document) for document in DOCUMENTS]


@pytest.fixture
def cached(made, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch):
    """A hub cache with a reranker and an embedding model; `run` clears HF_ variables, so they are set again."""
    home = tmp_path / "hf"
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("RERANK_CACHE_DIR", str(tmp_path / "cache"))
    into_hub_cache(made.folder("xlm-roberta"), home, "acme/multilingual")
    base = made.copied("bert", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    into_hub_cache(base, home, "acme/embedder")
    return home


def test_list_names_the_builtin_and_cached_rerankers_only(run, cached) -> None:
    result = run("models", "list", "--json")
    assert result.code == 0, result.err
    rows = {row["name"]: row for row in result.json}
    assert set(rows) == {"builtin", "acme/multilingual"}
    assert rows["acme/multilingual"]["revision"] == COMMIT
    text = run("models", "list").text
    assert "acme/multilingual" in text
    assert "hub cache" in text


def test_show_prints_the_properties_and_the_backend(run, cached, made) -> None:
    shown = run("models", "show", "acme/multilingual", "--json").json
    assert (shown["architecture"], shown["logits"], shown["max_tokens"]) == (
        "XLMRobertaForSequenceClassification",
        1,
        62,
    )
    assert (shown["backend"], shown["revision"], shown["converted"]) == ("torch", COMMIT, None)
    assert "chat template" in run("models", "show", str(made.folder("qwen3"))).text
    assert "is not a reranker" in run("models", "show", "acme/embedder").err
    builtin = run("models", "show", "builtin", "--json").json
    assert builtin["license"] == "apache-2.0"
    assert builtin["backend"] == "onnx"


def test_verify_finds_a_changed_and_a_missing_file(run, cached) -> None:
    assert run("models", "verify", "acme/multilingual").code == 0
    assert run("models", "verify", "builtin").code == 0
    snapshot = cached / "hub" / "models--acme--multilingual" / "snapshots" / COMMIT
    weights = (snapshot / "model.safetensors").resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (snapshot / "config.json").resolve().unlink()
    result = run("models", "verify", "acme/multilingual", "--json")
    assert result.code == 4
    assert result.json["problems"] == [
        "config.json points to a file that is missing",
        "model.safetensors differs from its SHA-256",
    ]
    assert run("models", "verify", "acme/none").code == 4
    assert run("models", "verify", "./folder").code == 2


def test_convert_keeps_a_copy_that_auto_prefers_and_that_starts_without_torch(run, cached, tmp_path: Path) -> None:
    assert identify(ModelSettings(model="acme/multilingual")).backend == "torch"
    before = ours("acme/multilingual", PAIRS)
    result = run("models", "convert", "acme/multilingual", "--form", "fp32", "--form", "int8", "--json")
    assert result.code == 0, result.err
    assert [form["form"] for form in result.json["forms"]] == ["fp32", "int8"]
    assert result.json["forms"][0]["largest"] <= 1e-4
    assert result.json["forms"][0]["pairs"] == 200
    facts = identify(ModelSettings(model="acme/multilingual", backend="onnx"))
    assert facts.revision == COMMIT
    after = ours("acme/multilingual", PAIRS, backend="onnx")
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= 1e-4
    code = (
        "import sys\n"
        "from rerank_cli.api import Reranker\n"
        "print(Reranker('acme/multilingual', backend='onnx').score('capital', ['Paris is a capital']))\n"
        "assert not {'torch', 'transformers', 'jinja2', 'huggingface_hub', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert "converted" in run("models", "list").text


def test_a_copy_of_a_folder_is_ignored_when_the_folder_changes(made, tmp_path: Path, run, cached) -> None:
    folder = made.copied("bert", tmp_path / "mine")
    assert run("models", "convert", str(folder)).code == 0
    assert models.resolve(str(folder)).converted
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    import os

    os.utime(weights, ns=(1, 1))
    assert not models.resolve(str(folder)).converted


def test_a_converted_decoder_needs_no_template_engine(made) -> None:
    copy = made.converted("qwen3")
    model = models.resolve(str(copy))
    assert model.chat is not None
    assert model.chat.kind == "plain"
    assert model.left_padded


def test_convert_refuses_to_overwrite_and_to_convert_what_has_no_weights(made, tmp_path: Path, run, cached) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("keep")
    result = run("models", "convert", str(made.folder("bert")), "-o", str(tmp_path / "full"))
    assert result.code == 4
    assert "is not a converted copy" in result.err
    assert "no torch weights" in run("models", "convert", "builtin").err
    assert run("models", "convert", str(made.folder("bert")), "--form", "fp8").code == 2


def test_a_damaged_or_foreign_copy_is_refused(made, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(made.converted("bert"), tmp_path / "copy"))
    manifest = json.loads((copy / "rerank.json").read_text())
    (copy / "rerank.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(ModelError, match="another version of rerank"):
        models.resolve(str(copy))
    (copy / "rerank.json").write_text(json.dumps(manifest))
    (copy / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match="is not an ONNX graph"):
        ours(copy, PAIRS, backend="onnx")
    (copy / "openvino_model.xml").write_text("<net/>")
    with pytest.raises(ModelError, match="OpenVINO cannot load"):
        ours(copy, PAIRS, backend="openvino")
    (copy / "model.onnx").unlink()
    with pytest.raises(ModelError, match="is missing from the converted copy"):
        models.resolve(str(copy))


def test_graphs_that_disagree_are_not_kept() -> None:
    expected = [float(n) for n in range(200)]
    near = [value + 5e-5 for value in expected]
    turned = expected[::-1]
    assert agrees(compare("fp32", expected, near, 0), expected, near)
    assert not agrees(compare("fp32", expected, [v + 0.1 for v in expected], 0), expected, [v + 0.1 for v in expected])
    assert agrees(compare("int8", expected, [v + 0.1 for v in expected], 0), expected, [v + 0.1 for v in expected])
    assert not agrees(compare("int8", expected, turned, 0), expected, turned)
