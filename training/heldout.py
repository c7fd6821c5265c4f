"""Step 2b, the development sets: held-out queries with candidates, long documents, traps, duplicates, contrasts.

    python training/heldout.py            # reads runs/heldout, writes runs/sets/{dev,test}/SOURCE.jsonl.gz and others

`dev` is for choosing, `test` is left alone until the end; groups never stand in both. A record has the form of the
given dev sets: id, query, documents, relevance. It knows nothing of the cross-encoder.
"""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import augment
import common
import numpy as np
import yaml
from encoders import BiEncoder
from mine import Bm25

Record = dict[str, Any]
LONG_SOURCES = ("squad", "qed", "nq_gold")  # their questions have one answer at one place
LONG_TOKENS, LONG_DOCUMENTS = 4000, 10
TRAPS = ("soup", "punctuation", "empty", "topic")
DUPLICATES = common.HERE.parent / "tests/cases/duplicate_cases.yaml"
UNRELATED = 10  # documents of other cases beside a duplicate
CONTRASTS = ("entity", "exchange", "number", "negation")


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
    closed = source in config["closed"]["sources"]
    for half, queries in chosen.items():
        retrieved = [[] for _ in queries] if closed else found_by_both([r["query"] for r in queries], texts, encoder)
        made = []
        for i, record in enumerate(queries):
            count = held["candidates"]
            found = rng.sample(record["negatives"], len(record["negatives"]))[: count // 2] + retrieved[i]
            if closed:
                found += rng.sample(texts, min(len(texts), count))
            found = list(dict.fromkeys(d for d in found if not closed or d not in record["positives"]))[
                : count - closed
            ]
            documents = [*found, record["positives"][0]] if closed else found
            relevance = [int(text in record["positives"]) for text in documents]
            if any(relevance):  # nothing can be said of a ranking without an answer
                rng.shuffle(both := list(zip(documents, relevance, strict=True)))
                documents, relevance = (list(x) for x in zip(*both, strict=True))
                made.append({"id": str(i), "query": record["query"], "documents": documents, "relevance": relevance})
        common.write(target[half], made)
        print(f"{source} {half}: {len(made)} of {len(queries)} queries with an answer in the candidates", flush=True)


def found_by_both(queries: list[str], texts: list[str], encoder: BiEncoder, depth: int = 16) -> list[list[str]]:
    """For each query the best texts of BM25 and of the bi-encoder, interleaved."""
    dense = np.argsort(-(encoder.embed(queries) @ encoder.embed(texts).T), axis=1)
    lexical = Bm25(texts).best(queries, depth)
    rows = zip(lexical, dense, strict=True)
    return [[texts[p] for p in interleave(a.tolist(), b.tolist(), depth)] for a, b in rows]


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
            elif kind == "empty":
                wrong.append((record, rng.choice(("", " ", "\n\n"))))
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


def duplicates(config: dict[str, Any]) -> None:
    """Hand-written cases: the exact text or a paraphrase among four related texts and ten of other cases."""
    rng, made = random.Random(f"{config['seed']} duplicates"), []
    cases = yaml.safe_load(DUPLICATES.read_text(encoding="utf-8"))["cases"]
    for kind in ("query", "paraphrase"):
        for case in cases:
            others = [text for c in rng.sample(cases, UNRELATED + 1) if c is not case for text in [c["paraphrase"]]]
            documents = [case[kind], *case["related"], *others[:UNRELATED]]
            if case["genre"] == "title_field":
                documents = [f"title: {d}\n" for d in documents]
            relevance = [2, 1, 1, 1, 1, *[0] * UNRELATED]
            name = f"{'exact' if kind == 'query' else 'paraphrase'}-{case['id']}"
            made.append({"id": name, "query": case["query"], "documents": documents, "relevance": relevance})
    common.write(Path(config["runs"]) / "sets" / "duplicates.jsonl.gz", made)


def contrast(record: dict[str, Any]) -> str:
    """What the right and the wrong text differ in; `exchange`: the same words, two names in each other's places."""
    right, wrong = (sorted(re.findall(r"\w+", record[side][0].lower())) for side in ("positives", "negatives"))
    return "exchange" if record["kind"] == "entity" and right == wrong else str(record["kind"])


def differences(config: dict[str, Any], count: int = 100) -> None:
    """A text that says what is asked for against one that differs in one entity, their order, a number, a negation."""
    runs, made = Path(config["runs"]), []
    records = list(common.read(runs / "heldout" / "contrasts.jsonl"))[1:]
    for kind in CONTRASTS:
        chosen = [r for r in records if contrast(r) == kind][:count]
        for i, record in enumerate(chosen):
            documents = [record["positives"][0], record["negatives"][0]]
            made.append({"id": f"{kind}-{i}", "query": record["query"], "documents": documents, "relevance": [1, 0]})
    common.write(runs / "sets" / "differences.jsonl.gz", made)


if __name__ == "__main__":
    settings = common.settings()
    searcher = BiEncoder("minilm", settings)
    for name in settings["sources"]:
        candidate_sets(name, settings, searcher)
    long_documents(settings)
    traps(settings)
    duplicates(settings)
    differences(settings)
