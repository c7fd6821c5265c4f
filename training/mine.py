"""Step 2, mine: for every training query a positive passage and hard negatives, with the teacher's cosines.

    python training/mine.py [SOURCE …]    # reads runs/prepared, writes runs/lists/SOURCE.jsonl, skipping what is there

all-mpnet-base-v2 finds negatives, and its cosines are the half of the teacher that reads one text at a time; BM25 finds
others, so that its mistakes are not the only lesson. A source's own negatives come first; where other texts of a source
may say the same thing (`closed`), they and random ones are all. It knows nothing of augmentation, which happens in
training, nor of held-out sets (heldout.py).
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bm25s
import common
import numpy as np
from encoders import BiEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

RELIABLE = {"squad", "squad_sentences"}
NEIGHBOURS = 40  # rows of squad_sentences that stand on the same page
QUERY_TOKENS = 64
CLOSED_SHARE = 0.8  # of a closed source's random texts, those that are nowhere near the query


class Bm25:
    """bm25s over passages; stop words stay, since questions live on them less than their rarity says."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.index = bm25s.BM25()
        self.index.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)
        self.size = len(texts)

    def best(self, queries: Sequence[str], depth: int) -> np.ndarray:
        """Positions [queries, depth] of the best passages, best first."""
        tokens = bm25s.tokenize(list(queries), stopwords="en", show_progress=False, return_ids=False)
        known = self.index.vocab_dict
        tokens = [[word for word in t if word in known] or [next(iter(known))] for t in tokens]
        return self.index.retrieve(
            tokens, k=min(depth, self.size), show_progress=False, return_as="documents", backend_selection="numpy"
        )


def overlapping(asked: Sequence[str], documents: Sequence[Sequence[str]], count: int) -> list[list[str]]:
    """Of each document's passages the `count` that share the rarest words with its question."""
    words = [[set(re.findall(r"\w+", p.lower())) for p in passages] for passages in documents]
    frequency = Counter(w for sets in words for s in sets for w in s)
    kept = []
    for query, passages, sets in zip(asked, documents, words, strict=True):
        wanted = set(re.findall(r"\w+", query.lower()))
        weight = [sum(1 / frequency[w] ** 0.5 for w in s & wanted) for s in sets]
        kept.append([passages[i] for i in sorted(range(len(sets)), key=lambda i: -weight[i])[:count]])
    return kept


class Pool:
    """The passages of a source, each once, and the queries' cosines with them.

    `own` and `given` hold, for each record, the positions of its answer's passages and of its own negatives.
    """

    def __init__(self, records: Sequence[dict[str, Any]], mining: dict[str, Any], encoder: BiEncoder) -> None:
        self.queries = [r["query"] for r in records]
        answers = overlapping(self.queries, [r["passages"] for r in records], mining["embedded"])
        flat = [(r["query"], passages) for r in records for passages in r["negatives"] if passages]
        cut = iter(overlapping([q for q, _ in flat], [p for _, p in flat], 1))
        given = [[next(cut)[0] for passages in r["negatives"] if passages] for r in records]
        self.texts = list(dict.fromkeys(p for own in (*answers, *given) for p in own))
        place = {text: i for i, text in enumerate(self.texts)}
        self.own = [[place[p] for p in own] for own in answers]
        self.given = [[place[p] for p in own] for own in given]
        self.rows: dict[int, list[int]] = {}  # positions of the texts of each row
        for r, own in zip(records, self.own, strict=True):
            self.rows.setdefault(r["row"], []).extend(own)
        vectors = encoder.embed(self.texts, mining["tokens"])
        self.cosines = encoder.embed(self.queries, QUERY_TOKENS) @ vectors.T  # [queries, texts]


class Taken:
    """The negatives of one list: each text once, none of the query's own passages."""

    def __init__(self, record: dict[str, Any], texts: Sequence[str], cosines: np.ndarray) -> None:
        self.texts, self.cosines = texts, cosines
        self.banned = set(record["passages"])
        self.negatives: list[dict[str, Any]] = []

    def add(self, kind: str, candidates: Sequence[int], count: int, ceiling: float = np.inf) -> None:
        """Add up to `count` candidates below the ceiling, above which a text is taken for an unlabelled positive."""
        for p in candidates:
            if count and self.texts[p] not in self.banned and self.cosines[p] < ceiling:
                self.banned.add(self.texts[p])
                cosine = round(float(self.cosines[p]), 4)
                self.negatives.append({"text": self.texts[p], "kind": kind, "cos": cosine})
                count -= 1


def choose(record: dict[str, Any], i: int, pool: Pool, bm25: np.ndarray | None, config: dict[str, Any]) -> Taken:
    """The negatives of list i; `bm25` holds what BM25 found, None where only the source's own negatives are safe."""
    mining, rng = config["mining"], random.Random(f"{config['seed']} {record['source']} {i}")
    cosines = pool.cosines[i]
    best = max(cosines[p] for p in pool.own[i])
    ceiling = float(best * mining["ceiling_reliable" if record["source"] in RELIABLE else "ceiling"])
    taken = Taken(record, pool.texts, cosines)
    taken.add("own", rng.sample(pool.given[i], len(pool.given[i])), mining["own"])
    everything = rng.sample(range(len(pool.texts)), min(len(pool.texts), 8 * mining["random"]))
    if bm25 is not None:
        near = np.argpartition(-cosines, min(mining["depth"], len(cosines) - 1))[: mining["depth"]]
        dense = near[np.argsort(-cosines[near], kind="stable")].tolist()
        taken.add("dense", dense[:12], (mining["dense"] + 1) // 2, ceiling)
        taken.add("bm25", bm25[i].tolist(), mining["bm25"], ceiling)
        taken.add("dense", rng.sample(dense[12:], len(dense[12:])), mining["dense"] // 2, ceiling)
    if record["source"] == "squad_sentences":
        near_rows = (record["row"] + d for d in range(-NEIGHBOURS, NEIGHBOURS + 1) if d)
        page = [p for row in near_rows for p in pool.rows.get(row, [])]
        taken.add("page", rng.sample(page, min(len(page), 6)), 2, ceiling)
    closed = bm25 is None
    wanted = (
        mining["random"] + (config["train"]["documents"] if closed else 0) - (len(taken.negatives) if closed else 0)
    )
    taken.add("random", everything, max(wanted, 2), ceiling * CLOSED_SHARE if closed else ceiling)
    return taken


def mine(source: str, config: dict[str, Any], encoder: BiEncoder) -> None:
    """Write one source's lists."""
    runs = Path(config["runs"])
    target = runs / "lists" / f"{source}.jsonl"
    if target.exists():
        return
    records = [r | {"source": source} for r in common.read(runs / "prepared" / f"{source}.jsonl")]
    pool = Pool(records, config["mining"], encoder)
    closed = source in config["closed"]["sources"]
    bm25 = None if closed else Bm25(pool.texts).best(pool.queries, config["mining"]["depth"])
    lists = []
    for i, record in enumerate(records):
        taken = choose(record, i, pool, bm25, config)
        known = {pool.texts[p]: round(float(taken.cosines[p]), 4) for p in pool.own[i]}
        best = record["passages"].index(max(known, key=known.__getitem__))
        positives = [{"text": text, "cos": known.get(text)} for text in record["passages"]]
        lists.append({"source": source, "query": record["query"], "positives": positives, "best": best})
        lists[-1]["negatives"] = taken.negatives
    common.write(target, lists)
    beaten = np.mean([any(n["cos"] > x["positives"][x["best"]]["cos"] for n in x["negatives"]) for x in lists])
    print(f"{source}: {len(lists)} lists, {len(pool.texts)} passages, {beaten:.2f} beaten", flush=True)


if __name__ == "__main__":
    settings = common.settings()
    miner = BiEncoder("mpnet", settings)
    for source_name in sys.argv[1:] or settings["sources"]:
        mine(source_name, settings, miner)
