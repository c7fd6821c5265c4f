"""Backends side by side in one run: ours and sentence-transformers on the same model, pairs and threads.

    python benchmarks/backends.py [--documents 1000] [--rounds 3] [--threads N] [--shape minilm-l6]

A model of the shape is made with random weights (speed does not depend on them) and the built-in's tokenizer,
converted, and scored by every backend in turn, round after round; medians, ratios and the largest difference of logits
are printed. Then the share of the machine's measured matrix rate, and whole processes. Nothing is asserted. Other
rerankers, and sentence-transformers' other backends, are compared by peers.py in environments of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
QUERY = "which vitamin prevents scurvy and who found out"
SHAPES = {  # hidden, layers, heads, intermediate
    "minilm-l6": (384, 6, 12, 1536),
    "minilm-l2": (384, 2, 12, 1536),
    "bert-base": (768, 12, 12, 3072),
}
IMPORT_LINE = "import typer, rich, tokenizers, onnxruntime"


def documents(count: int) -> list[str]:
    """Texts as long as passages of MS MARCO are: a log-normal of 56 words in the median, 20 to 200."""
    words = (ROOT / "README.md").read_text("utf-8").split() + ["the", "of", "and", "a", "in", "to", "is", "was"] * 60
    draw = random.Random(5)  # noqa: S311 texts, not secrets
    lengths = [min(200, max(20, round(draw.lognormvariate(4.03, 0.42)))) for _ in range(count)]
    return [" ".join(draw.choices(words, k=length)) for length in lengths]


def make_model(shape: str, folder: Path) -> Path:
    """A sequence classifier of a shape with random weights."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    hidden, layers, heads, inner = SHAPES[shape]
    stored = json.loads((ROOT / "rerank_cli/builtin/tokenizer.json").read_text("utf-8"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(stored["model"]["vocab"]), hidden_size=hidden, num_hidden_layers=layers, num_labels=1,
        num_attention_heads=heads, intermediate_size=inner,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():  # wide enough that logits spread, so that forms can be compared
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=1.0 if "embeddings" in name or "classifier" in name else weight.shape[1] ** -0.5)
    model.save_pretrained(folder)
    BertTokenizer(vocab=stored["model"]["vocab"], model_max_length=512).save_pretrained(folder)
    return folder


def ours(folder: Path, threads: int, **settings: Any) -> Callable[[list[str]], list[float]]:
    """Scoring by one of our backends; the scorer is opened here, once."""
    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.open_local import open_local
    from rerank_cli.settings import Limits, ModelSettings

    scorer = open_local(ModelSettings(model=str(folder), threads=threads, **settings), Report())
    limits = Limits(long_documents="truncate")
    return lambda texts: [score.value or 0.0 for score in scorer.score([Pair(QUERY, text) for text in texts], limits)]


def theirs(folder: Path, threads: int) -> Callable[[list[str]], list[float]]:
    """sentence-transformers' CrossEncoder as it comes: torch, batches of 32."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.set_num_threads(threads)
    model = CrossEncoder(str(folder), local_files_only=True, device="cpu")

    def score(texts: list[str]) -> list[float]:
        torch.set_num_threads(threads)
        pairs = [(QUERY, text) for text in texts]
        return [float(v) for v in model.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)]

    return score


def has_bf16() -> bool:
    """Whether OpenVINO has bf16 instructions here."""
    from rerank_cli import cpu

    return bool(cpu.features() & {"avx512_bf16", "amx_bf16"})


def backends(model: Path, copy: Path, threads: int) -> dict[str, Callable[[list[str]], list[float]]]:
    """Everything that is compared, by name."""
    found = {
        "sentence-transformers torch": theirs(model, threads),
        "torch": ours(model, threads, backend="torch"),
        "onnx fp32": ours(copy, threads, backend="onnx", dtype="fp32"),
        "onnx int8": ours(copy, threads, backend="onnx", dtype="int8"),
        "openvino fp32": ours(copy, threads, backend="openvino", dtype="fp32"),
    }
    if has_bf16():
        found["openvino bf16"] = ours(copy, threads, backend="openvino", dtype="bf16")
    return found


def compare(found: dict[str, Callable[[list[str]], list[float]]], texts: list[str], rounds: int) -> dict[str, float]:
    """Median seconds of each, interleaved; prints the table."""
    times: dict[str, list[float]] = {name: [] for name in found}
    logits = {name: score(texts[:200]) for name, score in found.items()}
    for _ in range(rounds):
        for name, score in found.items():
            start = time.perf_counter()
            score(texts)
            times[name].append(time.perf_counter() - start)
    base = next(iter(found))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{'backend':30} {'pairs/s':>9} {'ratio':>7} {'min..max s':>14} {'max |logit - reference|':>24}")
    for name, median in medians.items():
        worst = max(abs(a - b) for a, b in zip(logits[name], logits[base], strict=True))
        spread = f"{min(times[name]):.1f}..{max(times[name]):.1f}"
        print(f"{name:30} {len(texts) / median:9.1f} {medians[base] / median:7.2f} {spread:>14} {worst:24.2g}")
    return medians


def matrix_rate(threads: int, seconds: float = 2.0, *, bf16: bool = False) -> float:
    """Floating-point operations a second of the best of numpy's and torch's products, 2048 × 1024 × 1024."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    a, b = np.random.default_rng(0).random((2048, 1024), np.float32), np.ones((1024, 1024), np.float32)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    packed = torch.ops.mkldnn._reorder_linear_weight(tb, 2048)  # noqa: SLF001
    ways: list[Callable[[], Any]] = [
        lambda: a @ b,
        lambda: ta @ tb,
        lambda: torch.ops.mkldnn._linear_pointwise(ta, packed, None, "none", [], ""),  # noqa: SLF001
    ]
    best = 0.0
    if bf16:
        half, other = ta.bfloat16(), tb.bfloat16()
        ways = [lambda: half @ other]
    with torch.inference_mode():
        for way in ways:
            way()
            until, fastest = time.perf_counter() + seconds, 1e9
            while time.perf_counter() < until:
                start = time.perf_counter()
                way()
                fastest = min(fastest, time.perf_counter() - start)
            best = max(best, 2 * 2048 * 1024 * 1024 / fastest)
    return best


def share_of_rate(shape: str, copy: Path, threads: int, dtype: str = "fp32") -> float:
    """OpenVINO's operations a second, batches of 4 × 128 tokens on each thread, as a share of the matrix rate."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from rerank_cli.scorers.openvino_engine import OpenVinoEngine

    hidden, layers, _, inner = SHAPES[shape]
    tokens, rows, batches = 128, 4, 8 * threads
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    flops = batches * rows * tokens * layers * (linear + 4 * tokens * hidden)
    engine = OpenVinoEngine(copy / "model.onnx", threads, dtype, Path(tempfile.gettempdir()) / "rerank-compiled")
    ids = np.random.default_rng(0).integers(1000, 20000, (rows, tokens))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    times, rates = [], []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            rates.append(matrix_rate(threads, 0.5, bf16=dtype == "bf16"))
            for _ in range(3):
                start = time.perf_counter()
                list(pool.map(engine.run, [feeds] * batches))
                times.append(time.perf_counter() - start)
    rate = flops / min(times)
    pairs, share = batches * rows / min(times), rate / max(rates)
    print(f"openvino {dtype} at {rows} × {tokens}: {pairs:.0f} pairs/s, {rate / 1e9:.0f} GFLOP/s, "
          f"{share:.0%} of the measured {dtype} matrix rate of {max(rates) / 1e9:.0f} GFLOP/s")  # fmt: skip
    return share


def processes(copy: Path, rounds: int) -> None:
    """Whole processes with a converted model: ten documents, against the import line."""
    rerank = [sys.executable, "-m", "rerank_cli", "-q", QUERY, str(ROOT / "sample_data/capital.jsonl"), "-f", "jsonl"]
    argv = {
        "import line": [sys.executable, "-c", IMPORT_LINE],
        "10 documents, onnx fp32": [*rerank, "-m", str(copy), "--backend", "onnx", "--dtype", "fp32"],
        "10 documents, onnx int8": [*rerank, "-m", str(copy), "--backend", "onnx", "--dtype", "int8"],
        "10 documents, openvino": [*rerank, "-m", str(copy), "--backend", "openvino"],
        "10 documents, built-in": rerank,
    }
    times: dict[str, list[float]] = {name: [] for name in argv}
    for _ in range(rounds):
        for name, command in argv.items():
            start = time.perf_counter()
            done = subprocess.run(command, check=False, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
            times[name].append(time.perf_counter() - start)
            if done.returncode:
                print(done.stderr.decode())
    print(f"\n{'process':30} {'ms':>7} {'ratio':>7}")
    base = statistics.median(times["import line"])
    for name, values in times.items():
        print(f"{name:30} {1000 * statistics.median(values):7.0f} {statistics.median(values) / base:7.2f}")


def main() -> None:
    """Make, convert, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shape", choices=SHAPES, default="minilm-l6")
    asked = parser.parse_args()
    from rerank_cli import cpu, models
    from rerank_cli.convert.model import convert
    from rerank_cli.scorers.selection import installed

    threads = asked.threads or cpu.available_threads()
    folder = Path(tempfile.mkdtemp())
    os.environ["RERANK_CACHE_DIR"] = str(folder / "cache")
    model = make_model(asked.shape, folder / "model")
    copy = convert(models.resolve(str(model)), ("fp32", "int8"), folder / "copy", threads).folder
    texts = documents(asked.documents)
    packages = ", ".join(
        f"{name} {installed(name)}" for name in ("torch", "onnxruntime", "openvino", "sentence_transformers")
    )
    print(f"{asked.shape}, {len(texts)} documents, {threads} threads, {', '.join(sorted(cpu.features()))}; {packages}")
    print(f"load average {os.getloadavg()[0]:.1f} (other work on the machine makes figures worse, ratios less so)\n")
    compare(backends(model, copy, threads), texts, asked.rounds)
    print()
    for dtype in ("fp32", "bf16") if has_bf16() else ("fp32",):
        share_of_rate(asked.shape, copy, threads, dtype)
    processes(copy, max(3, asked.rounds))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
