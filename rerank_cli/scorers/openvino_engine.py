"""The OpenVINO engine: token batches to logits. The only module that imports openvino.

Precision and dynamic quantisation are always set: on CPUs with bf16 the defaults are bf16 and groups of 32, and scores
would move by 4e-2 with the padding (measured). It knows nothing of texts, heads or rankings.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.scorers.batching import TOKEN_BUDGET

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SHOWN = ("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE", "INFERENCE_NUM_THREADS")  # read back by doctor
HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """One compiled model, from an ONNX or IR file; `settings` are those that OpenVINO reports.

    `dtype` is `fp32` or `bf16`; `cache` is a folder for compiled models, which make the next start faster.
    """

    name = "openvino"
    token_budget = TOKEN_BUDGET

    def __init__(self, graph: Path, threads: int, dtype: str, cache: Path) -> None:
        openvino = _openvino()
        core: Any = openvino.Core()
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[dtype],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,  # one thread each
            "ENABLE_HYPER_THREADING": True,
        }
        if dtype == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelError("this CPU has no bf16 instructions", "leave `--dtype` out, or use `--dtype fp32`")
        if _writable(cache):
            config["CACHE_DIR"] = str(cache)
        try:
            self._compiled: Any = core.compile_model(str(graph), "CPU", config)
        except Exception as error:  # OpenVINO raises RuntimeError with a C++ trace
            raise ModelError(f"OpenVINO cannot load {graph}: {_last_line(error)}") from error
        self.version: str = openvino.__version__
        self.settings = {name: str(self._compiled.get_property(name)) for name in SHOWN}
        self.inputs = frozenset(port.get_any_name() for port in self._compiled.inputs)
        unknown = self.inputs - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise ModelError(f"{graph} declares inputs that text rerankers do not have: {', '.join(sorted(unknown))}")
        self.threads = threads
        self._requests: Any = threading.local()  # a request computes one batch at a time

    def run(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits [rows, labels] of int64 [rows, tokens] inputs; only what the graph declares is fed."""
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        request.infer({name: feeds[name] for name in self.inputs}, share_inputs=True)
        # A copy: the request reuses its output memory in the next batch.
        logits: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
        return logits.reshape(logits.shape[0], -1)

    def close(self) -> None:
        """Free the model."""
        self._requests = self._compiled = None


def _openvino() -> Any:
    """The package without its telemetry, which writes an identifier into HOME and sends it: its import is blocked."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def save_as_ir(graph: Path, target: Path) -> None:
    """Write an ONNX file as OpenVINO's own format, weights in float32. Raises ModelError."""
    openvino = _openvino()
    try:
        openvino.save_model(openvino.convert_model(str(graph)), str(target), compress_to_fp16=False)
    except Exception as error:  # OpenVINO raises RuntimeError with a C++ trace
        raise ModelError(f"OpenVINO cannot convert {graph}: {_last_line(error)}") from error


def _writable(folder: Path) -> bool:
    """Whether compiled models can be stored; otherwise they are compiled at every start."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return True


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
