"""A small writer of ONNX graphs: nodes and weights in the order they are added, so equal input gives equal bytes.

It knows ONNX protobufs. It knows nothing of models or of quantisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

OPSET = 20  # Gelu appeared here; read by ONNX Runtime 1.20 and later and by OpenVINO
CONTRIB = "com.microsoft"  # operators that only ONNX Runtime knows
IR_VERSION = 9  # the file format version that belongs to opset 20


class GraphBuilder:
    """Collects nodes and weights; every method returns the name of its new value."""

    def __init__(self, prefix: str = "") -> None:
        from onnx import GraphProto

        self.prefix = prefix
        self.graph = GraphProto()
        self._known: dict[str, str] = {}

    def node(self, operator: str, inputs: list[str], *, domain: str = "", **attributes: Any) -> str:
        """One node with one output, named after its operator and its place in the graph."""
        from onnx import helper

        name = f"{self.prefix}{operator}_{len(self.graph.node)}"
        self.graph.node.append(
            helper.make_node(operator, inputs, [name], name=name, domain=domain or None, **attributes)
        )
        return name

    def weight(self, name: str, value: np.ndarray[Any, Any]) -> str:
        """A named constant of the graph."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def constant(self, value: np.ndarray[Any, Any]) -> str:
        """A small constant, stored once however often it is used."""
        parts = [value.dtype.name, *map(str, value.shape), "is", *map(str, value.ravel().tolist())]
        key = f"{self.prefix}const_{'_'.join(parts)}"
        if key not in self._known:
            self._known[key] = self.weight(key, value)
        return key

    def model(self, name: str) -> ModelProto:
        """The finished model."""
        from onnx import helper

        self.graph.name = name
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(self.graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rerank-cli")
