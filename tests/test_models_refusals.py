# ruff: noqa: F811
"""What is not a reranker that runs here says what it is, why it is refused and what to do; following that works."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repositories import cached, folder_of, safetensors
from tiny_graphs import model_folder
from tiny_models import COMMIT, DOCUMENTS, QUERY, edit, into_hub_cache, made, ours, own_caches  # noqa: F401 fixtures

from rerank_cli import models
from rerank_cli.errors import ModelError
from rerank_cli.models.reference import LoadPolicy
from rerank_cli.models.refusals import check_repository
from rerank_cli.report import Report
from rerank_cli.scorers.open_local import open_local
from rerank_cli.settings import ModelSettings

PAIRS = [(QUERY, document) for document in DOCUMENTS[:3]]
XLMR = {"architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta", "num_labels": 1,
        "max_position_embeddings": 1026, "pad_token_id": 1}  # fmt: skip
FLASH = {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"}
ADAPTER = {"base_model_name_or_path": "acme/base", "peft_type": "LORA", "task_type": "SEQ_CLS", "r": 4}


def refusal(reference: object, **policy) -> ModelError:
    with pytest.raises(ModelError) as caught:
        models.resolve(str(reference), LoadPolicy(**policy))
    assert caught.value.hint
    return caught.value


# Adapters


def test_an_adapter_names_its_base_and_the_command_that_merges_the_two(tmp_path: Path, run) -> None:
    folder = folder_of(tmp_path / "lora", {"adapter_config.json": ADAPTER, "README.md": "# LoRA"},
                       {"adapter_model.safetensors": ["base_model.model.score.weight"]})  # fmt: skip
    error = refusal(folder)
    assert error.message == f"{folder} is a LORA adapter of `acme/base`, not a model"
    assert f"AutoPeftModelForSequenceClassification.from_pretrained('{folder}', num_labels=1)" in error.hint
    assert "AutoTokenizer.from_pretrained('acme/base')" in error.hint
    done = run("-q", "x", "-m", str(folder), stdin="a\nb\n")
    assert (done.code, "LORA adapter of `acme/base`" in done.err) == (4, True)


def test_an_adapter_in_the_cache_is_not_a_download_that_lacks_files(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cached(tmp_path, "acme/lora", {"adapter_config.json": ADAPTER | {"task_type": "CAUSAL_LM"}})
    error = refusal("acme/lora", offline=True)
    assert "is a LORA adapter of `acme/base`" in error.message
    assert "AutoPeftModelForCausalLM" in error.hint
    for command in ("verify", "show"):
        done = run("models", command, "acme/lora")
        assert (done.code, "is a LORA adapter of `acme/base`" in done.err) == (4, True), done.err
        assert "is missing" not in done.err
    assert [row["name"] for row in run("models", "list", "--json").json] == ["builtin"]


@pytest.mark.parametrize("base", ["'); import os; ('", "../other", "", None])
def test_a_base_that_is_no_repository_does_not_get_into_the_command(tmp_path: Path, base: str | None) -> None:
    folder = folder_of(tmp_path / "lora", {"adapter_config.json": ADAPTER | {"base_model_name_or_path": base}})
    assert "from_pretrained('BASE')" in refusal(folder).hint


def test_merged_weights_next_to_an_adapter_are_named(made, tmp_path: Path) -> None:
    folder = made.copied("bert", tmp_path / "merged")
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    with pytest.raises(ModelError, match="is an adapter of another model") as caught:
        open_local(ModelSettings(model=str(folder), backend="torch", threads=1), Report()).score([], None)
    assert "remove adapter_config.json" in caught.value.hint


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("labels", [1, 2])
def test_the_command_of_the_hint_makes_a_model_that_runs(made, tmp_path: Path, labels: int) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification

    base = made.folder("qwen3")  # as published adapters: of a model that has no scoring head
    network = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(network, settings).save_pretrained(tmp_path / "lora")
    command = re.search(r"python -c .*", refusal(tmp_path / "lora").hint)[0].replace("BASE", str(base))
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True, capture_output=True)
    assert models.resolve(str(tmp_path / "merged")).labels == labels
    assert len(set(ours(tmp_path / "merged", PAIRS, backend="torch"))) == len(PAIRS)


# Other formats


@pytest.mark.parametrize("more", [{}, {"config.json": XLMR}], ids=["no config", "config"])
def test_gguf_says_what_runs_it_and_what_it_was_made_from(tmp_path: Path, more: dict) -> None:
    card = "---\nbase_model:\n- BAAI/bge-reranker-v2-m3\n---\n"
    files = {"README.md": card, "bge-reranker-v2-m3-Q8_0.gguf": "GGUF", **more}
    error = refusal(folder_of(tmp_path / "gguf", files))
    assert "holds only GGUF files (bge-reranker-v2-m3-Q8_0.gguf), which llama.cpp runs" in error.message
    assert "`-m BAAI/bge-reranker-v2-m3`" in error.hint
    assert "`llama-server -m bge-reranker-v2-m3-Q8_0.gguf --reranking`" in error.hint
    assert "`-m llamacpp:NAME`" in error.hint
    cached(tmp_path, "acme/model-GGUF", files)
    assert "holds only GGUF files" in refusal("acme/model-GGUF", offline=True).message


@pytest.mark.parametrize(
    ("name", "kind"), [("tf_model.h5", "TensorFlow"), ("flax_model.msgpack", "Flax"), ("weights.npz", "MLX")]
)
def test_weights_of_other_frameworks_are_named(tmp_path: Path, name: str, kind: str) -> None:
    error = refusal(folder_of(tmp_path / "other", {"config.json": XLMR, "tokenizer.json": {}, name: "x"}))
    assert f"has weights only for {kind}" in error.message


QUANTISED = {
    "gptq": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "awq": {"quantization_config": {"quant_method": "awq", "bits": 4}},
    "fp8": {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    "bitsandbytes": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
    "compressed-tensors": {"quantization_config": {"quant_method": "compressed-tensors"}},
    "MLX": {"quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}},
}


@pytest.mark.parametrize(("how", "members"), QUANTISED.items(), ids=QUANTISED)
def test_quantised_weights_are_named(made, tmp_path: Path, how: str, members: dict) -> None:
    folder = made.copied("qwen3", tmp_path / "Qwen3-Reranker-0.6B-4bit")
    edit(folder / "config.json", **members)
    error = refusal(folder)
    assert f"holds weights that are quantised ({how})" in error.message
    assert "`rerank models convert NAME --form int8`" in error.hint


def test_a_graph_next_to_quantised_weights_runs(tmp_path: Path) -> None:
    folder, _ = model_folder(tmp_path / "model")
    edit(folder / "config.json", quantization_config={"quant_method": "gptq"})
    assert models.resolve(str(folder)).weights == ()
    assert len(ours(folder, PAIRS)) == 3


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(made, tmp_path: Path, name: str) -> None:
    folder = made.copied("bert", tmp_path / "clone")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    error = refusal(folder)
    assert error.message == f"{folder / name} is a pointer of Git LFS, not the file"
    assert "`git lfs pull`" in error.hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3),
    max_leaves=6,
)
MEMBERS = ("model_type", "architectures", "auto_map", "quantization_config", "quantization", "peft_type", "task_type",
           "base_model_name_or_path", "num_labels")  # fmt: skip
NAMES = st.lists(
    st.sampled_from(["adapter_config.json", "a.gguf", "tf_model.h5", "model.safetensors", "x"]), max_size=4
)


@given(settings=st.dictionaries(st.sampled_from(MEMBERS), JSON), names=NAMES, base=JSON)
def test_any_settings_are_taken_or_refused(settings: dict, names: list[str], base: object) -> None:
    files = {"config.json": settings, "adapter_config.json": settings}
    with suppress(ModelError):
        check_repository("acme/model", names, files, SimpleNamespace(base_model=base))


# Code of their own


def test_jina_v2_runs_on_its_onnx_file_and_not_without(tmp_path: Path) -> None:
    folder, tokens = model_folder(tmp_path / "model")
    edit(folder / "config.json", **XLMR, vocab_size=tokens, auto_map=FLASH)
    safetensors(folder / "model.safetensors", ["roberta.encoder.layers.0.mixer.Wqkv.weight"])
    assert len(ours(folder, PAIRS)) == 3
    with pytest.raises(ModelError, match="no usable weights for torch") as caught:
        ours(folder, PAIRS, backend="torch")
    assert "`--backend onnx`" in caught.value.hint
    (folder / "model.onnx").unlink()
    error = refusal(folder)
    assert "XLMRobertaFlash" in error.message
    assert "onnx/model.onnx" in error.hint


def test_a_gte_export_runs(tmp_path: Path) -> None:
    folder, _ = model_folder(tmp_path / "model")
    edit(folder / "config.json", architectures=["NewForSequenceClassification"], model_type="new")
    assert len(ours(folder, PAIRS)) == 3
    (folder / "model.onnx").unlink()
    assert "a GTE model of the type `new`" in refusal(folder).message


@pytest.mark.parametrize("trust", [False, True])
def test_nemotron_is_never_scored_as_a_plain_pair(made, tmp_path: Path, trust: bool) -> None:
    folder = made.copied("qwen3-classifier", tmp_path / "nemotron")
    code = "llama_bidirectional_model.LlamaBidirectionalForSequenceClassification"
    edit(folder / "config.json", architectures=["LlamaBidirectionalForSequenceClassification"],
         model_type="llama_bidirec", auto_map={"AutoModelForSequenceClassification": code})  # fmt: skip
    (folder / "llama_bidirectional_model.py").write_text("raise SystemExit(9)\n")
    into_hub_cache(folder, tmp_path / "hf", "nvidia/llama-nemotron-rerank-1b-v2")
    error = refusal(f"nvidia/llama-nemotron-rerank-1b-v2@{COMMIT}", trust_remote_code=trust)
    assert r"reads `question:QUERY \n \n passage:DOCUMENT` as one text" in error.message
    assert "`-m nim:nvidia/llama-nemotron-rerank-1b-v2`" in error.hint


def test_trust_in_code_that_is_not_run_is_noted(made, tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.copied("qwen3-classifier", tmp_path / "source")
    edit(folder / "config.json", auto_map={"AutoModelForSequenceClassification": "modeling_own.Own"})
    (folder / "modeling_own.py").write_text("raise SystemExit(9)\n")
    into_hub_cache(folder, tmp_path / "hf", "acme/covered")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    done = run("models", "show", f"acme/covered@{COMMIT}", "--trust-remote-code")
    assert done.code == 0, done.err
    assert "--trust-remote-code is not needed: transformers has a class for the type `qwen3`" in done.err
    assert "not needed" not in run("models", "show", f"acme/covered@{COMMIT}").err


# Heads


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "deberta-v2", "modernbert", "qwen3-classifier"])
def test_a_missing_head_is_seen_without_torch(made, tmp_path: Path, family: str) -> None:
    folder = made.copied(family, tmp_path / "headless")
    assert models.resolve(str(folder)).weights
    from rerank_cli.models.files import safetensors_header

    names = list(safetensors_header(folder / "model.safetensors"))
    left = [name for name in names if not name.startswith(("classifier", "score"))]
    assert 0 < len(left) < len(names)
    safetensors(folder / "model.safetensors", left)
    error = refusal(folder)
    assert "has no weights for its scoring head" in error.message
    assert "they would be randomly initialised" in error.message


def test_a_module_repository_in_the_cache_scores_like_its_folder(made, tmp_path: Path) -> None:
    """The weights of its modules are links into the blobs of the repository, too."""
    into_hub_cache(made.folder("ettin"), tmp_path / "hf", "acme/ettin")
    assert ours("acme/ettin", PAIRS, backend="torch") == ours(made.folder("ettin"), PAIRS, backend="torch")
    shutil.rmtree(tmp_path / "hf" / "hub" / "models--acme--ettin" / "refs")
    assert models.resolve(f"acme/ettin@{COMMIT}", LoadPolicy(offline=True)).family == "modules"
