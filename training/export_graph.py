"""The graph of training/model.py in ONNX operators, built by hand, so that equal weights give equal bytes.

It knows nothing of checkpoints, 8-bit weights or files.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from model import EPS, FEATURE_GAIN  # training/model.py
from onnx import ModelProto, TensorProto, helper

from rerank_cli.convert.graph import GraphBuilder

State = dict[str, np.ndarray[Any, Any]]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MASKED = -1e9  # added to what softmax must not see; its share of the sum is below the last bit of a float32


class CrossEncoderGraph(GraphBuilder):
    """The graph of training/model.py in ONNX operators; b = batch, t = tokens, h = hidden size."""

    def __init__(self, state: State, config: dict[str, Any]) -> None:
        super().__init__()
        self.state = state
        self.config = config
        self.ones = ""  # float32 [t, 2], made by `build`

    def build(self) -> ModelProto:
        """Three int64 inputs [b, t], one float32 output `logits` [b, 1]."""
        for name in INPUTS:
            self.graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]))
        self.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1]))
        mask = self._row(self.node("Cast", ["attention_mask"], to=TensorProto.FLOAT))  # [b, 1, t]
        types = self._row(self.node("Cast", ["token_type_ids"], to=TensorProto.FLOAT))
        second = self.node("Mul", [mask, types])  # [b, 1, t]
        first = self.node("Sub", [mask, second])
        bias = self.node("Unsqueeze", [self._penalty(mask), self._ints(1)])  # [b, 1, 1, t]: padding is not read
        tokens = self.node("Gather", [self.node("Shape", ["input_ids"]), self._ints(1)])
        shape = self.node("Concat", [tokens, self._ints(2)], axis=0)
        self.ones = self.node("ConstantOfShape", [shape], value=helper.make_tensor("one", TensorProto.FLOAT, [1], [1]))
        hidden = self._embeddings()
        for number in range(self.config["num_hidden_layers"]):
            hidden = self._layer(hidden, bias, f"enc.encoder.layer.{number}")
        self._head(hidden, first, second)
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
        product = self.node("MatMul", [values, weight])
        if not self.state[f"{name}.bias"].any():  # fold_biases made it zero
            return product
        return self.node("Add", [product, self._parameter(f"{name}.bias")])

    def _norm(self, values: str, name: str) -> str:
        inputs = [values, self._parameter(f"{name}.weight"), self._parameter(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, axis=-1, epsilon=float(self.config["layer_norm_eps"]))

    def _gelu(self, values: str) -> str:
        return self.node("Gelu", [values])  # the exact one, by erf

    def _shares(self, scores: str) -> tuple[str, str]:
        """The softmax of [..., t] before its division, and what to divide by, [..., 1].

        ONNX Runtime's Softmax sums in an order of the processor's vector width; its matrix product does not. The sum's
        last bit is enough to move an 8-bit value, and one such value moves the logit by up to 0.1. One column of ones
        would get a kernel of its own, so there are two.
        """
        peak = self.node("ReduceMax", [scores, self._ints(-1)], keepdims=1)
        shares = self.node("Exp", [self.node("Sub", [scores, peak])])
        totals = self.node("MatMul", [shares, self.ones])
        return shares, self.node("Slice", [totals, self._ints(0), self._ints(1), self._ints(-1)])

    def _unit(self, values: str) -> str:
        length = self.node("ReduceL2", [values, self._ints(-1)], keepdims=1)
        return self.node("Div", [values, self.node("Max", [length, self._floats(EPS)])])

    # --- the encoder --------------------------------------------------------------------------------------------------

    def _places(self) -> str:
        """0, 1, 2, … as int64 [t]."""
        zero, one = self.constant(np.array(0, np.int64)), self.constant(np.array(1, np.int64))
        count = self.node("Gather", [self.node("Shape", ["input_ids"]), one])
        return self.node("Range", [zero, count, one])

    def _embeddings(self) -> str:
        """Word, segment and position of each token."""
        ids = {"word": "input_ids", "token_type": "token_type_ids", "position": self._places()}
        parts = [
            self.node("Gather", [self._parameter(f"enc.embeddings.{table}_embeddings.weight"), places])
            for table, places in ids.items()
        ]
        token = self.node("Add", [self.node("Add", parts[:2]), parts[2]])
        return self._norm(token, "enc.embeddings.LayerNorm")

    def _layer(self, hidden: str, bias: str, name: str) -> str:
        mixed = self._linear(self._attention(hidden, bias, f"{name}.attention.self"), f"{name}.attention.output.dense")
        hidden = self._norm(self.node("Add", [mixed, hidden]), f"{name}.attention.output.LayerNorm")
        inner = self._gelu(self._linear(hidden, f"{name}.intermediate.dense"))
        outer = self._linear(inner, f"{name}.output.dense")
        return self._norm(self.node("Add", [outer, hidden]), f"{name}.output.LayerNorm")

    def _attention(self, hidden: str, bias: str, name: str) -> str:
        heads = self.config["num_attention_heads"]
        width = self.config["hidden_size"] // heads

        def split(part: str, order: list[int]) -> str:
            rows = self.node("Reshape", [self._linear(hidden, f"{name}.{part}"), self._ints(0, 0, heads, width)])
            return self.node("Transpose", [rows], perm=order)

        query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
        scores = self.node("Div", [self.node("MatMul", [query, key]), self._floats(width**0.5)])  # [b, heads, t, t]
        shares, total = self._shares(self.node("Add", [scores, bias]))
        mixed = self.node("Div", [self.node("MatMul", [shares, value]), total])
        context = self.node("Transpose", [mixed], perm=[0, 2, 1, 3])
        return self.node("Reshape", [context, self._ints(0, 0, heads * width)])

    # --- the head -----------------------------------------------------------------------------------------------------

    def _pool(self, weights: str, hidden: str) -> str:
        """The weighted sum of tokens: [b, 1, t] times [b, t, h] is [b, 1, h].

        The row is doubled: ONNX Runtime has a kernel of its own for one row, which sums in another order.
        """
        return self._first(self.node("MatMul", [self.node("Concat", [weights, weights], axis=1), hidden]))

    def _head(self, hidden: str, first: str, second: str) -> None:
        # The sum stands for the mean: a unit vector does not know the divisor.
        query = self._unit(self._pool(first, hidden))
        unit = self._unit(hidden)
        cosines = self.node("Transpose", [self._sum(self.node("Mul", [unit, query]))], perm=[0, 2, 1])  # [b, 1, t]
        sharpened = self.node("Mul", [cosines, self._parameter("beta")])
        weights, _ = self._shares(self.node("Add", [sharpened, self._penalty(second)]))
        document = self._unit(self._pool(weights, hidden))  # a unit vector does not know their total
        inside = self.node("Where", [self.node("Cast", [second], to=TensorProto.BOOL), cosines, self._floats(-1)])
        best = self.node("ReduceMax", [inside, self._ints(-1)], keepdims=1)
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
