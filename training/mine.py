"""Step 2, mine: for every training query a positive passage and hard negatives, with the bi-encoder's cosines cached.

    python training/mine.py               # reads runs/prepared, writes runs/lists/SOURCE.jsonl, skipping what is there

The bi-encoder finds negatives and its cosines serve the KL term; BM25 finds others, so that its mistakes are not the
only lesson. It knows nothing of augmentation, which happens in training, nor of held-out sets (heldout.py).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bm25s
import common
import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import BertModel

if TYPE_CHECKING:
    from collections.abc import Sequence

RELIABLE = {"squad", "squad_sentences"}
NEIGHBOURS = 40  # rows of squad_sentences that stand on the same page


class BiEncoder:
    """all-MiniLM-L6-v2 with mean pooling: the teacher, the miner and the baseline."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.where = common.device(config)
        self.tokens = common.tokenizer()
        self.model = BertModel.from_pretrained(
            common.start_folder(), add_pooling_layer=False, attn_implementation="eager"
        )
        self.model = self.model.to(self.where).eval()
        self.threads = config["threads"]

    def embed(self, texts: Sequence[str], limit: int = 256) -> np.ndarray:
        """Unit vectors [texts, 384] of the first `limit` tokens (256 is the model's own default)."""
        ids = [
            [common.CLS, *e.ids[: limit - 2], common.SEP]
            for e in self.tokens.encode_batch(list(texts), add_special_tokens=False)
        ]
        found = np.zeros((len(texts), 384), np.float32)

        def one(batch: list[int]) -> None:
            torch.set_num_threads(1)
            with torch.inference_mode():
                found[batch] = self._pooled([ids[i] for i in batch]).cpu().numpy()

        with ThreadPoolExecutor(self.threads if self.where.type == "cpu" else 1) as pool:
            list(pool.map(one, reversed(list(common.batches([len(i) for i in ids], 1024)))))
        return found

    def _pooled(self, rows: list[list[int]]) -> torch.Tensor:
        batch = common.collate([common.Pair(row, [0] * len(row)) for row in rows], self.where)
        hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        return normalize((hidden * mask).sum(1), dim=-1)


class Bm25:
    """bm25s over passages; stop words stay, since questions live on them less than their rarity says."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.index = bm25s.BM25()
        self.index.index(bm25s.tokenize(list(texts), stopwords="en", show_progress=False), show_progress=False)
        self.size = len(texts)

    def best(self, queries: Sequence[str], depth: int) -> np.ndarray:
        """Positions [queries, depth] of the best passages, best first."""
        tokens = bm25s.tokenize(list(queries), stopwords="en", show_progress=False, return_ids=False)
        tokens = [t or [""] for t in tokens]
        return self.index.retrieve(tokens, k=min(depth, self.size), show_progress=False, return_as="documents")


def overlapping(records: Sequence[dict[str, Any]], count: int) -> list[list[str]]:
    """For each record the `count` passages that share the rarest words with its question: the only ones embedded."""
    words = [[set(re.findall(r"\w+", p.lower())) for p in r["passages"]] for r in records]
    frequency = Counter(w for sets in words for s in sets for w in s)
    kept = []
    for record, sets in zip(records, words, strict=True):
        asked = set(re.findall(r"\w+", record["query"].lower()))
        weight = [sum(1 / frequency[w] ** 0.5 for w in s & asked) for s in sets]
        order = sorted(range(len(sets)), key=lambda i: -weight[i])[:count]
        kept.append([record["passages"][i] for i in order])
    return kept


def choose(
    record: dict[str, Any], source: str, own: list[int], cosines: np.ndarray, found: dict[str, Any]
) -> dict[str, Any]:
    """One list: the best own passage, hard negatives below the ceiling, random ones; `found` is what was retrieved."""
    mining, texts, random_ = found["mining"], found["texts"], found["random"]
    positive = max(own, key=lambda p: cosines[p])
    ceiling = cosines[positive] * mining["ceiling_reliable" if source in RELIABLE else "ceiling"]
    banned = set(record["passages"])
    negatives: list[dict[str, Any]] = []

    def take(kind: str, candidates: Sequence[int], count: int) -> None:
        for p in candidates:
            if count and texts[p] not in banned and cosines[p] < ceiling:
                banned.add(texts[p])
                negatives.append({"text": texts[p], "kind": kind, "cos": round(float(cosines[p]), 4)})
                count -= 1

    dense = np.argsort(-cosines)[: mining["depth"]].tolist()
    take("dense", dense[:12], (mining["dense"] + 1) // 2)
    take("bm25", found["bm25"].tolist(), mining["bm25"])
    rest = dense[12:]
    random_.shuffle(rest)
    take("dense", rest, mining["dense"] // 2)
    if source == "squad_sentences":
        page = [p for p in range(len(texts)) if 0 < abs(found["rows"][p] - record["row"]) <= NEIGHBOURS]
        take("page", random_.sample(page, min(len(page), 6)), 2)
    take("random", random_.sample(range(len(texts)), min(len(texts), 4 * mining["random"])), mining["random"])
    known = {texts[p]: round(float(cosines[p]), 4) for p in own}
    others = [{"text": text, "cos": known.get(text)} for text in record["passages"]]
    return {
        "source": source,
        "query": record["query"],
        "positives": others,
        "best": record["passages"].index(texts[positive]),
        "negatives": negatives,
    }


def mine(source: str, config: dict[str, Any], encoder: BiEncoder) -> None:
    """Write one source's lists."""
    runs = Path(config["runs"])
    target = runs / "lists" / f"{source}.jsonl"
    if target.exists():
        return
    records = list(common.read(runs / "prepared" / f"{source}.jsonl"))
    kept = overlapping(records, config["mining"]["embedded"])
    texts = list(dict.fromkeys(p for own in kept for p in own))
    place = {text: i for i, text in enumerate(texts)}
    rows = {place[p]: r["row"] for r, own in zip(records, kept, strict=True) for p in own}
    vectors = encoder.embed(texts, 128)
    queries = encoder.embed([r["query"] for r in records], 64)
    bm25 = Bm25(texts).best([r["query"] for r in records], config["mining"]["depth"])
    found = {
        "mining": config["mining"],
        "texts": texts,
        "rows": rows,
        "random": random.Random(f"{config['seed']} {source}"),
    }
    lists = [
        choose(r, source, [place[p] for p in kept[i]], vectors @ queries[i], found | {"bm25": bm25[i]})
        for i, r in enumerate(records)
    ]
    common.write(target, lists)
    ranks = [sum(n["cos"] > x["positives"][x["best"]]["cos"] for n in x["negatives"]) for x in lists]
    print(
        f"{source}: {len(lists)} lists, {len(texts)} passages, {np.mean([r > 0 for r in ranks]):.2f} beaten", flush=True
    )


if __name__ == "__main__":
    settings = common.settings()
    teacher = BiEncoder(settings)
    for name in settings["sources"]:
        mine(name, settings, teacher)
