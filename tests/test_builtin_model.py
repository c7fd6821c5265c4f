"""The embedded model: exported files, the graphs against the torch module, and scores that depend on nothing but the pair."""

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

from rerank_cli.convert.quantize import PAIR_LIMIT, quantize_columns, quantize_rows

ROOT = Path(__file__).resolve().parent.parent
BUILTIN = ROOT / "rerank_cli" / "builtin"
GRAPHS = {"per-token": "model.onnx", "weight-only": "model_weight_only.onnx"}
SIZE_LIMIT = 24_500_000  # bytes
Feed = dict[str, np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def export() -> ModuleType:
    """training/export.py, which imports its neighbours as its command line does."""
    pytest.importorskip("onnx")
    pytest.importorskip("torch")
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
    separate = 2  # one layer that reads across, two that do not
    network = training("model").CrossEncoder(BertConfig(**settings), separate)
    state = {name: value + torch.randn_like(value) * 0.05 for name, value in network.state_dict().items()}
    state |= {"beta": torch.tensor(3.0), "scale": torch.tensor(24.0), "bias": torch.tensor(-1.5)}
    save_file({name: value.half().contiguous() for name, value in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps(settings | {"version": "9.9", "window": 48, "separate_layers": separate})
    )
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


def logits(graph: onnxruntime.InferenceSession, feed: Feed) -> np.ndarray[Any, Any]:
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


def feed(pairs: list[tuple[list[int], list[int]]], padding: int = 0) -> Feed:
    """Padded inputs [rows, longest + padding]."""
    shape = (len(pairs), max(len(ids) for ids, _ in pairs) + padding)
    arrays = {name: np.zeros(shape, np.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
    for row, (ids, types) in enumerate(pairs):
        arrays["input_ids"][row, : len(ids)] = ids
        arrays["token_type_ids"][row, : len(ids)] = types
        arrays["attention_mask"][row, : len(ids)] = 1
    return arrays


def torch_logits(export: ModuleType, folder: Path, inputs: Feed) -> np.ndarray[Any, Any]:
    """The torch module of training/model.py with the 8-bit weights of an exported folder, multiplied out."""
    import torch
    from transformers import BertConfig

    config = json.loads((folder / "config.json").read_text())
    shape = {key: config[key] for key in export.SHAPE if key in config}
    separate = shape.pop("separate_layers", None)  # a model of the first form has none
    network = training("model").CrossEncoder(BertConfig(**shape), separate)
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


def test_the_digests_are_those_of_the_files() -> None:
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


def test_the_shipped_weight_only_graph_is_the_torch_module(export: ModuleType) -> None:
    inputs = feed(rows([7, 40, 23, 64], 30_000))
    expected = torch_logits(export, BUILTIN, inputs)
    np.testing.assert_allclose(logits(session(BUILTIN / GRAPHS["weight-only"]), inputs), expected, atol=1e-4)


@pytest.mark.parametrize("form", GRAPHS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_shipped_score_depends_on_nothing_but_its_pair(form: str, threads: int) -> None:
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


def test_the_graph_is_the_torch_module_with_every_part_of_the_head(export: ModuleType, exported: Path) -> None:
    inputs = feed(rows([4, 30, 64, 11, 50], 120))
    expected = torch_logits(export, exported, inputs)
    assert np.std(expected) > 0.3, "a head that says the same of everything would prove nothing"
    for path in (exported / GRAPHS["weight-only"], exported / "fp32" / "model.onnx"):
        np.testing.assert_allclose(logits(session(path), inputs), expected, atol=1e-4)
    assert np.abs(logits(session(exported / GRAPHS["per-token"]), inputs) - expected).max() < 0.2


def test_the_unquantized_graph_is_the_checkpoint(export: ModuleType, tiny: Path, tmp_path: Path) -> None:
    import torch

    export.export_fp32(tiny, tmp_path)
    inputs = feed(rows([4, 30, 64, 11], 120, seed=1))
    with torch.no_grad():
        expected = training("model").load(tiny)(**{name: torch.from_numpy(v) for name, v in inputs.items()}).numpy()
    np.testing.assert_allclose(logits(session(tmp_path / "model.onnx"), inputs), expected, atol=1e-4)


@pytest.mark.parametrize("change", ["segments", "mask", "order"])
def test_every_input_counts(exported: Path, change: str) -> None:
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
def test_an_exported_score_depends_on_nothing_but_its_pair(exported: Path, name: str) -> None:
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


def test_the_config_of_the_checkpoint_counts(exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    assert (config["version"], config["window"], config["max_tokens"]) == ("9.9", 48, 64)
    assert "é" in (exported / "tokenizer.json").read_text(encoding="utf-8")


def test_openvino_reads_the_weight_only_graph(exported: Path) -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # it writes files into HOME
    openvino = pytest.importorskip("openvino")
    inputs = feed(rows([4, 30, 64, 11], 120))
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(exported / GRAPHS["weight-only"], "CPU", options)
    result = compiled(inputs)[0][:, 0]
    np.testing.assert_allclose(result, logits(session(exported / GRAPHS["weight-only"]), inputs), atol=1e-4)


# --- numbers in eight bits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 48), (65, 7), (1, 3), (2, 1)])
@pytest.mark.parametrize("kind", ["normal", "heavy", "equal", "zero"])
def test_no_pair_of_weights_can_saturate(shape: tuple[int, int], kind: str) -> None:
    random = np.random.default_rng(1)
    weight = {
        "normal": random.normal(size=shape),
        "heavy": random.normal(size=shape) ** 5,
        "equal": np.full(shape, -0.3),
        "zero": np.zeros(shape),
    }[kind].astype(np.float32)
    values, scales = quantize_columns(weight)
    wide = (
        np.concatenate([values, np.zeros((shape[0] % 2, shape[1]), np.int8)]).astype(np.int32).reshape(-1, 2, shape[1])
    )
    assert wide.clip(min=0).sum(1).max() <= PAIR_LIMIT
    assert wide.clip(max=0).sum(1).min() >= -PAIR_LIMIT
    assert scales.dtype == np.float32
    error = np.sqrt(((values * scales - weight) ** 2).sum() / max((weight**2).sum(), 1e-9))
    assert error < (0.012 if kind == "normal" else 0.05)


def test_rows_are_rounded_to_their_own_scale() -> None:
    table = np.random.default_rng(2).normal(size=(9, 16)).astype(np.float32) * np.arange(9, dtype=np.float32)[:, None]
    values, scales = quantize_rows(table)
    assert (np.abs(values * scales - table) <= scales / 2 * 1.0001).all()


def test_integers_are_exact_at_the_worst_case() -> None:
    """Activations at both ends against weights at the limit: the place where vpmaddubsw would saturate."""
    onnx = pytest.importorskip("onnx")
    random = np.random.default_rng(4)
    weights = quantize_columns(random.normal(size=(384, 64)).astype(np.float32) ** 3).values
    rows_ = random.choice([0, 255], size=(16, 384)).astype(np.uint8)
    rows_[0], rows_[1] = 255, np.where(weights[:, 0] > 0, 255, 0)
    node = onnx.helper.make_node("MatMulInteger", ["x", "w", "z"], ["y"])
    graph = onnx.helper.make_graph(
        [node],
        "worst",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, ["rows", 384])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT32, ["rows", 64])],
        [onnx.numpy_helper.from_array(weights, "w"), onnx.numpy_helper.from_array(np.uint8(128), "z")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    result = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": rows_})[0]
    assert (result == (rows_.astype(np.int32) - 128) @ weights.astype(np.int32)).all()


# --- the rewrite of foreign graphs ------------------------------------------------------------------------------------


def foreign(opset: int) -> Any:
    """Look-up → Gemm (transposed weight) → Relu → product with a Constant node → Gelu or Tanh → small product."""
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(3)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32) / 8, name)

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Gemm", ["rows", "first", "bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Constant", [], ["second"], value=weight("second", 96, 128)),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Gelu" if opset >= 20 else "Tanh", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "third"], ["e"]),
        helper.make_node("MatMul", ["e", "small"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 2])],
        [
            weight("table", 200, 64),
            weight("first", 96, 64),
            weight("bias", 96),
            weight("third", 128, 64),
            weight("small", 64, 2),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
@pytest.mark.parametrize("form", ["per-token", "weight-only"])
def test_a_foreign_graph_keeps_its_meaning(opset: int, form: str) -> None:
    pytest.importorskip("onnx")
    from rerank_cli.convert.rewrite import Form, quantize_graph

    model = foreign(opset)
    before = model.SerializeToString(deterministic=True)
    small = quantize_graph(model, Form(form))
    assert model.SerializeToString(deterministic=True) == before, "the argument is left alone"
    assert len(small.SerializeToString()) < 0.45 * len(before)
    names = [node.op_type for node in small.graph.node]
    assert names.count("MatMulIntegerToFloat") == (3 if form == "per-token" else 0)
    assert names.count("MatMul") == (1 if form == "per-token" else 4), "a weight of 128 numbers stays float32"
    ids = {"ids": np.arange(0, 200, 7)}
    exact, rounded = (onnxruntime.InferenceSession(m.SerializeToString()).run(None, ids)[0] for m in (model, small))
    assert np.abs(rounded - exact).max() < 0.04 * np.abs(exact).max()


def test_an_old_graph_is_refused() -> None:
    pytest.importorskip("onnx")
    from rerank_cli.convert.rewrite import Form, quantize_graph

    model = foreign(17)
    model.opset_import[0].version = 12
    with pytest.raises(ValueError, match="opset 13"):
        quantize_graph(model, Form.PER_TOKEN)
