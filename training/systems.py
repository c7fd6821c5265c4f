"""What a system name stands for, and its scores over development sets, stored so that a comparison costs nothing.

Names: `bm25`, `minilm` and `mpnet` (bi-encoders), `package` (the installed package's built-in model: 8-bit on ONNX
Runtime; `package:MODEL` for another), or a name of weights.py, and then `/W` sets the window of inference. `NAME+mpnet`
is the teacher made of that system.
It knows nothing of measures or training.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import common
import numpy as np
import weights
from encoders import NAMES, BiEncoder

PAIRED = {"long", "traps", "duplicates", "differences"}  # sets of one file, where what counts is which cases are won
Records = list[dict[str, Any]]
Scores = list[list[float]]
Scoring = Callable[[Records], Scores]


def load_sets(kind: str, config: dict[str, Any], limit: int = 0) -> dict[str, Records]:
    """The sets of a kind (`given`, `dev`, `test`, or one of PAIRED), named `kind/source`."""
    runs = Path(config["runs"]) / "sets"
    if kind in PAIRED:
        paths = [runs / f"{kind}.jsonl.gz"]
    else:
        paths = sorted((Path(config["data"]) / "dev" if kind == "given" else runs / kind).glob("*.jsonl.gz"))
    return {f"{kind}/{p.name.split('.')[0]}": list(common.read(p))[: limit or None] for p in paths}


def scorer(system: str, config: dict[str, Any]) -> common.Scorer:
    """A cross-encoder system ready to score."""
    name, _, window = system.rpartition("/") if re.search(r"/\d+$", system) else (system, "", config["window"])
    where = common.device(config)
    return common.Scorer(weights.named(name, config), common.tokenizer(), int(window), where, config["threads"])


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
    """Cosines at the encoder's own limit of tokens."""
    texts = list(dict.fromkeys(d for r in records for d in r["documents"]))
    place, vectors = {t: i for i, t in enumerate(texts)}, encoder.embed(texts)
    queries = encoder.embed([r["query"] for r in records])
    return [[float(vectors[place[d]] @ queries[i]) for d in r["documents"]] for i, r in enumerate(records)]


def both_scores(records: Records, config: dict[str, Any], name: str) -> Scores:
    """The teacher: a system's logit plus the cosine of all-mpnet-base-v2 times the factor of the student's stage."""
    factor = config["stages"]["student"]["cosine"]
    first, second = scoring(name, config)(records), scoring("mpnet", config)(records)
    rows = zip(first, second, strict=True)
    return [[a + factor * b for a, b in zip(*row, strict=True)] for row in rows]


def store_of(system: str, config: dict[str, Any]) -> Path:
    """Where a system's scores are kept; the package's built-in model by its files, which an export changes."""
    name = re.sub(r"[^\w@:.*-]", "_", system)
    if system == "package":
        digests = (common.HERE.parent / "rerank_cli/builtin/digests.json").read_bytes()
        name += "-" + hashlib.sha256(digests).hexdigest()[:8]
    return Path(config["runs"]) / "scores" / f"{name}.json"


def package_scores(records: Records, model: str) -> Scores:
    """Logits through the package's public API, as a user gets them; an empty document has none and comes last."""
    from rerank_cli import Reranker

    with Reranker(model) as reranker:
        found = [reranker.score(r["query"], r["documents"]) for r in records]
    return [[-1e9 if np.isnan(s) else float(s) for s in scores] for scores in found]


def scoring(system: str, config: dict[str, Any]) -> Scoring:
    """The function that scores records by this system, its model loaded."""
    if system in NAMES:
        encoder = BiEncoder(system, config)
        return lambda records: biencoder_scores(records, encoder)
    if system.endswith("+mpnet"):
        return lambda records: both_scores(records, config, system.removesuffix("+mpnet"))
    if system.startswith("package"):
        return lambda records: package_scores(records, system.partition(":")[2] or "builtin")
    opened = scorer(system, config)
    return lambda records: opened.score([(r["query"], r["documents"]) for r in records])


def stored_scores(system: str, sets: dict[str, Records], config: dict[str, Any]) -> dict[str, Scores]:
    """Scores of every set; those of runs/scores are read back, the others measured and added there."""
    store = store_of(system, config)
    known: dict[str, Scores] = json.loads(store.read_text()) if store.exists() else {}
    wanted = {k: v for k, v in sets.items() if len(known.get(k, [])) < len(v)}
    flat = [r for records in wanted.values() for r in records]
    if system == "bm25":  # its statistics are those of a set
        known |= {k: bm25_scores(v) for k, v in wanted.items()}
    elif flat:
        found = scoring(system, config)(flat)
        for name, records in wanted.items():
            known[name], found = found[: len(records)], found[len(records) :]
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps(known))
    return {name: known[name][: len(records)] for name, records in sets.items()}
