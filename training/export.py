"""Writes the embedded cross-encoder as ONNX: `python training/export.py CHECKPOINT_FOLDER OUT_FOLDER`.

`--form all` (default) writes the files that the package ships, the same bytes for the same checkpoint:

    model.onnx               8-bit weights and activations, one scale per token: ONNX Runtime, any CPU
    model_weight_only.onnx   8-bit weights, float32 arithmetic, plain operators: OpenVINO
    weights.bin              the weights of both graphs
    tokenizer.json           minified, without the truncation and padding of training
    config.json              what the package has to know
    digests.json             sha256 of these files and of the checkpoint

`--form fp32` writes one self-contained float32 `model.onnx`. CHECKPOINT_FOLDER may also be a folder that this program
wrote: then the weights are its 8-bit weights, multiplied out, which is the oracle for the exported graphs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from export_graph import INPUTS, CrossEncoderGraph, State  # training/export_graph.py
from model import upgrade  # training/model.py
from onnx import ModelProto, load, numpy_helper
from safetensors.torch import load_file
from weight_file import WeightFile, save  # training/weight_file.py

from rerank_cli.convert.rewrite import Form, quantize_graph

GRAPHS = {Form.PER_TOKEN: "model.onnx", Form.WEIGHT_ONLY: "model_weight_only.onnx"}
WEIGHTS = "weights.bin"
FACTS = {  # defaults; the checkpoint's config.json may say otherwise
    "name": "rerank-builtin",
    "version": "0.2.0",
    "license": "apache-2.0",
    "language": "en",
    "base_model": "sentence-transformers/all-MiniLM-L6-v2",
    "window": 128,
}
SHAPE = [
    "hidden_size",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "type_vocab_size",
    "vocab_size",
]


def fold_biases(state: State, layers: int) -> State:
    """The same function with fewer additions: biases that the algebra can move are zero, and the graph leaves them out.

    A key bias adds the same to all scores of a query token, which softmax does not see. A value bias passes through
    the weighted mean (softmax sums to 1) into the output's bias. The bias behind the second feed-forward product may
    be part of what its residual carries already: the normalised input, whose own shift the first product takes back.
    """
    folded = {name: value.astype(np.float64) for name, value in state.items()}
    for number in range(layers):
        layer = f"enc.encoder.layer.{number}"
        attention = f"{layer}.attention"
        value, key, last = f"{attention}.self.value.bias", f"{attention}.self.key.bias", f"{layer}.output.dense.bias"
        folded[f"{attention}.output.dense.bias"] += folded[f"{attention}.output.dense.weight"] @ folded[value]
        folded[f"{attention}.output.LayerNorm.bias"] += folded[last]
        folded[f"{layer}.intermediate.dense.bias"] -= folded[f"{layer}.intermediate.dense.weight"] @ folded[last]
        for name in (value, key, last):
            folded[name] = np.zeros_like(folded[name])
    return {name: value.astype(np.float32) for name, value in folded.items()}


def read_state(folder: Path) -> State:
    """The float32 weights of a checkpoint, or of an exported folder with its 8-bit weights multiplied out."""
    if (folder / WEIGHTS).exists():
        return dequantized_state(folder)
    return {name: value.numpy() for name, value in upgrade(load_file(folder / "model.safetensors")).items()}


def dequantized_state(folder: Path) -> State:
    """The weights that an exported folder really holds, under the names and in the shapes of training/model.py."""
    model = load(folder / GRAPHS[Form.WEIGHT_ONLY])  # reads weights.bin too
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    state: State = {}
    for name, tensor in stored.items():
        if name.endswith(".scale") or "const_" in name:
            continue
        plain = name.removesuffix(".int8")
        value = tensor if plain == name else tensor.astype(np.float32) * stored[f"{plain}.scale"]
        if plain.endswith(".T"):
            value = np.ascontiguousarray(value.T)
        elif plain.endswith(".row"):
            value = value.reshape(1, -1)
        state[plain.removesuffix(".T").removesuffix(".row")] = value
    for name in [name for name in state if name.endswith(".weight") and state[name].ndim == 2]:
        if "embeddings" not in name:  # fold_biases left some out
            state.setdefault(name.replace(".weight", ".bias"), np.zeros(len(state[name]), np.float32))
    return state


def build_fp32(folder: Path) -> ModelProto:
    """The float32 graph of a checkpoint or exported folder."""
    config = json.loads((folder / "config.json").read_text())
    state = fold_biases(read_state(folder), config["num_hidden_layers"])
    return CrossEncoderGraph(state, config).build()


def export_fp32(source: Path, out: Path) -> None:
    """One self-contained file."""
    out.mkdir(parents=True, exist_ok=True)
    save(build_fp32(source), out / "model.onnx")


def export_all(source: Path, out: Path) -> None:
    """The files that the package ships.

    They are written aside and moved in: a running program has `weights.bin` mapped, and must not see it change.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as aside:
        _write_all(source, Path(aside))
        for path in Path(aside).iterdir():
            path.replace(out / path.name)


def _write_all(source: Path, out: Path) -> None:
    exact = build_fp32(source)
    weights = WeightFile(WEIGHTS)
    for form, name in GRAPHS.items():
        graph = quantize_graph(exact, form)
        weights.move(graph)
        save(graph, out / name)
    weights.write(out)
    optimize(out / GRAPHS[Form.PER_TOKEN])
    _write_tokenizer(source / "tokenizer.json", out / "tokenizer.json")
    facts = package_config(json.loads((source / "config.json").read_text()))
    (out / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
    names = [*GRAPHS.values(), WEIGHTS, "tokenizer.json", "config.json"]
    digests = {
        "files": {name: _sha256(out / name) for name in names},
        "source": {name: _sha256(source / name) for name in ("config.json", "model.safetensors", "tokenizer.json")},
    }
    (out / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")


def optimize(path: Path) -> None:
    """What ONNX Runtime does to a graph at every start, done once: the levels that do not depend on the processor.

    The program then loads it as it is (`OnnxEngine`). Logits stay the same bit for bit (tests/test_builtin_model.py).
    """
    import onnxruntime

    before = load(path, load_external_data=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = load(path, load_external_data=False)
    del graph.opset_import[:]  # it lists all that the writer knows, and an older reader may not
    graph.opset_import.extend(before.opset_import)
    save(graph, path)


def _write_tokenizer(source: Path, target: Path) -> None:
    """Without white space, and without the truncation and padding that whoever saved it had switched on."""
    settings = json.loads(source.read_text(encoding="utf-8")) | {"truncation": None, "padding": None}
    target.write_text(json.dumps(settings, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def package_config(config: dict[str, Any]) -> dict[str, Any]:
    """What the package has to know, from the checkpoint's config.json."""
    return {
        "format": "rerank-builtin",
        "format_version": 1,
        "model_type": "bert",
        **{key: config.get(key, default) for key, default in FACTS.items()},
        "max_tokens": config["max_position_embeddings"],
        "head": "log-odds",
        "inputs": list(INPUTS),
        "output": "logits",
        "graphs": {
            form.value: {"file": name, "weights": WEIGHTS, "optimized": form is Form.PER_TOKEN}
            for form, name in GRAPHS.items()
        },
        **{key: config[key] for key in SHAPE},
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="CHECKPOINT_FOLDER")
    parser.add_argument("out", type=Path, metavar="OUT_FOLDER")
    parser.add_argument("--form", choices=("all", "fp32"), default="all")
    arguments = parser.parse_args()
    {"all": export_all, "fp32": export_fp32}[arguments.form](arguments.source, arguments.out)


if __name__ == "__main__":
    main()
