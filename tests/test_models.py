# ruff: noqa: F811
"""References to models are resolved (hub cache, folders), and everything unsafe or unusable is refused with a hint."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import tiny_models as made_of
from tiny_models import COMMIT, DOCUMENTS, QUERY, edit, into_hub_cache, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.files import safetensors_header
from rerank_cli.models.folder import max_tokens
from rerank_cli.models.heads import activation, head
from rerank_cli.models.reference import LoadPolicy
from rerank_cli.records import LOG_ODDS
from rerank_cli.scorers.open_local import identify
from rerank_cli.settings import ModelSettings

PAIRS = [(QUERY, document) for document in DOCUMENTS[:3]]
OTHER = "f" * 40


@pytest.fixture
def hf_home(tmp_path: Path) -> Path:
    return tmp_path / "hf"


def refused(reference: object, what: str, hint: str = "", **access) -> None:
    with pytest.raises((ModelError, UsageError), match=what) as caught:
        models.resolve(str(reference), LoadPolicy(**access))
    assert hint in (caught.value.hint or "")


# References


def test_a_cached_repository_scores_like_its_folder_and_reports_its_commit(made, hf_home: Path) -> None:
    into_hub_cache(made.folder("bert"), hf_home, "acme/tiny-bert")
    assert ours("acme/tiny-bert", PAIRS, backend="torch") == ours(made.folder("bert"), PAIRS, backend="torch")
    facts = identify(ModelSettings(model="acme/tiny-bert"))
    assert (facts.model, facts.revision) == ("acme/tiny-bert", COMMIT)
    assert identify(ModelSettings(model=f"acme/tiny-bert@{COMMIT}")).digest == facts.digest


def test_a_revision_is_a_branch_a_tag_or_a_commit(made, hf_home: Path) -> None:
    into_hub_cache(made.folder("bert"), hf_home, "acme/tiny")
    into_hub_cache(made.folder("bert-two-logits"), hf_home, "acme/tiny", OTHER, "refs/pr/1")
    assert models.resolve("acme/tiny").labels == 1
    assert models.resolve("acme/tiny@refs/pr/1").labels == 2
    assert models.resolve(f"acme/tiny@{OTHER}").revision == OTHER
    refused("acme/tiny@v2", "`acme/tiny` at `v2` is not in the cache")


def test_models_are_looked_up_in_hf_home_and_hf_hub_cache(
    made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into_hub_cache(made.folder("bert"), tmp_path / "elsewhere", "acme/tiny")
    refused("acme/tiny", "not in the cache")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere" / "hub"))
    assert models.resolve("acme/tiny").revision == COMMIT


def test_offline_names_what_is_missing(made, hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = into_hub_cache(made.folder("ettin"), hf_home, "acme/ettin")
    (snapshot / "2_Dense" / "model.safetensors").unlink()
    (snapshot / "tokenizer.json").unlink()
    what = r"tokenizer.json, 2_Dense/model.safetensors of `acme/ettin` is not in the cache"
    refused("acme/ettin", what, "rerank models pull acme/ettin")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    refused("acme/ettin", what, offline=True)
    refused("acme/etin", "`acme/etin` is not in the cache", "did you mean `acme/ettin`?", offline=True)


def test_missing_shards_are_named(made, hf_home: Path) -> None:
    folder = into_hub_cache(made.folder("bert"), hf_home, "acme/shards")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("acme/shards", "model-00001-of-00002.safetensors, model-00002-of-00002.safetensors of `acme/shards`")


def test_a_pinned_revision_can_be_required(made, hf_home: Path) -> None:
    into_hub_cache(made.folder("bert"), hf_home, "acme/tiny")
    refused("acme/tiny", "is not pinned", "acme/tiny@<40 hex digits>", require_revision=True)
    refused("acme/tiny@main", "is not pinned", require_revision=True)
    assert models.resolve(f"acme/tiny@{COMMIT}", LoadPolicy(require_revision=True)).revision == COMMIT


@pytest.mark.parametrize("reference", ["tiny", "a/b/c", "acme/", "@x", "acme/tiny@", "acme/ti ny"])
def test_invalid_references_are_unknown_models(reference: str) -> None:
    refused(reference, "unknown model", "use `builtin`")


def test_a_folder_without_a_leading_dot_gets_a_hint(made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made.copied("bert", tmp_path / "my" / "model")
    monkeypatch.chdir(tmp_path)
    refused("my/model", "not in the cache", "`-m ./my/model`")
    refused("my", "unknown model", "`-m ./my`")
    assert models.resolve("./my/model").family == "classification"
    refused("./mine", "no model folder at mine", "config.json")


def test_meta_reports_the_revision_and_the_backend(made, hf_home: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    into_hub_cache(made.folder("bert"), hf_home, "acme/tiny")
    monkeypatch.setenv("HF_HOME", str(hf_home))
    result = run("-q", QUERY, "-m", "acme/tiny", "--json", "-v", stdin="\n".join(DOCUMENTS[:3]))
    assert result.code == 0, result.err
    meta = result.json["meta"]
    assert (meta["model"], meta["revision"], meta["backend"], meta["dtype"]) == ("acme/tiny", COMMIT, "torch", "fp32")
    assert "no ONNX or OpenVINO graph" in result.err


def test_an_embedding_model_and_a_base_model_are_refused(made, tmp_path: Path) -> None:
    base = made.copied("bert", tmp_path / "base")
    edit(base / "config.json", architectures=["BertModel"])
    refused(base, "is not a reranker: its architecture is BertModel", "an embedding model has none")
    embedder = made.copied("ettin", tmp_path / "embedder")
    entries = json.loads((embedder / "modules.json").read_text())
    (embedder / "modules.json").write_text(json.dumps(entries[:2]))
    refused(embedder, r"is an embedding model \(Pooling\)", "the output `scores`")


def test_three_labels_are_refused(made, tmp_path: Path) -> None:
    three = {0: "contradiction", 1: "entailment", 2: "neutral"}
    refused(
        made.folder("nli", lambda place: made_of.bert(place, names=three)), "has 3 labels", "classifier of another task"
    )


def test_a_head_that_would_be_randomly_initialised_is_refused(made, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = made.copied("bert", tmp_path / "headless")
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.startswith("classifier")]:
        del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"no weights for its scoring head \(`classifier`\): they would be randomly initialised")
    weights["classifier.bias"] = torch.zeros(1)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"no weights for classifier\.weight: they would be randomly initialised"):
        ours(folder, PAIRS, backend="torch")


@pytest.mark.parametrize(
    "kind", ["sentence_transformers.models.CNN", "acme.modules.Dense", "os.system", "sentence_transformers.models.Asym"]
)
def test_unknown_modules_are_refused_by_name_and_never_imported(made, tmp_path: Path, kind: str) -> None:
    folder = made.copied("ettin", tmp_path / "odd")
    entries = json.loads((folder / "modules.json").read_text())
    entries[2]["type"] = kind
    (folder / "modules.json").write_text(json.dumps(entries))
    refused(folder, f"a module of the unsupported type `{kind}`", "supported modules")


def test_modules_outside_the_folder_or_with_unknown_pooling_are_refused(made, tmp_path: Path) -> None:
    folder = made.copied("ettin", tmp_path / "odd")
    entries = json.loads((folder / "modules.json").read_text())
    edit(folder / entries[1]["path"] / "config.json", pooling_mode="attention")
    refused(folder, "unsupported pooling `attention`")
    entries[2]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(entries))
    refused(folder, "leaves the folder")


def test_only_known_activations_are_accepted(made, tmp_path: Path) -> None:
    assert activation("torch.nn.modules.activation.GELU", "Tanh", tmp_path) == "GELU"
    assert activation("torch.nn.Identity", "Tanh", tmp_path) == "Identity"
    assert activation(None, "Tanh", tmp_path) == "Tanh"
    for name in ("os.system", "torch.load", "torch.nn.Module", "acme.GELU", "torch.nn.modules.activation.Softmax"):
        with pytest.raises(ModelError, match=f"asks for the activation `{name}`"):
            activation(name, "Tanh", tmp_path)
    folder = made.copied("bert", tmp_path / "tanh")
    assert models.resolve(str(folder)).scale == LOG_ODDS
    edit(folder / "config.json", sentence_transformers={"activation_fn": "torch.nn.modules.activation.Tanh"})
    assert models.resolve(str(folder)).scale == "logit before Tanh"


def test_pickled_weights_are_refused_unless_allowed(made, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = made.copied("bert", tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "only pickled weights", "--allow-pickle")
    assert models.resolve(str(folder), LoadPolicy(allow_pickle=True)).weights[0].name == "pytorch_model.bin"
    close = ours(folder, PAIRS, backend="torch", allow_pickle=True)
    assert close == pytest.approx(ours(made.folder("bert"), PAIRS, backend="torch"), abs=1e-5)


def test_a_model_without_weights_is_refused(made, tmp_path: Path) -> None:
    folder = made.copied("bert", tmp_path / "empty")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no usable weights for torch"):
        ours(folder, PAIRS)


def test_remote_code_needs_trust_and_a_pinned_revision(made, tmp_path: Path, hf_home: Path) -> None:
    folder = made.copied("bert", tmp_path / "remote")
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w').close()\n"
    (folder / "modeling_own.py").write_text(code)
    classes = {"AutoConfig": "modeling_own.Own", "AutoModelForSequenceClassification": "modeling_own.Own"}
    edit(folder / "config.json", model_type="own-bert", auto_map=classes)
    with pytest.raises(ModelError, match="of the type `own-bert`, which transformers") as caught:
        ours(folder, PAIRS, backend="torch")
    assert "--trust-remote-code" in (caught.value.hint or "")
    assert not marker.exists()
    into_hub_cache(folder, hf_home, "acme/remote")
    refused("acme/remote", "--trust-remote-code needs a pinned revision", trust_remote_code=True)
    with pytest.raises(ModelError, match="torch cannot load"):  # trusted: its code runs, and is none
        ours(f"acme/remote@{COMMIT}", PAIRS, backend="torch", trust_remote_code=True)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"])
def test_a_link_out_of_the_folder_is_refused(made, tmp_path: Path, name: str) -> None:
    folder = made.copied("bert", tmp_path / "linked")
    outside = tmp_path / "outside" / name
    outside.parent.mkdir()
    shutil.move(folder / name, outside)
    (folder / name).symlink_to(outside)
    refused(folder, "is a link out of the model folder")


def test_a_snapshot_may_link_to_its_own_blobs_only(made, hf_home: Path) -> None:
    snapshot = into_hub_cache(made.folder("bert"), hf_home, "acme/tiny")
    assert models.resolve(f"{snapshot}/").family == "classification"
    (snapshot / "config.json").unlink()
    stray = hf_home / "secret.json"
    shutil.copy(made.folder("bert") / "config.json", stray)
    (snapshot / "config.json").symlink_to(os.path.relpath(stray, snapshot))
    refused("acme/tiny", "is a link out of the model folder")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda data: data[:-100], "describes"),
        (lambda data: data + b"more", "describes"),
        (lambda data: b"\xff" * 8 + data[8:], "is truncated"),
        (lambda data: data[:8] + b"}" + data[9:], "broken safetensors header"),
        (lambda data: b"", "is truncated"),
        (lambda data: (2).to_bytes(8, "little") + b"[]", "broken safetensors header"),
    ],
    ids=["cut", "longer", "length", "json", "empty", "list"],
)
def test_a_damaged_safetensors_file_is_refused(made, tmp_path: Path, damage, what: str) -> None:
    folder = made.copied("bert", tmp_path / "damaged")
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refused(folder, what)


def test_a_valid_header_names_the_tensors(made) -> None:
    header = safetensors_header(made.folder("bert") / "model.safetensors")
    assert header["classifier.weight"]["shape"] == [1, 32]


def test_a_tokenizer_without_a_pair_template_is_refused(made, tmp_path: Path) -> None:
    folder = made.copied("qwen3-classifier", tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no pair template"):
        ours(folder, PAIRS, backend="torch")
    (folder / "tokenizer.json").unlink()
    refused(folder, "has no tokenizer.json", "save a fast tokenizer")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "modules.json"])
def test_broken_json_is_reported_with_its_file(made, tmp_path: Path, name: str) -> None:
    folder = made.copied("ettin", tmp_path / "broken")
    (folder / name).write_text("{")
    with pytest.raises(ModelError, match=name):
        ours(folder, PAIRS, backend="torch")


# ScorerInfo


@pytest.mark.parametrize(
    ("config", "settings", "limit"),
    [
        ({"model_type": "bert", "max_position_embeddings": 512}, {}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, {"model_max_length": 1e30}, 512),
        ({"model_type": "bert", "max_position_embeddings": 512}, {"model_max_length": 256}, 256),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, {}, 512),
        (
            {"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1},
            {"model_max_length": 8192},
            8192,
        ),
        ({"model_type": "xlnet", "max_position_embeddings": -1}, {"model_max_length": 1024}, 1024),
        ({"model_type": "odd"}, {}, 512),
    ],
)
def test_the_input_limit_comes_from_config_and_tokenizer(config: dict, settings: dict, limit: int) -> None:
    assert max_tokens(config, settings) == limit


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "LABEL_0"}, (1, 0)),
        ({"0": "LABEL_0", "1": "LABEL_1"}, (2, 1)),
        ({"0": "relevant", "1": "irrelevant"}, (2, 0)),
        ({"0": "no", "1": "yes"}, (2, 1)),
        ({"0": "True", "1": "False"}, (2, 0)),
        ({}, (2, 1)),
    ],
)
def test_the_positive_label_is_recognised_by_name(labels: dict, expected: tuple[int, int], tmp_path: Path) -> None:
    assert head({"id2label": labels}, tmp_path) == expected
