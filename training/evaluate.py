"""Step 4, evaluate: systems on development sets; nDCG@10, each paired with the last system named.

    python training/evaluate.py main main@0.8 start bm25 biencoder --sets given dev

Systems are named as in systems.py, sets are `given`, `dev`, `test`, `long`, `traps`. It prints and stores nothing else.
"""

from __future__ import annotations

import argparse
from typing import Any

import common
import metrics
import numpy as np
import systems

Figures = dict[str, list[float]]


def measure(system: str, kinds: list[str], config: dict[str, Any], limit: int = 0) -> Figures:
    """nDCG@10 of each query of each set; for one relevant document of two it is 1 exactly where the case is won."""
    sets = {name: records for kind in kinds for name, records in systems.load_sets(kind, config, limit).items()}
    scores = systems.stored_scores(system, sets, config)
    return {name: metrics.ndcg10([r["relevance"] for r in records], scores[name]) for name, records in sets.items()}


def summary(figures: Figures, kind: str) -> str:
    """One line of means; for traps and long documents the share of cases won."""
    chosen = {k.split("/")[1]: v for k, v in figures.items() if k.startswith(f"{kind}/")}
    if kind in {"long", "traps"}:
        return "; ".join(f"{k}: won {np.mean([x == 1 for x in v]):.3f} of {len(v)}" for k, v in chosen.items())
    mean, low, high = metrics.macro_interval(list(chosen.values()))
    each = " ".join(f"{k} {np.mean(v):.4f}" for k, v in chosen.items())
    return f"{kind}: mean {mean:.4f} [{low:.4f}, {high:.4f}]  {each}"


def compare(first: Figures, second: Figures, kind: str) -> tuple[float, float, float]:
    """Paired macro-averaged difference first − second on the sets of a kind, with its interval."""
    names = [k for k in first if k.startswith(f"{kind}/") and k in second]
    return metrics.macro_interval([np.subtract(first[k], second[k]).tolist() for k in names])


def main() -> None:
    """Measure the named systems and print them."""
    parser = argparse.ArgumentParser(description="nDCG@10 of systems on development sets.")
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--sets", nargs="+", default=["given"])
    parser.add_argument("--limit", type=int, default=0, help="records of each set")
    arguments = parser.parse_args()
    config, last = common.settings(), arguments.systems[-1]
    baseline = measure(last, arguments.sets, config, arguments.limit)
    for system in arguments.systems:
        figures = measure(system, arguments.sets, config, arguments.limit)
        for kind in arguments.sets:
            print(f"{system:24} {summary(figures, kind)}", flush=True)
            if system != last:
                print("{:24} {:+.4f} [{:+.4f}, {:+.4f}] against {}".format("", *compare(figures, baseline, kind), last))


if __name__ == "__main__":
    main()
