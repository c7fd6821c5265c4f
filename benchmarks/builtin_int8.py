"""Speed of the embedded model's graphs on ONNX Runtime: `python benchmarks/builtin_int8.py [--rounds 15]`.

The float32 graph is written from the 8-bit weights by training/export.py (needs the extras `convert` and `torch`).
The graphs take turns, so that a disturbance meets all of them; the table gives the fastest round and, in brackets, how
many times faster than float32 that is; the last column is the same ratio of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parent.parent
BUILTIN = ROOT / "rerank_cli" / "builtin"
MIXED = np.random.default_rng(1).integers(20, 160, 40)
SHAPES = {  # name: batches, each a list of pair lengths in tokens
    "8 x 128": [[128] * 8],
    "16 x 40": [[40] * 16],
    "4 x 256": [[256] * 4],
    "40 of 20-160": [sorted(MIXED.tolist())[start : start + 8] for start in range(0, 40, 8)],
}
InputStream = dict[str, np.ndarray]


def inputs(lengths: list[int]) -> InputStream:
    """Random pairs with a query of 12 tokens, padded to the longest."""
    random = np.random.default_rng(len(lengths))
    position = np.arange(max(lengths))[None]
    mask = (position < np.array(lengths)[:, None]).astype(np.int64)
    ids = random.integers(1000, 30000, mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": (position >= 12) * mask}


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # multiply weights out once, at loading
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def seconds(graph: onnxruntime.InferenceSession, batches: list[InputStream]) -> float:
    start = time.perf_counter()
    for batch in batches:
        graph.run(None, batch)
    return time.perf_counter() - start


def measure(graphs: dict[str, Path], threads: int, rounds: int) -> None:
    """Prints one table line for each shape."""
    sessions = {name: session(path, threads) for name, path in graphs.items()}
    for shape, lengths in SHAPES.items():
        batches = [inputs(batch) for batch in lengths]
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for turn in range(rounds + 1):
            for name, graph in sessions.items():
                spent = seconds(graph, batches)
                if turn:  # the first turn warms caches and arenas
                    times[name].append(spent)
        pairs = sum(map(len, lengths))
        cells = [
            f"{pairs / min(spent):.1f} ({min(times['fp32']) / min(spent):.2f} x)"
            if name != "fp32"
            else f"{pairs / min(spent):.1f}"
            for name, spent in times.items()
        ]
        medians = statistics.median(times["fp32"]) / statistics.median(times["per-token"])
        print(f"| {threads} | {shape} | {' | '.join(cells)} | {medians:.2f} x |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "training" / "export.py"), str(BUILTIN), folder, "--form", "fp32"]
        subprocess.run(command, check=True, env={"PYTHONPATH": str(ROOT)})
        graphs = {
            "fp32": Path(folder) / "model.onnx",
            "weight-only": BUILTIN / "model_weight_only.onnx",
            "per-token": BUILTIN / "model.onnx",
        }
        print("pairs a second\n")
        print(f"| threads | pairs x tokens | {' | '.join(graphs)} | per-token, medians |")
        print("|---|---|---|---|---|---|")
        for threads in arguments.threads:
            measure(graphs, threads, arguments.rounds)


if __name__ == "__main__":
    main()
