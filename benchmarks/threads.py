"""The embedded model with one thread and with several: pairs/s side by side, on an idle and on a busy machine.

    python benchmarks/threads.py [--threads 2] [--rounds 5] [--busy]

`--busy` keeps one other process computing. `ceiling` is what the machine allows: two processes that share nothing.
Nothing is asserted.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli import models
from rerank_cli.records import Pair
from rerank_cli.scorers import selection
from rerank_cli.scorers.open_local import build_scorer, open_engine, scorer_info
from rerank_cli.settings import Limits, ModelSettings

if TYPE_CHECKING:
    from rerank_cli.scorers.local import LocalScorer

QUERY = "what is the capital of the united states"
WORDS = ["river", "bank", "loan", "money", "shore", "finance", "boat", "interest", "deposit", "rate", "law", "court"]
NEIGHBOUR = "while True: sum(range(100000))"
SHAPES = {"200 × 60 tokens": (200, 60), "10 × 60": (10, 60), "64 × 128": (64, 128), "32 × 256": (32, 256)}


def scorer_on(threads: int) -> LocalScorer:
    """The embedded model on so many threads."""
    model = models.builtin()
    choice = selection.choose(model, ModelSettings())
    opener = partial(open_engine, choice=choice, threads=threads)
    return build_scorer(model, scorer_info(model, choice), opener)  # type: ignore[return-value]


def measure(threads: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Pairs/s with one thread and with `threads`, by shape: the medians of rounds in turn."""
    draw = random.Random(5)  # noqa: S311 texts, not secrets
    scorers = {count: scorer_on(count) for count in (1, threads)}
    found = {}
    for name, (rows, tokens) in SHAPES.items():
        pairs = [Pair(QUERY, " ".join(draw.choices(WORDS, k=tokens - 12))) for _ in range(rows)]
        rates: dict[int, list[float]] = {count: [] for count in scorers}
        for scorer in scorers.values():
            scorer.score(pairs[:8], Limits())
        for _ in range(rounds):
            for count, scorer in scorers.items():
                start = time.perf_counter()
                scorer.score(pairs, Limits())
                rates[count].append(rows / (time.perf_counter() - start))
        found[name] = (statistics.median(rates[1]), statistics.median(rates[threads]))
    return found


def ceiling(rounds: int) -> float:
    """How many times the work of one process two get done that do the same on one thread each, and share nothing."""
    (name, _), *_ = SHAPES.items()
    alone = measure(1, rounds)[name][0]
    other = subprocess.Popen([sys.executable, __file__, "--endless"], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()  # it computes from now on
        return 2 * measure(1, rounds)[name][0] / alone
    finally:
        other.kill()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--endless", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.endless:
        print("ready", flush=True)
        measure(1, sys.maxsize)
    other = subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) if asked.busy else None
    try:
        for name, (one, several) in measure(asked.threads, asked.rounds).items():
            ratio = several / one
            print(f"{name:16} 1 thread {one:6.0f} pairs/s  {asked.threads} threads {several:6.0f}  ratio {ratio:.2f}")
        print(f"two processes do {ceiling(asked.rounds):.2f} times the work of one")
    finally:
        if other:
            other.kill()


if __name__ == "__main__":
    main()
