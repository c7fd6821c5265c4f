"""8-bit weights never overflow and lose little, and quantized graphs of other models give nearly the same output."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from rerank_cli.convert.quantize import PAIR_LIMIT, quantize_columns, quantize_rows

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


def test_integer_products_are_exact_at_the_limits() -> None:
    """Activations at both ends against weights at the limit: the place where vpmaddubsw would saturate."""
    import onnx

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
def test_a_quantized_graph_gives_nearly_the_same_output(opset: int, form: str) -> None:
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
    from rerank_cli.convert.rewrite import Form, quantize_graph

    model = foreign(17)
    model.opset_import[0].version = 12
    with pytest.raises(ValueError, match="opset 13"):
        quantize_graph(model, Form.PER_TOKEN)
