"""Step 4, evaluate: systems on development sets; nDCG@10, each paired with the last system named.

    python training/evaluate.py student student@0.9 bm25 mpnet minilm --sets given dev duplicates

Systems are named as in systems.py, sets are `given`, `dev`, `test`, `long`, `traps`, `duplicates`, `differences`.
Means are over kinds of use. It prints and stores nothing else.
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


def groups(figures: Figures, half: str, config: dict[str, Any]) -> Figures:
    """The figures of a half by kind of use (config.toml), each the queries of its sources; of other sets by set."""
    chosen = {k.split("/")[1]: v for k, v in figures.items() if k.startswith(f"{half}/")}
    kinds = {kind: [s for s in sources if s in chosen] for kind, sources in config["kinds"].items()}
    merged = {kind: [x for s in sources for x in chosen.pop(s)] for kind, sources in kinds.items() if sources}
    return merged | chosen


def summary(figures: Figures, half: str, config: dict[str, Any]) -> str:
    """One line: the mean over kinds of use (or sets) with its interval, then each kind."""
    chosen = groups(figures, half, config)
    mean, low, high = metrics.macro_interval(list(chosen.values()))
    each = " ".join(f"{k} {np.mean(v):.4f}" for k, v in chosen.items())
    return f"{half}: mean {mean:.4f} [{low:.4f}, {high:.4f}]  {each}"


def cases(system: str, kind: str, config: dict[str, Any], limit: int = 0) -> dict[str, list[int]]:
    """By kind of case: the best document first, among the first two, not above a wrong one; and the number of cases."""
    sets = systems.load_sets(kind, config, limit)
    ((name, records),) = sets.items()
    won: dict[str, list[int]] = {}
    for record, scores in zip(records, systems.stored_scores(system, sets, config)[name], strict=True):
        best = record["relevance"].index(max(record["relevance"]))
        rank = sum(s >= scores[best] for i, s in enumerate(scores) if i != best)
        low = max((s for s, r in zip(scores, record["relevance"], strict=True) if r == 0), default=-np.inf)
        counts = won.setdefault(record["id"].split("-")[0] if kind != "long" else kind, [0, 0, 0, 0])
        counts[:] = [a + b for a, b in zip(counts, (rank == 0, rank < 2, scores[best] <= low, 1), strict=True)]
    return won


def compare(first: Figures, second: Figures, half: str, config: dict[str, Any]) -> tuple[float, float, float]:
    """Paired difference first − second, averaged over kinds of use (or sets), with its interval."""
    names = [k for k in first if k.startswith(f"{half}/") and k in second]
    differences = {k: np.subtract(first[k], second[k]).tolist() for k in names}
    return metrics.macro_interval(list(groups(differences, half, config).values()))


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
            if kind in systems.PAIRED:
                found = cases(system, kind, config, arguments.limit).items()
                won = (f"{k} first {a}, in two {b}, below a wrong one {c}, of {n}" for k, (a, b, c, n) in found)
                print(f"{system:24} {kind}: {'; '.join(won)}", flush=True)
                continue
            print(f"{system:24} {summary(figures, kind, config)}", flush=True)
            if system != last:
                print(
                    "{:24} {:+.4f} [{:+.4f}, {:+.4f}] against {}".format(
                        "", *compare(figures, baseline, kind, config), last
                    )
                )


if __name__ == "__main__":
    main()
