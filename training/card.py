"""Step 7, card: fill the measured figures into card.md and write the package's MODEL_CARD.md.

    python training/card.py SYSTEM FOLDER [LIMIT]   # the name as evaluated; FOLDER has calibration.json

Only scores already in runs/scores are read: what was not measured is said to be missing, never made up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from string import Template
from typing import Any

import common
import metrics
import numpy as np
import systems
from evaluate import measure, summary

TARGET = common.HERE.parent / "rerank_cli" / "builtin" / "MODEL_CARD.md"
BASELINES = ("bm25", "biencoder")
NAMES = {"bm25": "BM25", "biencoder": "all-MiniLM-L6-v2, bi-encoder"}


def table(kind: str, system: str, config: dict[str, Any], limit: int = 0) -> str:
    """nDCG@10 a set and system, the macro average with its interval, and how far the model is ahead."""
    figures = {s: measure(s, [kind], config, limit) for s in (system, *BASELINES)}
    sets = list(figures[system])
    lines = ["| set | queries | this model | BM25 | bi-encoder |", "|---|---|---|---|---|"]
    for name in sets:
        cells = " | ".join(f"{np.mean(figures[s][name]):.4f}" for s in figures)
        lines.append(f"| {name.split('/')[1]} | {len(figures[system][name])} | {cells} |")
    means = [metrics.macro_interval([f[n] for n in sets]) for f in figures.values()]
    cells = " | ".join(f"{m:.4f} [{low:.4f}, {high:.4f}]" for m, low, high in means)
    lines.append(f"| **mean** | {sum(len(figures[system][n]) for n in sets)} | {cells} |")
    for other in BASELINES:
        groups = [np.subtract(figures[system][n], figures[other][n]).tolist() for n in sets]
        mean, low, high = metrics.macro_interval(groups)
        lines.append(f"\nAhead of {NAMES[other]} by {mean:+.4f} [{low:+.4f}, {high:+.4f}], paired, 95 %.")
    return "\n".join(lines)


def won(kind: str, system: str, config: dict[str, Any]) -> str:
    """Share of traps or long documents won, as far as they were measured."""
    path = systems.store_of(system, config)
    known = json.loads(path.read_text()) if path.exists() else {}
    count = len(known.get(f"{kind}/{kind}", []))
    if not count:
        return "not measured"
    figures = measure(system, [kind], config, count)[f"{kind}/{kind}"]
    if kind == "long":
        return summary({"long/long": figures}, kind)
    records = systems.load_sets(kind, config, count)[f"{kind}/{kind}"]
    kinds = dict.fromkeys(r["id"].split("-")[0] for r in records)
    parts = {k: [x == 1 for r, x in zip(records, figures, strict=True) if r["id"].startswith(k)] for k in kinds}
    return ", ".join(f"{k} {sum(v)} of {len(v)}" for k, v in parts.items())


def calibration(folder: Path) -> str:
    """ECE and AUC before and after, by query length, and the reliability curve."""
    report = json.loads((folder / "calibration.json").read_text())
    rows = {"before, all": report["before"]} | {f"after, {k}": v for k, v in report["after"].items()}
    lines = ["| pairs | n | ECE | AUC |", "|---|---|---|---|"]
    lines += [f"| {k} | {v['pairs']} | {v['ece']:.3f} | {v['auc']:.3f} |" for k, v in rows.items()]
    lines += ["", "| mean score | share relevant | pairs |", "|---|---|---|"]
    lines += [f"| {mean:.2f} | {share:.2f} | {n} |" for mean, share, n in report["after"]["all"]["curve"]]
    return "\n".join(lines)


def main(system: str, folder: Path, limit: int) -> None:
    """Write the card; `limit` test queries of each source were measured (0: all)."""
    config = common.settings()
    filled = Template((common.HERE / "card.md").read_text()).substitute(
        given=table("given", system, config),
        test=table("test", system, config, limit),
        traps=won("traps", system, config),
        long=won("long", system, config),
        calibration=calibration(folder),
        window=json.loads((folder / "config.json").read_text())["window"],
    )
    TARGET.write_text(filled)
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
