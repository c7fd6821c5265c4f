"""A model folder with an ONNX graph of a few nodes, its weights in a file of any name: ready in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tiny_tokenizers import wordpiece

WEIGHTS = "weights.bin"


def graph(path: Path, tokens: int, location: str | None = WEIGHTS, seed: int = 3, **entries: str) -> None:
    """Write a graph that adds up one weight per token; the weights lie at `location`, or in the graph for None."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(seed).normal(size=(tokens, 1)).astype(np.float32)
    table = numpy_helper.from_array(weights, "table")
    if location is not None:
        table.ClearField("raw_data")
        table.data_location = TensorProto.EXTERNAL
        values = {"location": location, "offset": "0", "length": str(weights.nbytes)} | entries
        for key, value in values.items():
            entry = table.external_data.add()
            entry.key, entry.value = key, value
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("ReduceSum", ["each", "axes"], ["logits"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["rows", "tokens"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 1])]
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    body = helper.make_graph(nodes, "tiny", inputs, outputs, [table, axes])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


def weights_of(path: Path, tokens: int, seed: int = 3) -> None:
    """Write the weights of such a graph."""
    path.write_bytes(np.random.default_rng(seed).normal(size=(tokens, 1)).astype(np.float32).tobytes())


def model_folder(folder: Path, location: str | None = WEIGHTS) -> tuple[Path, int]:
    """A classifier that `-m` accepts, and the size of its vocabulary."""
    tokenizer = wordpiece()
    folder.mkdir(parents=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "num_labels": 1,
              "max_position_embeddings": 512, "pad_token_id": 0, "vocab_size": len(tokenizer)}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    graph(folder / "model.onnx", len(tokenizer), location)
    if location is not None:
        weights_of(folder / location, len(tokenizer))
    return folder, len(tokenizer)
