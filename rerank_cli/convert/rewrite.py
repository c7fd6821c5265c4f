"""Rewrites a float32 ONNX graph of a BERT-like model to 8-bit weights, in one of two forms.

`PER_TOKEN` is for ONNX Runtime. A matrix product becomes: one scale per row (token) of the input, unsigned 8-bit
activations around 128, MatMulIntegerToFloat (integers, times the scale of the column), times the scale of the row.
A row's integers depend on that row alone, so batch, padding, neighbours and threads cannot change a bit; products
that share an input share its quantisation (query, key and value do).

`WEIGHT_ONLY` uses plain ONNX operators: DequantizeLinear, then the product in float32. OpenVINO reads it.

Embeddings become Gather(int8) x Gather(scale of the row) in both. It knows nothing of one particular model.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.convert.graph import CONTRIB, GraphBuilder
from rerank_cli.convert.quantize import quantize_columns, quantize_rows

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto, NodeProto

ZERO_POINT = 128  # the unsigned 8-bit number that stands for zero
# GELU never falls below -0.17, so most of the 256 numbers can be spent on its positive side: steps half as wide.
GELU_DEPTH = 0.17
GELU_ZERO_POINT = 24
SMALLEST_PEAK = 1e-9  # a row of zeros still needs a scale
MIN_ELEMENTS = 4096  # smaller tables and weights stay float32: two segment ids, the last layer of a head


class _Rows(NamedTuple):
    """Names of values: rows of unsigned 8-bit integers, the worth of a step [..., 1], the integer that means zero."""

    integers: str
    scale: str
    zero: str


class Form(Enum):
    """How a product with 8-bit weights is computed."""

    PER_TOKEN = "per-token"  # noqa: S105 (no password)
    WEIGHT_ONLY = "weight-only"


def quantize_graph(model: ModelProto, form: Form) -> ModelProto:
    """A new model with the same inputs and outputs and 8-bit weights; `model` is left as it is.

    Raises ValueError: the model's opset is older than 13, where quantisation along an axis begins.
    """
    return _Rewriter(model, form).run()


class _Rewriter(GraphBuilder):
    """Copies a graph node by node and replaces those that multiply or look up a large constant."""

    def __init__(self, model: ModelProto, form: Form) -> None:
        from onnx import numpy_helper

        super().__init__(prefix="q8_")
        self.old = model
        self.form = form
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.weights[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.opset = next(opset.version for opset in model.opset_import if not opset.domain)
        if self.opset < 13:
            raise ValueError(f"8-bit weights need opset 13 or newer, the graph has {self.opset}")
        self._rows: dict[str, _Rows] = {}
        self._stored: dict[str, tuple[str, str]] = {}

    def run(self) -> ModelProto:
        """Every node of the old graph, replaced or copied, then the weights that are still used."""
        from onnx import ModelProto, helper

        for node in self.old.graph.node:
            if not self._replaced(node):
                self.graph.node.append(node)
        used = {name for node in self.graph.node for name in node.input}
        used |= {value.name for value in self.old.graph.output}
        self.graph.initializer.extend(tensor for tensor in self.old.graph.initializer if tensor.name in used)
        kept = [node for node in self.graph.node if node.op_type != "Constant" or node.output[0] in used]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        result = ModelProto()
        result.CopyFrom(self.old)
        for field in ("node", "initializer", "value_info"):
            result.graph.ClearField(field)
        result.graph.node.extend(self.graph.node)
        result.graph.initializer.extend(self.graph.initializer)
        if self.form is Form.PER_TOKEN and all(opset.domain != CONTRIB for opset in result.opset_import):
            result.opset_import.append(helper.make_opsetid(CONTRIB, 1))
        return result

    def _replaced(self, node: NodeProto) -> bool:
        """Whether the node was a product with, or a look-up in, a large constant, and has been replaced."""
        if node.op_type == "Gather" and self._is_large(node.input[0]) and _attribute(node, "axis", 0) == 0:
            self._look_up(node)
        elif node.op_type == "MatMul" and self._is_large(node.input[1]):
            self._finish(node, self._product(node.input[0], node.input[1], self.weights[node.input[1]]))
        elif node.op_type == "Gemm" and self._is_large(node.input[1]) and _is_linear(node):
            weight = self.weights[node.input[1]]
            weight = weight.T if _attribute(node, "transB", 0) else weight
            product = self._product(node.input[0], node.input[1], weight)
            bias = node.input[2] if len(node.input) > 2 else ""
            self._finish(node, self.node("Add", [product, bias]) if bias else product)
        else:
            return False
        return True

    def _is_large(self, name: str) -> bool:
        value = self.weights.get(name)
        return value is not None and value.dtype == "float32" and value.ndim == 2 and value.size >= MIN_ELEMENTS

    def _finish(self, old: NodeProto, result: str) -> None:
        """Lets the last new node bear the old node's output name, so that its readers need no change."""
        last = self.graph.node[-1]
        if last.output[0] != result:
            raise AssertionError(f"{result} is not the newest value")
        last.output[0] = old.output[0]

    def _look_up(self, node: NodeProto) -> None:
        from onnx import TensorProto

        values, scales = self._store(node.input[0], self.weights[node.input[0]], rows=True)
        row = self.node("Cast", [self.node("Gather", [values, node.input[1]])], to=TensorProto.FLOAT)
        scale = self.node("Gather", [scales, node.input[1]])
        self._finish(node, self.node("Mul", [row, scale]))

    def _product(self, source: str, name: str, weight: np.ndarray[Any, Any]) -> str:
        """The input [..., inputs] times the weight [inputs, outputs]."""
        import numpy as np

        values, scales = self._store(name, weight)
        if self.form is Form.WEIGHT_ONLY:
            return self.node("MatMul", [source, self.node("DequantizeLinear", [values, scales], axis=1)])
        rows = self._quantized_rows(source, len(weight))
        one = self.constant(np.array(1, np.float32))
        product = self.node("MatMulIntegerToFloat", [rows.integers, values, one, scales, rows.zero], domain=CONTRIB)
        return self.node("Mul", [product, rows.scale])

    def _quantized_rows(self, source: str, width: int) -> _Rows:
        """The rows of [..., width] as unsigned 8-bit numbers, once for each source.

        QuantizeLinear divides, rounds half to even, adds the zero point and saturates in one pass. It takes one scale
        per slice of an axis, so the leading axes are folded into one.
        """
        import numpy as np

        if source not in self._rows:
            after_gelu = any(node.op_type == "Gelu" and source in node.output for node in self.old.graph.node)
            zero_point = GELU_ZERO_POINT if after_gelu else ZERO_POINT
            zero = self.constant(np.array(zero_point, np.uint8))
            scale = self._row_scale(source, zero_point)
            flat = self.node("Reshape", [scale, self.constant(np.array([-1], np.int64))])
            rows = self.node("Reshape", [source, self.constant(np.array([-1, width], np.int64))])
            zeros = self.node("Expand", [zero, self.node("Shape", [flat])])
            integers = self.node("QuantizeLinear", [rows, flat, zeros], axis=0)
            integers = self.node("Reshape", [integers, self.node("Shape", [source])])
            self._rows[source] = _Rows(integers, scale, zero)
        return self._rows[source]

    def _row_scale(self, source: str, zero_point: int) -> str:
        """What one step of the integers is worth in each row, [..., 1]."""
        import numpy as np

        steps = 255 - zero_point
        peaks = [self._last_axis("ReduceMax", source)]
        if zero_point == GELU_ZERO_POINT:
            lowest = GELU_DEPTH / GELU_ZERO_POINT * steps  # below this peak the negative side would not fit
        else:
            lowest = SMALLEST_PEAK
            peaks.append(self.node("Neg", [self._last_axis("ReduceMin", source)]))
        peak = self.node("Max", [*peaks, self.constant(np.array(lowest, np.float32))])
        return self.node("Mul", [peak, self.constant(np.array(1 / steps, np.float32))])

    def _last_axis(self, operator: str, source: str) -> str:
        """Reduces the last axis to one element; from opset 18 on the axes are an input."""
        import numpy as np

        if self.opset < 18:
            return self.node(operator, [source], axes=[-1], keepdims=1)
        return self.node(operator, [source, self.constant(np.array([-1], np.int64))], keepdims=1)

    def _store(self, name: str, weight: np.ndarray[Any, Any], *, rows: bool = False) -> tuple[str, str]:
        """The names of the 8-bit weight and of its scales, stored once for each name."""
        key = f"{name}.rows" if rows else name
        if key not in self._stored:
            quantized = quantize_rows(weight) if rows else quantize_columns(weight)
            names = self.weight(f"{name}.int8", quantized.values), self.weight(f"{name}.scale", quantized.scales)
            self._stored[key] = names
        return self._stored[key]


def _attribute(node: NodeProto, name: str, default: float) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _is_linear(node: NodeProto) -> bool:
    """Whether a Gemm is x @ weight + bias, without factors or a transposed input."""
    plain = _attribute(node, "alpha", 1.0) == 1.0 and _attribute(node, "beta", 1.0) == 1.0
    return bool(plain and not _attribute(node, "transA", 0))
