"""The embedded model: its files are intact, its graphs equal the torch module, and a score depends only on its pair."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import ROOT

BUILTIN = ROOT / "rerank_cli" / "builtin"
GRAPHS = {"per-token": "model.onnx", "weight-only": "model_weight_only.onnx"}
SIZE_LIMIT = 24_500_000  # bytes
InputStream = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def export() -> ModuleType:
    """training/export.py, which imports its neighbours as its command line does."""
    return training("export")


def training(name: str) -> ModuleType:
    """A module of training/."""
    sys.path.insert(0, str(ROOT / "training"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "training"))


@pytest.fixture(scope="module")
def tiny(export: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of the real architecture: three layers, 120 tokens, every parameter of the head in use."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig

    folder = tmp_path_factory.mktemp("tiny")
    settings = {
        "vocab_size": 120,
        "hidden_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 12,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "initializer_range": 0.05,
    }
    torch.manual_seed(7)
    network = training("model").CrossEncoder(BertConfig(**settings))
    state = {name: value + torch.randn_like(value) * 0.05 for name, value in network.state_dict().items()}
    state |= {"beta": torch.tensor(3.0), "scale": torch.tensor(24.0), "bias": torch.tensor(-1.5)}
    save_file({name: value.half().contiguous() for name, value in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(settings | {"version": "9.9", "window": 48}))
    tokenizer = {
        "version": "1.0",
        "truncation": {"max_length": 128},
        "padding": {"pad_id": 0},
        "model": {"vocab": {"é": 0}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1))
    return folder


@pytest.fixture(scope="module")
def exported(export: ModuleType, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("exported")
    export.export_all(tiny, out)
    export.export_fp32(out, out / "fp32")
    return out


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits(graph: onnxruntime.InferenceSession, feed: InputStream) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = graph.run(None, feed)[0]
    return result[:, 0]


def rows(lengths: list[int], vocabulary: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Random pairs as (token ids, segment ids), a query of at most a third."""
    random = np.random.default_rng(seed)
    pairs = []
    for length in lengths:
        query = min(9, max(2, length // 3))
        pairs.append((random.integers(5, vocabulary, length).tolist(), [0] * query + [1] * (length - query)))
    return pairs


def feed(pairs: list[tuple[list[int], list[int]]], padding: int = 0) -> InputStream:
    """Padded inputs [rows, longest + padding]."""
    shape = (len(pairs), max(len(ids) for ids, _ in pairs) + padding)
    arrays = {name: np.zeros(shape, np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
    for row, (ids, types) in enumerate(pairs):
        arrays["input_ids"][row, : len(ids)] = ids
        arrays["token_type_ids"][row, : len(ids)] = types
        arrays["attention_mask"][row, : len(ids)] = 1
    return arrays


def torch_logits(export: ModuleType, folder: Path, inputs: InputStream) -> np.ndarray[Any, Any]:
    """The torch module of training/model.py with the 8-bit weights of an exported folder, multiplied out."""
    import torch
    from transformers import BertConfig

    config = json.loads((folder / "config.json").read_text())
    shape = {key: config[key] for key in export.SHAPE if key in config}
    network = training("model").CrossEncoder(BertConfig(**shape))
    state = {name: torch.from_numpy(np.array(value)) for name, value in export.dequantized_state(folder).items()}
    network.load_state_dict(state)
    with torch.no_grad():
        result: np.ndarray[Any, Any] = network.eval()(
            **{name: torch.from_numpy(v) for name, v in inputs.items()}
        ).numpy()
    return result


# --- the shipped files ------------------------------------------------------------------------------------------------


def test_the_files_are_small_enough() -> None:
    names = [*json.loads((BUILTIN / "digests.json").read_text())["files"], "digests.json"]
    assert sum((BUILTIN / name).stat().st_size for name in names) <= SIZE_LIMIT


def test_the_digests_match_the_files() -> None:
    for name, digest in json.loads((BUILTIN / "digests.json").read_text())["files"].items():
        assert hashlib.sha256((BUILTIN / name).read_bytes()).hexdigest() == digest, name


def test_the_config_names_the_files_and_limits() -> None:
    config = json.loads((BUILTIN / "config.json").read_text())
    assert config["format"] == "rerank-builtin"
    assert {form: graph["file"] for form, graph in config["graphs"].items()} == GRAPHS
    assert config["window"] <= config["max_tokens"] == 512
    tokenizer = json.loads((BUILTIN / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer["truncation"] is None
    assert tokenizer["padding"] is None


def test_the_shipped_weight_only_graph_equals_the_torch_module(export: ModuleType) -> None:
    inputs = feed(rows([7, 40, 23, 64], 30_000))
    expected = torch_logits(export, BUILTIN, inputs)
    np.testing.assert_allclose(logits(session(BUILTIN / GRAPHS["weight-only"]), inputs), expected, atol=1e-4)


@pytest.mark.parametrize("form", GRAPHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_shipped_score_depends_only_on_its_pair(form: str, threads: int) -> None:
    """Batch size, order, neighbours, padding and threads; a batch of one row is doubled, as the scorer does."""
    pairs = rows([5, 6, 17, 18, 33, 64, 65, 90], 30_000, seed=3)
    expected = logits(session(BUILTIN / GRAPHS[form]), feed(pairs))
    graph = session(BUILTIN / GRAPHS[form], threads)
    for padding in (0, 1, 38):
        assert (logits(graph, feed(pairs, padding)) == expected).all(), f"padding {padding}"
    assert (logits(graph, feed(pairs[::-1]))[::-1] == expected).all(), "order"
    for number, pair in enumerate(pairs):
        assert (logits(graph, feed([pair, pair])) == expected[number]).all(), f"row {number} on its own"
        assert logits(graph, feed([pairs[0], pair, pairs[3]], 2))[1] == expected[number], f"row {number} in threes"


# --- the export -------------------------------------------------------------------------------------------------------


def test_the_graph_equals_the_torch_module_with_every_part_of_the_head(export: ModuleType, exported: Path) -> None:
    inputs = feed(rows([4, 30, 64, 11, 50], 120))
    expected = torch_logits(export, exported, inputs)
    assert np.std(expected) > 0.1, "a head that says the same of everything would prove nothing"
    for path in (exported / GRAPHS["weight-only"], exported / "fp32" / "model.onnx"):
        np.testing.assert_allclose(logits(session(path), inputs), expected, atol=1e-4)
    assert np.abs(logits(session(exported / GRAPHS["per-token"]), inputs) - expected).max() < 0.2


def test_the_unquantized_graph_equals_the_checkpoint(export: ModuleType, tiny: Path, tmp_path: Path) -> None:
    import torch

    export.export_fp32(tiny, tmp_path)
    inputs = feed(rows([4, 30, 64, 11], 120, seed=1))
    with torch.no_grad():
        expected = training("model").load(tiny)(**{name: torch.from_numpy(v) for name, v in inputs.items()}).numpy()
    np.testing.assert_allclose(logits(session(tmp_path / "model.onnx"), inputs), expected, atol=1e-4)


def test_the_optimized_graph_gives_the_logits_of_the_graph_before_bit_for_bit(
    export: ModuleType, tiny: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "optimize", lambda _path: None)
    export.export_all(tiny, tmp_path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = str(exported / GRAPHS["per-token"])
    as_it_is = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert (tmp_path / GRAPHS["per-token"]).read_bytes() != (exported / GRAPHS["per-token"]).read_bytes()
    for seed in range(5):
        inputs = feed(rows([4, 30, 64, 11, 50], 120, seed))
        assert (logits(as_it_is, inputs) == logits(session(tmp_path / GRAPHS["per-token"]), inputs)).all()


@pytest.mark.parametrize("change", ["segments", "mask", "order"])
def test_every_input_of_the_graph_affects_the_score(exported: Path, change: str) -> None:
    inputs = feed(rows([30, 64, 50], 120))
    before = logits(session(exported / "model.onnx"), inputs)
    if change == "segments":
        inputs["token_type_ids"][:, 2:] = 1 - inputs["token_type_ids"][:, 2:]
    elif change == "mask":
        inputs["attention_mask"][:, 20:25] = 0
    else:
        inputs["input_ids"][:, 2:20] = inputs["input_ids"][:, 2:20][:, ::-1].copy()
    assert np.abs(logits(session(exported / "model.onnx"), inputs) - before).max() > 0.05


@pytest.mark.parametrize("name", ["model.onnx", "model_weight_only.onnx", "fp32/model.onnx"])
def test_an_exported_score_depends_only_on_its_pair(exported: Path, name: str) -> None:
    random = np.random.default_rng(5)
    pairs = rows(random.integers(4, 62, 24).tolist(), 120)
    graphs = [session(exported / name, threads) for threads in (1, 2)]
    expected = logits(graphs[0], feed(pairs))
    for trial in range(40):
        chosen = random.integers(0, len(pairs), random.integers(2, 9))
        inputs = feed([pairs[number] for number in chosen], padding=int(random.integers(0, 3)))
        assert (logits(graphs[trial % 2], inputs) == expected[chosen]).all()


def test_equal_checkpoints_give_equal_bytes(export: ModuleType, tiny: Path, exported: Path, tmp_path: Path) -> None:
    export.export_all(tiny, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([*GRAPHS.values(), "weights.bin", "tokenizer.json", "config.json", "digests.json"])
    for name in names:
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes(), name


def test_the_config_of_the_checkpoint_is_exported(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    assert (config["version"], config["window"], config["max_tokens"]) == ("9.9", 48, 64)
    assert "é" in (exported / "tokenizer.json").read_text(encoding="utf-8")


def test_openvino_reads_the_weight_only_graph(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)  # it writes files into HOME
    import openvino

    inputs = feed(rows([4, 30, 64, 11], 120))
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(exported / GRAPHS["weight-only"], "CPU", options)
    result = compiled(inputs)[0][:, 0]
    np.testing.assert_allclose(result, logits(session(exported / GRAPHS["weight-only"]), inputs), atol=1e-4)
