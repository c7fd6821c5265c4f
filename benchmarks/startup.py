"""Whole-process times, side by side in one run: interleaved, medians, ratios. Run: python benchmarks/startup.py

What is compared with what is in the table; nothing is asserted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STOCK = """
import typer
app = typer.Typer()

@app.command()
def one(name: str, count: int = 3, flag: bool = False):
    print(name)

@app.command()
def two(name: str, count: int = 3):
    print(name)

app()
"""
QUERY = "What is the capital of the United States?"


def cases(stock: Path) -> dict[str, list[str]]:
    """Name to argv; each is timed as often as the others, in turn."""
    python, rerank = sys.executable, [sys.executable, "-m", "rerank_cli"]
    return {
        "import typer": [python, "-c", "import typer"],
        "rerank --help": [*rerank, "--help"],
        "stock rank --help": [python, str(stock), "one", "--help"],
        "rerank rank --help": [*rerank, "rank", "--help"],
        "stock usage error": [python, str(stock), "one", "--bogus"],
        "rerank usage error": [*rerank, "rank", "--bogus"],
        "import line": [python, "-c", "import typer, rich, tokenizers, onnxruntime"],
        "rerank 10 documents": [*rerank, "-q", QUERY, str(ROOT / "sample_data/capital.jsonl"), "-f", "jsonl"],
    }


def measure(rounds: int) -> dict[str, float]:
    """The median seconds of each case, timed in turn."""
    with tempfile.TemporaryDirectory() as folder:
        stock = Path(folder, "stock.py")
        stock.write_text(STOCK)
        times: dict[str, list[float]] = {name: [] for name in cases(stock)}
        for _ in range(rounds):
            for name, argv in cases(stock).items():
                start = time.perf_counter()
                env = os.environ | {"PYTHONPATH": str(ROOT)}
                subprocess.run(argv, capture_output=True, check=False, env=env, cwd=ROOT)
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def main(rounds: int = 11) -> None:
    """Print medians and ratios."""
    medians = measure(rounds)
    for name, median in medians.items():
        print(f"{name:24} {median * 1000:8.0f} ms")
    for ours, base, target in (
        ("rerank 10 documents", "import line", 3.0),
        ("rerank --help", "import typer", 2.0),
        ("rerank rank --help", "stock rank --help", 1.25),
        ("rerank usage error", "stock usage error", 1.25),
    ):
        print(f"{ours} / {base}: {medians[ours] / medians[base]:.2f} (target {target})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
