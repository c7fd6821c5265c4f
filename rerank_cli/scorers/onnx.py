"""The ONNX Runtime engine: token batches to logits. The only module that imports onnxruntime.

It knows nothing of texts, heads or rankings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError, library_errors
from rerank_cli.scorers.batching import TOKEN_BUDGET

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


class OnnxEngine:
    """One session over one graph, for several threads: a run computes on the thread that calls it.

    Scores of a row depend on nothing but the row. Memory pattern off: it plans one arena per shape, and shapes vary
    with every batch. An `optimized` graph is taken as it is: optimising is most of the time that loading takes.
    """

    name = "onnx"
    token_budget = TOKEN_BUDGET

    def __init__(self, graph: Path, threads: int, *, optimized: bool = False) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # the wheel writes identifiers into HOME otherwise
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts a thread for each processor otherwise
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        if optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with library_errors(lambda reason: ModelError(f"ONNX Runtime cannot load {graph}: {reason}")):
            self._session: Any = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )  # the fallback is the same provider, and is announced on stdout
        self.threads = threads
        self.version: str = onnxruntime.__version__
        self.inputs = frozenset(node.name for node in self._session.get_inputs())
        unknown = self.inputs - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise ModelError(f"{graph} declares inputs that text rerankers do not have: {', '.join(sorted(unknown))}")

    def run(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits [rows, labels] of int64 [rows, tokens] inputs; only what the graph declares is fed."""
        outputs = self._session.run(None, {name: feeds[name] for name in self.inputs})
        logits: NDArray[np.float32] = outputs[0]
        return logits.reshape(logits.shape[0], -1)

    def close(self) -> None:
        """Free the session."""
        self._session = None
