"""Step 2b, the development sets: held-out queries with BM25's and the bi-encoder's candidates, long documents, traps.

    python training/heldout.py            # reads runs/heldout, writes runs/sets/{dev,test}/SOURCE.jsonl.gz, long, traps

`dev` is for choosing, `test` is left alone until the end; groups never stand in both. A record has the form of the
given dev sets: id, query, documents, relevance. It knows nothing of the cross-encoder.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import augment
import common
import numpy as np
from mine import BiEncoder, Bm25

Record = dict[str, Any]
LONG_SOURCES = ("squad", "qed", "nq_gold")  # their questions have one answer at one place
LONG_TOKENS, LONG_DOCUMENTS = 4000, 10
TRAPS = ("echo", "soup", "punctuation", "topic")


def interleave(first: list[int], second: list[int], count: int) -> list[int]:
    """The best of both, alternating, each document once."""
    merged = [p for both in zip(first, second, strict=False) for p in both]
    return list(dict.fromkeys(merged))[:count]


def candidate_sets(source: str, config: dict[str, Any], encoder: BiEncoder) -> None:
    """Write one source's dev and test sets. The collection is the same for both."""
    runs, held = Path(config["runs"]), config["heldout"]
    target = {half: runs / "sets" / half / f"{source}.jsonl.gz" for half in ("dev", "test")}
    if all(path.exists() for path in target.values()):
        return
    head, *records = common.read(runs / "heldout" / f"{source}.jsonl")
    rng = random.Random(f"{config['seed']} {source} heldout")
    rng.shuffle(records)
    chosen = {half: [r for r in records if r["half"] == half][: held["measured"] or None] for half in target}
    answers = dict.fromkeys(p for half in chosen.values() for r in half for p in r["positives"])
    rest = [p for r in records for p in r["positives"] if p not in answers] + head["collection"]
    texts = list(dict.fromkeys([*answers, *rest]))[: max(held["collection"], len(answers))]
    vectors = encoder.embed(texts)
    bm25 = Bm25(texts)
    for half, queries in chosen.items():
        names = [r["query"] for r in queries]
        dense = np.argsort(-(encoder.embed(names) @ vectors.T), axis=1)
        lexical = bm25.best(names, held["candidates"])
        made = []
        for i, record in enumerate(queries):
            found = interleave(lexical[i].tolist(), dense[i].tolist(), held["candidates"])
            documents = [texts[p] for p in found]
            relevance = [int(text in record["positives"]) for text in documents]
            if any(relevance):  # nothing can be said of a ranking without an answer
                rng.shuffle(both := list(zip(documents, relevance, strict=True)))
                documents, relevance = (list(x) for x in zip(*both, strict=True))
                made.append({"id": str(i), "query": record["query"], "documents": documents, "relevance": relevance})
        common.write(target[half], made)
        print(f"{source} {half}: {len(made)} of {len(queries)} queries with an answer in the candidates", flush=True)


def long_documents(config: dict[str, Any], count: int = 200) -> None:
    """An answer at each tenth of a 4,000-token document among nine documents of that length without it."""
    runs, rng = Path(config["runs"]), random.Random(f"{config['seed']} long")
    records = [r for s in LONG_SOURCES for r in list(common.read(runs / "heldout" / f"{s}.jsonl"))[1:]]
    rng.shuffle(records)
    filler = [p for s in LONG_SOURCES for p in next(common.read(runs / "heldout" / f"{s}.jsonl"))["collection"]]
    size = {p: len(e.ids) for p, e in zip(filler, common.tokenizer().encode_batch(filler), strict=True)}

    def document() -> list[str]:
        parts, total = [], 0
        while total < LONG_TOKENS:
            parts.append(rng.choice(filler))
            total += size[parts[-1]]
        return parts

    made = []
    for i, record in enumerate(records[:count]):
        documents = [document() for _ in range(LONG_DOCUMENTS)]
        tenth = i % 10
        at = round((tenth + 0.5) / 10 * len(documents[0]))
        documents[0][at : at + 1] = [record["positives"][0]]
        texts = ["\n\n".join(parts) for parts in documents]
        relevance = [1] + [0] * (LONG_DOCUMENTS - 1)
        made.append(
            {"id": str(i), "query": record["query"], "documents": texts, "relevance": relevance, "tenth": tenth}
        )
    common.write(runs / "sets" / "long.jsonl.gz", made)


def traps(config: dict[str, Any], count: int = 100) -> None:
    """The right answer against an echo, keyword soup, punctuation, and a like document without the answer."""
    runs, rng = Path(config["runs"]), random.Random(f"{config['seed']} traps")
    records = [r for s in LONG_SOURCES for r in list(common.read(runs / "heldout" / f"{s}.jsonl"))[1:]]
    rng.shuffle(records)
    made = []
    for kind in TRAPS:
        wrong: list[tuple[Record, str]] = []
        for record in records:
            if kind == "topic":
                pages = [r for r in records if r.get("positives") != record["positives"]]
                words = set(augment.content_words(record["query"].lower()))
                best = max(pages, key=lambda r: len(words & set(augment.content_words(r["positives"][0].lower()))))
                wrong.append((record, best["positives"][0]))
            elif kind == "echo":
                wrong.append((record, record["query"]))
            elif kind == "soup":
                words = augment.content_words(record["query"]) * 3
                wrong.append((record, " ".join(rng.sample(words, len(words)))))
            else:
                wrong.append((record, rng.choice(("...", "-", "?!", "* * *", "###", "— — —"))))
            if len(wrong) == count:
                break
        for i, (record, text) in enumerate(wrong):
            documents = [record["positives"][0], text]
            made.append({"id": f"{kind}-{i}", "query": record["query"], "documents": documents, "relevance": [1, 0]})
    common.write(runs / "sets" / "traps.jsonl.gz", made)


if __name__ == "__main__":
    settings = common.settings()
    teacher = BiEncoder(settings)
    for name in settings["sources"]:
        candidate_sets(name, settings, teacher)
    long_documents(settings)
    traps(settings)
