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
import contrast_templates
import contrasts
import loglines
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
SHINGLE = 12  # words in a row
SHORT = 3  # words; a shorter answer is a fragment
PROSE = {"squad", "squad_sentences", "nq_gold", "qed", "medquad", "pubmedqa", "stackoverflow_python", "tldr"}
MADE = ("train", "heldout")  # parts of a source that is made here
MADE_TIMES = 4  # texts that are made, per query of a source's share
CONTRASTED = ("squad", "nq_gold", "squad_sentences", "medquad")  # prepared before the contrasts are made


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


def first_positive(record: Record) -> str:
    """The text that answers; of intents and duplicates any of them, by the row, so that all are seen."""
    return record["positives"][record["row"] % len(record["positives"])]


def usable(source: str, record: Record) -> bool:
    """Drop headings that ask nothing (`See also`), mark-up and fragments."""
    query, answer = record["query"], record["positives"][0]
    if source in {"powershell_docs", "freecodecamp_guides", "va_gov"}:
        last = query.lower().split()[-2:]
        if last in (["see", "also"], ["more", "information:"], ["related", "links"]) or "![" in query:
            return False
        return len(NOISE.sub("", answer).split()) >= 2 * SHORT
    return source not in PROSE or (len(query.split()) >= 2 and len(answer.split()) >= SHORT)


def split(source: str, records: list[Record], config: dict[str, Any]) -> tuple[list[Record], list[Record]]:
    """(training, held out) records; a held-out one carries its half, `dev` or `test`, the same for its whole group."""
    if records and "made" in records[0]:
        held = [r for r in records if r["made"] == "heldout"]
        halves = [r | {"half": ("dev", "test")[i % 2]} for i, r in enumerate(held)]
        return [r for r in records if r["made"] == "train"], halves
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


def collected(source: str, config: dict[str, Any]) -> list[Record]:
    """The records of a given collection, or of one that is made here: log lines, and texts that differ in one word."""
    seed, count = config["seed"], config["sources"][source]
    if source == "log_events":
        lines = loglines.records(seed, MADE_TIMES * count, heldout=False)
        halves = (lines, loglines.records(seed + 1, count // 4, heldout=True))
    elif source == "contrasts":
        halves = contrast_halves(config, count)
    else:
        return list(common.read(Path(config["data"]) / "train" / f"{source}.jsonl.gz"))
    return [r | {"made": part} for part, rows in zip(MADE, halves, strict=False) for r in rows]


def contrast_halves(config: dict[str, Any], count: int) -> tuple[list[Record], list[Record]]:
    """Contrast records of training sentences, and of sentences of held-out groups with templates never trained on."""
    sentences: dict[str, list[str]] = {"train": [], "heldout": []}
    for source in CONTRASTED:
        for record in common.read(Path(config["runs"]) / "prepared" / f"{source}.jsonl"):
            sentences["train"] += SENTENCE.split(record["passages"][0])
        for record in list(common.read(Path(config["runs"]) / "heldout" / f"{source}.jsonl"))[1:]:
            sentences["heldout"] += SENTENCE.split(record["positives"][0])
    seed = f"{config['seed']}"
    held = contrasts.records(sentences["heldout"], f"{seed} heldout", count // 2)
    held += contrast_templates.template_records(f"{seed} heldout", count // 4, heldout=True)
    random.Random(seed).shuffle(held)
    return contrasts.records(sentences["train"], seed, MADE_TIMES * count), held


def in_passages(records: list[Record], words: int) -> list[Record]:
    """Training records as mining reads them: the answer and the source's own negatives cut into passages."""
    return [
        {
            "row": r["row"],
            "query": r["query"],
            "passages": passages(first_positive(r), words),
            "negatives": [passages(n, words) for n in r["negatives"]],
        }
        for r in records
    ]


def prepare(source: str, config: dict[str, Any]) -> None:
    """Write one source's training and held-out files."""
    records = [r for r in collected(source, config) if usable(source, r)]
    for row, record in enumerate(records):
        record["row"] = row
        record["positives"] = [NOISE.sub("", p) if source.startswith("free") else p for p in record["positives"]]
        record["negatives"] = [n for n in record.get("negatives", []) if n not in record["positives"]]
    train, heldout = split(source, records, config)
    seen = {p for r in heldout for p in r["positives"]}
    train = [r for r in train if not seen & set(r["positives"])]
    random.Random(f"{config['seed']} {source} sample").shuffle(train)
    runs, share = Path(config["runs"]), config["sources"][source]
    made = in_passages(train[: config["mining"]["queries"]], config["mining"]["passage_words"])
    common.write(runs / "prepared" / f"{source}.jsonl", made)
    others = [p for r in train[share:] + train[:share] for p in r["positives"]][: config["heldout"]["collection"]]
    held = [{key: r[key] for key in ("query", "positives", "negatives", "half", "kind") if key in r} for r in heldout]
    common.write(runs / "heldout" / f"{source}.jsonl", [{"collection": others}, *held])
    total = sum(len(m["passages"]) for m in made)
    print(f"{source}: {len(made)} of {len(train)} training queries, {total} passages, {len(held)} held out", flush=True)


def marks(text: str) -> set[str]:
    """What tells that a text stands in another: its runs of SHINGLE words, or all of a shorter text."""
    words = re.findall(r"\w+", text.lower())
    runs = {" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)}
    return runs or {" ".join(words)}


def drop_held_out(config: dict[str, Any]) -> None:
    """Drop training records that share a query or a passage with a held-out record of any source.

    Some collections were made from others (key words of questions, titles with bodies), so a split by source is not
    enough.
    """
    runs, held = Path(config["runs"]), set()
    for source in config["sources"]:
        for record in list(common.read(runs / "heldout" / f"{source}.jsonl"))[1:]:
            held |= marks(record["query"]).union(*(marks(p) for p in record["positives"]))
    for source in config["sources"]:
        records = list(common.read(runs / "prepared" / f"{source}.jsonl"))
        kept = [r for r in records if not marks(r["query"]) & held and not marks(" ".join(r["passages"])) & held]
        common.write(runs / "prepared" / f"{source}.jsonl", kept)
        if len(kept) < len(records):
            print(f"{source}: {len(records) - len(kept)} training queries share text with a held-out one", flush=True)


if __name__ == "__main__":
    settings = common.settings()
    for source in settings["sources"]:
        prepare(source, settings)
    drop_held_out(settings)
