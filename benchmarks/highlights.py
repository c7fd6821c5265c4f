"""How often the sentence that answers is among the first two highlights, on held-out questions with known sentences.

    python benchmarks/highlights.py wikiqa.jsonl.gz trecqa.jsonl.gz runs/heldout/squad_sentences.jsonl [--pairs 100]

A file has `{"query", "documents", "relevance"}` with the sentences of one passage as its documents, as the given
development sets have (`data/dev`; of more than eight sentences, those around the first that answers), or
`{"query", "positives", "half"}`, one question a line in the order of their article (`training/prepare.py`): the passage
is made of the neighbours' sentences, and only the half `test` is taken. The first rows of each file are measured, as
many of each. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import gzip
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli import Reranker

if TYPE_CHECKING:
    from collections.abc import Iterator

SENTENCES = 8  # of a passage
NEIGHBOURS = 6  # rows before and after a question
LEAST = 3  # sentences: of fewer, the first two say nothing


class Case(NamedTuple):
    """A question, the sentences of its passage, and which of them answer."""

    query: str
    sentences: list[str]
    answers: list[bool]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON lines file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from map(json.loads, lines)


def cases_of(path: Path) -> Iterator[Case]:
    """The cases of a file, in its order."""
    records = list(read(path))
    if "documents" in records[-1]:
        yield from (judged(record) for record in records if any(record["relevance"]))
        return
    records = [record for record in records if record.get("half") == "test"]
    for at, record in enumerate(records):
        near = records[max(0, at - NEIGHBOURS) : at + NEIGHBOURS + 1]
        sentences = list(dict.fromkeys(other["positives"][0] for other in near))
        yield Case(record["query"], sentences, [text == record["positives"][0] for text in sentences])


def judged(record: dict[str, Any]) -> Case:
    """The case of a record with judged sentences."""
    sentences, relevance = record["documents"], record["relevance"]
    start = max(0, min(relevance.index(1) - SENTENCES // 2, len(sentences) - SENTENCES))
    part = slice(start, start + SENTENCES)
    return Case(record["query"], sentences[part], list(map(bool, relevance[part])))


def answered(case: Case, reranker: Reranker, most: int) -> bool:
    """Whether one of the first highlights is, by more than half of either, a sentence that answers."""
    spans, start = [], 0
    for sentence, answers in zip(case.sentences, case.answers, strict=True):
        if answers:
            spans.append((start, start + len(sentence)))
        start += len(sentence) + 1
    (hit,) = reranker.rank(case.query, [" ".join(case.sentences)], highlight=most).hits
    return any(
        min(found.end, end) - max(found.start, start) > min(found.end - found.start, end - start) / 2
        for found in hit.highlights or ()
        for start, end in spans
    )


def main() -> None:
    """Measure each file and all together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--model", default="builtin")
    asked = parser.parse_args()
    reranker = Reranker(asked.model)
    totals = [0, 0, 0]
    for number, path in enumerate(asked.files):
        share = asked.pairs // len(asked.files) + (number < asked.pairs % len(asked.files))
        cases = list(islice((case for case in cases_of(path) if len(case.sentences) >= LEAST), share))
        first, second = (sum(answered(case, reranker, most) for case in cases) for most in (1, 2))
        totals = [total + n for total, n in zip(totals, (len(cases), first, second), strict=True)]
        print(f"{path.name}: {len(cases)} pairs, first {first}, among the first two {second}")
    print(f"all: {totals[0]} pairs, first {totals[1]}, among the first two {totals[2]}")


if __name__ == "__main__":
    main()
