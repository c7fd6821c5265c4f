"""Writes the embedded cross-encoder as ONNX: `python training/export.py CHECKPOINT_FOLDER OUT_FOLDER [--form all|fp32]`.

The float32 graph of training/model.py is built by hand, node by node, so equal weights give equal bytes. `--form all`
(default) writes the files that the package ships:

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
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, load, numpy_helper
from safetensors.torch import load_file

from model import EPS, FEATURE_GAIN, upgrade  # training/model.py
from rerank_cli.convert.graph import GraphBuilder, WeightFile, save
from rerank_cli.convert.rewrite import Form, quantize_graph

State = dict[str, np.ndarray[Any, Any]]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MASKED = -1e9  # added to what softmax must not see; its share of the sum is below the last bit of a float32
GRAPHS = {Form.PER_TOKEN: "model.onnx", Form.WEIGHT_ONLY: "model_weight_only.onnx"}
WEIGHTS = "weights.bin"
FACTS = {  # defaults; the checkpoint's config.json may say otherwise
    "name": "rerank-builtin",
    "version": "0.1.0",
    "license": "apache-2.0",
    "language": "en",
    "base_model": "sentence-transformers/all-MiniLM-L6-v2",
    "window": 256,
}
SHAPE = (
    "hidden_size intermediate_size layer_norm_eps max_position_embeddings num_attention_heads num_hidden_layers "
    "pad_token_id type_vocab_size vocab_size"
).split()


class CrossEncoderGraph(GraphBuilder):
    """The graph of training/model.py in ONNX operators; b = batch, t = tokens, h = hidden size."""

    def __init__(self, state: State, config: dict[str, Any]) -> None:
        super().__init__()
        self.state = state
        self.config = config

    def build(self) -> ModelProto:
        """Three int64 inputs [b, t], one float32 output `logits` [b, 1]."""
        for name in INPUTS:
            self.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]))
        self.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1]))
        mask = self._row(self.node("Cast", ["attention_mask"], to=TensorProto.FLOAT))  # [b, 1, t]
        padding = self.node("Unsqueeze", [self._penalty(mask), self._ints(1)])  # [b, 1, 1, t]
        hidden = self._embeddings()
        for number in range(self.config["num_hidden_layers"]):
            hidden = self._layer(hidden, padding, f"enc.encoder.layer.{number}")
        self._head(hidden, mask)
        return self.model("rerank-builtin")

    # --- small pieces -------------------------------------------------------------------------------------------------

    def _floats(self, *values: float) -> str:
        return self.constant(np.array(values if len(values) > 1 else values[0], np.float32))

    def _ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def _parameter(self, name: str) -> str:
        return self.weight(name, self.state[name])

    def _row(self, values: str) -> str:
        """[b, t] as [b, 1, t]."""
        return self.node("Unsqueeze", [values, self._ints(1)])

    def _penalty(self, kept: str) -> str:
        """0 where `kept` is 1, MASKED where it is 0."""
        return self.node("Mul", [self.node("Sub", [self._floats(1), kept]), self._floats(MASKED)])

    def _first(self, values: str) -> str:
        """The first row of [b, rows, h], as [b, 1, h]."""
        return self.node("Slice", [values, self._ints(0), self._ints(1), self._ints(1)])

    def _sum(self, values: str) -> str:
        return self.node("ReduceSum", [values, self._ints(-1)], keepdims=1)

    def _linear(self, values: str, name: str) -> str:
        weight = self.weight(f"{name}.weight.T", np.ascontiguousarray(self.state[f"{name}.weight"].T))
        return self.node("Add", [self.node("MatMul", [values, weight]), self._parameter(f"{name}.bias")])

    def _norm(self, values: str, name: str) -> str:
        inputs = [values, self._parameter(f"{name}.weight"), self._parameter(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=float(self.config["layer_norm_eps"]))

    def _gelu(self, values: str) -> str:
        """Exact GELU in the shape that ONNX Runtime recognises and fuses with the bias before it."""
        error = self.node("Erf", [self.node("Div", [values, self._floats(2**0.5)])])
        return self.node("Mul", [self.node("Mul", [values, self.node("Add", [error, self._floats(1)])]), self._floats(0.5)])

    def _unit(self, values: str) -> str:
        length = self.node("ReduceL2", [values], axes=[-1], keepdims=1)
        return self.node("Div", [values, self.node("Max", [length, self._floats(EPS)])])

    # --- the encoder --------------------------------------------------------------------------------------------------

    def _embeddings(self) -> str:
        count = self.node("Gather", [self.node("Shape", ["input_ids"]), self.constant(np.array(1, np.int64))])
        zero, one = self.constant(np.array(0, np.int64)), self.constant(np.array(1, np.int64))
        positions = self.node("Range", [zero, count, one])
        tables = {"word": "input_ids", "token_type": "token_type_ids", "position": positions}
        parts = [
            self.node("Gather", [self._parameter(f"enc.embeddings.{table}_embeddings.weight"), ids])
            for table, ids in tables.items()
        ]
        total = self.node("Add", [self.node("Add", parts[:2]), parts[2]])
        return self._norm(total, "enc.embeddings.LayerNorm")

    def _layer(self, hidden: str, padding: str, name: str) -> str:
        mixed = self._linear(self._attention(hidden, padding, f"{name}.attention.self"), f"{name}.attention.output.dense")
        hidden = self._norm(self.node("Add", [mixed, hidden]), f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self._linear(hidden, f"{name}.intermediate.dense"))
        outer = self._linear(inner, f"{name}.output.dense")
        return self._norm(self.node("Add", [outer, hidden]), f"{name}.output.LayerNorm")

    def _attention(self, hidden: str, padding: str, name: str) -> str:
        heads = self.config["num_attention_heads"]
        width = self.config["hidden_size"] // heads

        def split(part: str, order: list[int]) -> str:
            rows = self.node("Reshape", [self._linear(hidden, f"{name}.{part}"), self._ints(0, 0, heads, width)])
            return self.node("Transpose", [rows], perm=order)

        query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
        scores = self.node("Div", [self.node("MatMul", [query, key]), self._floats(width**0.5)])  # [b, heads, t, t]
        weights = self.node("Softmax", [self.node("Add", [scores, padding])], axis=-1)
        context = self.node("Transpose", [self.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        return self.node("Reshape", [context, self._ints(0, 0, heads * width)])

    # --- the head -----------------------------------------------------------------------------------------------------

    def _pool(self, weights: str, hidden: str) -> str:
        """weights [b, 1, t] times hidden [b, t, h] -> [b, 1, h].

        The row is doubled: ONNX Runtime has a kernel of its own for one row, which sums in another order.
        """
        return self._first(self.node("MatMul", [self.node("Concat", [weights, weights], axis=1), hidden]))

    def _head(self, hidden: str, mask: str) -> None:
        types = self._row(self.node("Cast", ["token_type_ids"], to=TensorProto.FLOAT))
        second = self.node("Mul", [mask, types])  # [b, 1, t]
        # The sum stands for the mean: a unit vector does not know the divisor.
        query = self._unit(self._pool(self.node("Sub", [mask, second]), hidden))
        unit = self._unit(hidden)
        cosines = self.node("Transpose", [self._sum(self.node("Mul", [unit, query]))], perm=[0, 2, 1])  # [b, 1, t]
        sharpened = self.node("Mul", [cosines, self._parameter("beta")])
        weights = self.node("Softmax", [self.node("Add", [sharpened, self._penalty(second)])], axis=-1)
        document = self._unit(self._pool(weights, hidden))
        inside = self.node("Where", [self.node("Cast", [second], to=TensorProto.BOOL), cosines, self._floats(-1)])
        best = self.node("ReduceMax", [inside], axes=[-1], keepdims=1)
        product = self.node("Mul", [query, document])
        difference = self.node("Abs", [self.node("Sub", [query, document])])
        vectors = self.node("Concat", [self._first(unit), difference, product], axis=-1)
        features = self.node("Concat", [self.node("Mul", [vectors, self._floats(FEATURE_GAIN)]), best], axis=-1)
        inner = self._gelu(self._linear(features, "mlp.0"))
        last = self.weight("mlp.2.weight.row", self.state["mlp.2.weight"].reshape(-1))
        residual = self.node("Add", [self._sum(self.node("Mul", [inner, last])), self._parameter("mlp.2.bias")])
        scaled = self.node("Mul", [self._sum(product), self._parameter("scale")])
        logit = self.node("Add", [self.node("Add", [scaled, self._parameter("bias")]), residual])  # [b, 1, 1]
        self.graph.node.append(helper.make_node("Squeeze", [logit, self._ints(1)], ["logits"], name="logits"))


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
    for name, value in stored.items():
        if name.endswith(".int8"):
            name = name.removesuffix(".int8")
            value = value.astype(np.float32) * stored[f"{name}.scale"]
        if name.endswith(".T"):
            state[name.removesuffix(".T")] = np.ascontiguousarray(value.T)
        elif name.endswith(".row"):
            state[name.removesuffix(".row")] = value.reshape(1, -1)
        elif not name.endswith(".scale") and "const_" not in name:
            state[name] = value
    return state


def build_fp32(folder: Path) -> ModelProto:
    """The float32 graph of a checkpoint or exported folder."""
    return CrossEncoderGraph(read_state(folder), json.loads((folder / "config.json").read_text())).build()


def export_fp32(source: Path, out: Path) -> None:
    """One self-contained file."""
    out.mkdir(parents=True, exist_ok=True)
    save(build_fp32(source), out / "model.onnx")


def export_all(source: Path, out: Path) -> None:
    """The files that the package ships."""
    out.mkdir(parents=True, exist_ok=True)
    exact = build_fp32(source)
    weights = WeightFile(WEIGHTS)
    for form, name in GRAPHS.items():
        graph = quantize_graph(exact, form)
        weights.move(graph)
        save(graph, out / name)
    weights.write(out)
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8")) | {"truncation": None, "padding": None}
    (out / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    facts = package_config(json.loads((source / "config.json").read_text()))
    (out / "config.json").write_text(json.dumps(facts, indent=2) + "\n")
    names = [*GRAPHS.values(), WEIGHTS, "tokenizer.json", "config.json"]
    digests = {
        "files": {name: _sha256(out / name) for name in names},
        "source": {name: _sha256(source / name) for name in ("config.json", "model.safetensors", "tokenizer.json")},
    }
    (out / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")


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
        "graphs": {form.value: {"file": name, "weights": WEIGHTS} for form, name in GRAPHS.items()},
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
