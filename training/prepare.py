"""Step 1, prepare: the given collections → held-out groups and training queries with passages, one file a source.

    python training/prepare.py            # writes runs/prepared/SOURCE.jsonl and runs/heldout/SOURCE.jsonl

Groups (article, page, thread, command, disease) are split before anything is mined, so that no held-out question meets
its page in training. It knows nothing of embeddings, models or losses.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)")
MEDICAL = re.compile(r".*\b(?:of|for|with|is|are|by|to|have|about|causes|cause|prevent|treat)\b ", re.IGNORECASE)
NOISE = re.compile(r"!\[.*?\]\(.*?\)|\(https?://[^)]*\)|https?://\S+")
ARTICLES = 48  # in the SQuAD development set
BLOCK, GUARD = 150, 75  # rows of squad_sentences, which keeps article order: a block is held out with a margin unused
FIRST_WORDS = 3  # of a heading query: its page's title begins with them
SHORT = 3  # words; a shorter answer is a fragment


def passages(text: str, words: int) -> list[str]:
    """Cut a document at sentence ends (or anywhere in an endless sentence) into passages of about `words` words."""
    pieces: list[list[str]] = [[]]
    for sentence in SENTENCE.split(text):
        split = sentence.split()
        for start in range(0, len(split), words):
            part = split[start : start + words]
            if pieces[-1] and len(pieces[-1]) + len(part) > words * 1.25:
                pieces.append([])
            pieces[-1] += part
    if len(pieces) > 1 and len(pieces[-1]) < words // 4:
        tail = pieces.pop()
        pieces[-1] += tail
    return [" ".join(piece) for piece in pieces if piece]


def clusters(texts: list[str], count: int, seed: int) -> list[int]:
    """Spherical k-means over TF-IDF: SQuAD's paragraphs do not name their article, but share its words."""
    bags = [Counter(re.findall(r"[a-z]{4,}", text.lower())) for text in texts]
    frequency = Counter(word for bag in bags for word in bag)
    vocabulary = {w: i for i, w in enumerate(sorted(w for w, n in frequency.items() if 3 <= n <= len(texts) // 10))}
    matrix = np.zeros((len(texts), len(vocabulary)), np.float32)
    for row, bag in enumerate(bags):
        for word, times in bag.items():
            if word in vocabulary:
                matrix[row, vocabulary[word]] = (1 + np.log(times)) * np.log(len(texts) / frequency[word])
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True) + 1e-9
    centres = matrix[np.random.default_rng(seed).choice(len(texts), count, replace=False)]
    for _ in range(20):
        nearest = (matrix @ centres.T).argmax(1)
        sums = np.stack([matrix[nearest == c].sum(0) if (nearest == c).any() else centres[c] for c in range(count)])
        centres = sums / (np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9)
    return [int(c) for c in nearest]


def groups(source: str, records: list[Record], seed: int) -> list[str]:
    """The article, page, thread or command each record belongs to."""
    if source == "squad":
        texts = sorted({r["positives"][0] for r in records})
        cluster = dict(zip(texts, clusters(texts, ARTICLES, seed), strict=True))
        return [str(cluster[r["positives"][0]]) for r in records]
    if source == "squad_sentences":
        return [str(i // BLOCK) for i in range(len(records))]
    key: dict[str, Callable[[Record], str]] = {
        "nq_gold": lambda r: r["positives"][0].split(". ")[0],
        "tldr": lambda r: r["positives"][0].split(":")[0],
        "medquad": lambda r: MEDICAL.sub("", r["query"].lower().strip(" ?")),
    }
    for pages in ("powershell_docs", "freecodecamp_guides", "va_gov"):
        key[pages] = lambda r: " ".join(r["query"].split()[:FIRST_WORDS]).lower()
    return [key.get(source, lambda r: r["positives"][0])(r) for r in records]


def usable(source: str, record: Record) -> bool:
    """Drop headings that ask nothing (`See also`), mark-up and fragments."""
    query, answer = record["query"], record["positives"][0]
    if source in {"powershell_docs", "freecodecamp_guides", "va_gov"}:
        last = query.lower().split()[-2:]
        if last in (["see", "also"], ["more", "information:"], ["related", "links"]) or "![" in query:
            return False
        return len(NOISE.sub("", answer).split()) >= 2 * SHORT
    return len(query.split()) >= (1 if source == "wordnet" else 2) and len(answer.split()) >= (
        1 if source == "nl2bash" else SHORT
    )


def split(source: str, records: list[Record], config: dict[str, Any]) -> tuple[list[Record], list[Record]]:
    """(training, held out) records; a held-out one carries its half, `dev` or `test`, the same for its whole group."""
    names = groups(source, records, config["seed"])
    order = sorted(set(names))
    random.Random(f"{config['seed']} {source}").shuffle(order)
    wanted = min(config["heldout"]["queries"], len(records) // 5)
    sizes, halves, taken = Counter(names), {}, {"dev": 0, "test": 0}
    for name in order:
        half = min(taken, key=lambda h: taken[h])
        if taken[half] < wanted / 2:
            halves[name] = half
            taken[half] += sizes[name]
    heldout = [r | {"half": halves[n]} for r, n in zip(records, names, strict=True) if n in halves]
    if source == "squad_sentences":
        rows = {i for i, n in enumerate(names) if n in halves}
        near = {i + d for i in rows for d in (-GUARD, GUARD)} | rows
        return [r for i, r in enumerate(records) if i not in near], heldout
    return [r for r, n in zip(records, names, strict=True) if n not in halves], heldout


def prepare(source: str, config: dict[str, Any]) -> None:
    """Write one source's training and held-out files."""
    records = [r for r in common.read(Path(config["data"]) / "train" / f"{source}.jsonl.gz") if usable(source, r)]
    for row, record in enumerate(records):
        record["row"] = row
        record["positives"] = [NOISE.sub("", p) if source.startswith("free") else p for p in record["positives"]]
    train, heldout = split(source, records, config)
    seen = {p for r in heldout for p in r["positives"]}
    train = [r for r in train if not seen & set(r["positives"])]
    random.Random(f"{config['seed']} {source} sample").shuffle(train)
    chosen, rest = train[: config["sources"][source]], train[config["sources"][source] :]
    made = [
        {
            "row": r["row"],
            "query": r["query"],
            "passages": passages(r["positives"][0], config["mining"]["passage_words"]),
        }
        for r in chosen
    ]
    runs = Path(config["runs"])
    common.write(runs / "prepared" / f"{source}.jsonl", made)
    others = [p for r in rest + chosen for p in r["positives"]][: config["heldout"]["collection"]]
    held = [{"query": r["query"], "positives": r["positives"], "half": r["half"]} for r in heldout]
    common.write(runs / "heldout" / f"{source}.jsonl", [{"collection": others}, *held])
    total = sum(len(m["passages"]) for m in made)
    print(f"{source}: {len(made)} training queries, {total} passages, {len(held)} held out", flush=True)


if __name__ == "__main__":
    settings = common.settings()
    for source in settings["sources"]:
        prepare(source, settings)
