"""Step 7, card: fill the measured figures into card.md and write the package's MODEL_CARD.md.

    python training/card.py SYSTEM FOLDER   # the name as evaluated; FOLDER has calibration.json

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
from evaluate import cases, compare, groups, measure

TARGET = common.HERE.parent / "rerank_cli" / "builtin" / "MODEL_CARD.md"
BASELINES = {"bm25": "BM25", "minilm": "all-MiniLM-L6-v2", "mpnet": "all-mpnet-base-v2"}
PAIRED = ("duplicates", "differences", "traps", "long")
# Kind of case -> the right document, and the wrong ones beside it.
CASES = {
    "exact": "the query's own text, among texts on related subjects",
    "paraphrase": "a paraphrase of the query, among texts on related subjects",
    "entity": "the answer, and the same text with another name",
    "exchange": "the answer, and the same text with two names exchanged",
    "number": "the answer, and the same text with another number",
    "negation": "the answer, and the same text with a negation added or removed",
    "soup": "the answer, and the words of the query in random order",
    "punctuation": "the answer, and punctuation only",
    "empty": "the answer, and an empty text",
    "topic": "the answer, and a text on the same subject without the answer",
    "long": "the answer within a document of 4,000 tokens, among nine such documents without it",
}


def is_measured(system: str, half: str, config: dict[str, Any]) -> bool:
    """Whether runs/scores has the scores of a system on every set of a half."""
    path = systems.store_of(system, config)
    known = json.loads(path.read_text()) if path.exists() else {}
    return all(len(known.get(k, [])) >= len(v) for k, v in systems.load_sets(half, config).items())


def table(half: str, system: str, config: dict[str, Any]) -> str:
    """nDCG@10 by kind of use (or set) and system, the mean with its interval, and how far the model is ahead."""
    baselines = {s: name for s, name in BASELINES.items() if is_measured(s, half, config)}
    measured = {s: measure(s, [half], config) for s in (system, *baselines)}
    figures = {s: groups(found, half, config) for s, found in measured.items()}
    lines = [f"| | queries | this model | {' | '.join(baselines.values())} |", "|---" * (3 + len(baselines)) + "|"]
    for name, values in figures[system].items():
        lines.append(f"| {name} | {len(values)} | {' | '.join(f'{np.mean(f[name]):.4f}' for f in figures.values())} |")
    means = [metrics.macro_interval(list(f.values())) for f in figures.values()]
    cells = " | ".join(f"{m:.4f} [{low:.4f}, {high:.4f}]" for m, low, high in means)
    lines.append(f"| **mean** | {sum(map(len, figures[system].values()))} | {cells} |")
    lines.append("")
    for other, name in baselines.items():
        mean, low, high = compare(measured[system], measured[other], half, config)
        lines.append(f"Against {name}: {mean:+.4f} [{low:+.4f}, {high:+.4f}], paired, 95 %.  ")
    return "\n".join(lines)


def won(system: str, config: dict[str, Any]) -> str:
    """One row per kind of case that was measured: where the right document is."""
    lines = [
        "| right document, and wrong ones | cases | first | first or second | not above a wrong one |",
        "|---|" + "---:|" * 4,
    ]
    for kind in PAIRED:
        if is_measured(system, kind, config):
            found = cases(system, kind, config).items()
            lines += [f"| {CASES[k]} | {n} | {a} | {b} | {c} |" for k, (a, b, c, n) in found]
    return "\n".join(lines)


def calibration(folder: Path) -> str:
    """ECE and AUC by kind of use, the mean score of relevant documents, and the reliability curve."""
    report = json.loads((folder / "calibration.json").read_text())
    lines = ["| pairs | n | ECE | AUC | mean score of the relevant |", "|---|---|---|---|---|"]
    for kind, row in report["after"].items():
        lines.append(f"| {kind} | {row['pairs']} | {row['ece']:.3f} | {row['auc']:.3f} | {row['relevant']:.2f} |")
    lines += ["", "| mean score | share relevant | pairs |", "|---|---|---|"]
    lines += [f"| {mean:.2f} | {share:.2f} | {n} |" for mean, share, n in report["after"]["all"]["curve"]]
    return "\n".join(lines)


def main(system: str, folder: Path) -> None:
    """Write the card."""
    config = common.settings()
    report = json.loads((folder / "calibration.json").read_text())
    filled = Template((common.HERE / "card.md").read_text()).substitute(
        given=table("given", system, config),
        test=table("test", system, config),
        cases=won(system, config),
        calibration=calibration(folder),
        share=report["system"].partition("@")[2].partition("/")[0] or "1.0",
        window=json.loads((folder / "config.json").read_text())["window"],
    )
    TARGET.write_text(filled)
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
