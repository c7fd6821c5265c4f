"""Step 5, publish: calibrate the chosen weights and write the checkpoint folder that export.py reads.

    python training/publish.py student@0.9 FOLDER      # config.json, model.safetensors (fp16), tokenizer.json, vocab

Temperature a and bias b are fitted by logistic regression on held-out `dev` queries, as many of each kind of use,
1 relevant : 3 hard : 6 random documents, and folded into scale, bias and the MLP's last layer. The reliability figures
come from the `test` half. Hard candidates that mining would take for unlabelled positives (`mining.ceiling`) are left
out of both, but for sources whose own negatives are all there is. Ranking is unchanged.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import common
import numpy as np
import systems
import torch
from safetensors.torch import save_file

HARD, RANDOM, BINS = 3, 6, 10


class Scored(NamedTuple):
    """Logits and labels pooled over queries, with the kind of use of each pair."""

    logits: np.ndarray
    labels: np.ndarray
    kinds: np.ndarray


def by_kind(half: str, queries: int, config: dict[str, Any]) -> dict[str, systems.Records]:
    """About as many held-out queries of each kind of use, from all of its sources."""
    sets = systems.load_sets(half, config)
    return {
        kind: [r | {"source": s} for s in sources for r in sets[f"{half}/{s}"][: -(-queries // len(sources))]]
        for kind, sources in config["kinds"].items()
    }


def calibration_set(sets: dict[str, systems.Records], config: dict[str, Any]) -> systems.Records:
    """One relevant document, three hard candidates and six documents of other queries, of any kind, for each query."""
    rng, made = random.Random(config["train"]["seed"]), []
    records = [r | {"use": kind} for kind, rows in sets.items() for r in rows]
    pool = [(r["query"], r["documents"][0]) for r in records]
    for record, known in zip(records, systems.scoring("minilm", config)(records), strict=True):
        rows = list(zip(record["documents"], record["relevance"], known, strict=True))
        closed = record["source"] in config["closed"]["sources"]
        ceiling = np.inf if closed else config["mining"]["ceiling"] * max(c for _, r, c in rows if r)
        hard = [d for d, r, c in rows if not r and c < ceiling]
        others = [d for query, d in rng.sample(pool, RANDOM + 1) if query != record["query"]]
        documents = [next(d for d, r, _ in rows if r), *rng.sample(hard, min(HARD, len(hard))), *others[:RANDOM]]
        relevance = [1] + [0] * (len(documents) - 1)
        made.append({"query": record["query"], "documents": documents, "relevance": relevance, "use": record["use"]})
    return made


def pooled(records: systems.Records, scores: systems.Scores) -> Scored:
    """All pairs of all queries in one row."""
    kinds = [r["use"] for r in records for _ in r["documents"]]
    labels = [x for r in records for x in r["relevance"]]
    return Scored(np.array([x for s in scores for x in s]), np.array(labels, float), np.array(kinds))


def fit(found: Scored, steps: int = 50) -> tuple[float, float]:
    """Temperature a and bias b of sigmoid(a · logit + b), by Newton's method."""
    x = np.stack([found.logits, np.ones_like(found.logits)], 1)
    theta = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ theta))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        theta -= np.linalg.solve(hessian, x.T @ (p - found.labels))
    return float(theta[0]), float(theta[1])


def auc(logits: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve, pooled over queries: are scores comparable between queries?"""
    ranks = logits.argsort().argsort() + 1
    positives = labels.sum()
    below = ranks[labels == 1].sum() - positives * (positives + 1) / 2
    return float(below / positives / (len(labels) - positives))


def reliability(found: Scored) -> dict[str, Any]:
    """ECE over ten equal bins, the curve (mean score, share right, pairs), and pooled AUC."""
    p = 1 / (1 + np.exp(-found.logits))
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    curve = [
        (float(p[bins == b].mean()), float(found.labels[bins == b].mean()), int((bins == b).sum()))
        for b in range(BINS)
        if (bins == b).any()
    ]
    ece = sum(abs(mean - share) * n for mean, share, n in curve) / len(p)
    return {"pairs": len(p), "ece": round(ece, 4), "auc": round(auc(found.logits, found.labels), 4), "curve": curve}


def reliabilities(found: Scored) -> dict[str, dict[str, Any]]:
    """Reliability of all pairs and of each kind of use, with the mean score of its relevant documents."""
    groups = {"all": np.ones(len(found.kinds), bool)} | {k: found.kinds == k for k in dict.fromkeys(found.kinds)}
    report = {}
    for name, chosen in groups.items():
        part = Scored(*(column[chosen] for column in found))
        scores = 1 / (1 + np.exp(-part.logits))
        report[str(name)] = reliability(part) | {"relevant": round(float(scores[part.labels == 1].mean()), 4)}
    return report


def fold(model: torch.nn.Module, a: float, b: float) -> None:
    """Scale the logit by a and shift it by b inside the weights."""
    with torch.no_grad():
        model.scale *= a
        model.bias.copy_(model.bias * a + b)
        model.mlp[2].weight *= a
        model.mlp[2].bias *= a


def write_folder(model: torch.nn.Module, window: int, folder: Path) -> None:
    """The checkpoint in the form of the first one: fp16 weights under the same names, the window in config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        k: v.half().contiguous()
        for k, v in model.state_dict().items()
        if not k.endswith(("position_ids", "token_type_ids"))
    }
    save_file(state, folder / "model.safetensors")
    start = common.start_folder()
    config = json.loads((start / "config.json").read_text()) | {"window": window}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in ("tokenizer.json", "vocab.txt"):
        shutil.copy(start / name, folder / name)


def main() -> None:
    """Fit on `dev`, report on `test`, fold, write."""
    parser = argparse.ArgumentParser(description="Calibrate and write a checkpoint folder.")
    parser.add_argument("system")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=48, help="of each kind of use")
    arguments = parser.parse_args()
    config = common.settings()
    scorer = systems.scorer(arguments.system, config)

    def scored(half: str) -> Scored:
        records = calibration_set(by_kind(half, arguments.queries, config), config)
        return pooled(records, scorer.score([(r["query"], r["documents"]) for r in records]))

    a, b = fit(scored("dev"))
    before = scored("test")
    after = before._replace(logits=a * before.logits + b)
    fold(scorer.model, a, b)
    write_folder(scorer.model, scorer.window, arguments.folder)
    report = {"a": a, "b": b, "system": arguments.system, "before": reliability(before), "after": reliabilities(after)}
    (arguments.folder / "calibration.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "after"} | {"after": report["after"]["all"]}, indent=1))


if __name__ == "__main__":
    main()
