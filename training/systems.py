"""What a system name stands for, and its scores over development sets, stored so that a comparison costs nothing.

Names: `bm25`, `biencoder`, `start` (untrained), a checkpoint folder, or RUN[:last] for the averaged (or last) weights
of runs/RUN/state.pt; `A+B` averages runs; then `@A` mixes the encoder with the untrained one at A, and `/W` sets the
window of inference.
It knows nothing of measures or training.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import bm25s
import common
import model as architecture
import numpy as np
import torch
from mine import BiEncoder
from train import untrained

Records = list[dict[str, Any]]
Scores = list[list[float]]


def load_sets(kind: str, config: dict[str, Any], limit: int = 0) -> dict[str, Records]:
    """The sets of a kind (`given`, `dev`, `test`, `long`, `traps`), named `kind/source`."""
    runs = Path(config["runs"]) / "sets"
    if kind in {"long", "traps"}:
        paths = [runs / f"{kind}.jsonl.gz"]
    else:
        paths = sorted((Path(config["data"]) / "dev" if kind == "given" else runs / kind).glob("*.jsonl.gz"))
    return {f"{kind}/{p.name.split('.')[0]}": list(common.read(p))[: limit or None] for p in paths}


def weights(name: str, config: dict[str, Any]) -> architecture.CrossEncoder:
    """The module a system name (without its window) stands for; `A+B` is the mean of two runs' weights."""
    name, _, share = name.partition("@")
    states = [_state(part, config) for part in name.split("+")]
    model = untrained()
    model.load_state_dict({k: sum(s[k] for s in states) / len(states) for k in states[0]})
    if share:
        mix(model, float(share))
    return model.eval()


def _state(name: str, config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of one run, checkpoint folder or the start."""
    run, _, form = name.partition(":")
    path = Path(config["runs"]) / run / "state.pt"
    if path.exists():
        found = torch.load(path, map_location="cpu", weights_only=True)
        return found["model"] | ({} if form == "last" else found["ema"])
    return untrained().state_dict() if name == "start" else architecture.load(Path(name)).state_dict()


def mix(model: architecture.CrossEncoder, share: float) -> None:
    """Move the encoder back towards the untrained one: the start ranks, so this guards what training has not seen."""
    first = untrained().state_dict()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith("enc.") and value.is_floating_point():
                value.copy_(share * value + (1 - share) * first[name])


def scorer(system: str, config: dict[str, Any]) -> common.Scorer:
    """A cross-encoder system ready to score."""
    name, _, window = system.rpartition("/") if re.search(r"/\d+$", system) else (system, "", config["window"])
    where = common.device(config)
    return common.Scorer(weights(name, config), common.tokenizer(), int(window), where, config["threads"])


def bm25_scores(records: Records) -> Scores:
    """BM25 with the statistics of the set's own documents."""
    texts = list(dict.fromkeys(d for r in records for d in r["documents"]))
    place = {text: i for i, text in enumerate(texts)}
    index = bm25s.BM25()
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    result = []
    for record in records:
        tokens = bm25s.tokenize([record["query"]], stopwords="en", show_progress=False, return_ids=False)[0]
        scores = index.get_scores(tokens) if tokens else np.zeros(len(texts))
        result.append([float(scores[place[d]]) for d in record["documents"]])
    return result


def biencoder_scores(records: Records, encoder: BiEncoder) -> Scores:
    """Cosines of all-MiniLM-L6-v2 at its own 256 tokens."""
    texts = list(dict.fromkeys(d for r in records for d in r["documents"]))
    place, vectors = {t: i for i, t in enumerate(texts)}, encoder.embed(texts)
    queries = encoder.embed([r["query"] for r in records])
    return [[float(vectors[place[d]] @ queries[i]) for d in r["documents"]] for i, r in enumerate(records)]


def stored_scores(system: str, sets: dict[str, Records], config: dict[str, Any]) -> dict[str, Scores]:
    """Scores of every set; those of runs/scores are read back, the others measured and added there."""
    store = Path(config["runs"]) / "scores" / (re.sub(r"[^\w@:.-]", "_", system) + ".json")
    known: dict[str, Scores] = json.loads(store.read_text()) if store.exists() else {}
    wanted = {k: v for k, v in sets.items() if len(known.get(k, [])) < len(v)}
    flat = [r for records in wanted.values() for r in records]
    if system == "bm25":
        known |= {k: bm25_scores(v) for k, v in wanted.items()}
    elif flat:
        if system == "biencoder":
            found = biencoder_scores(flat, BiEncoder(config))
        else:
            found = scorer(system, config).score([(r["query"], r["documents"]) for r in flat])
        for name, records in wanted.items():
            known[name], found = found[: len(records)], found[len(records) :]
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps(known))
    return {name: known[name][: len(records)] for name, records in sets.items()}
