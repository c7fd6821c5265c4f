"""What --prefilter costs and loses: time and memory on a million lines; recall of the model's own ten best.

    python benchmarks/prefilter.py FOLDER [--queries 10] [--documents 4000] [--most 1000 100]

FOLDER holds `*.jsonl.gz` of `{"id", "query", "documents": […]}` (the development sets). The documents of a set are one
pool; for some of its queries the embedded model scores all of the pool. Reported is the share of its ten best that the
prefilter keeps, and of those among them whose relevance score is at least 0.5. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rerank_cli import Reranker
from rerank_cli.prefilter import best_by_words
from rerank_cli.records import Document, Source
from rerank_cli.report import Report

ROOT = Path(__file__).resolve().parent.parent


BEST = 10


def recall(path: Path, model: Reranker, queries: int, documents: int, most: list[int]) -> tuple[int, list[str]]:
    """The size of the pool of a set, and for each limit the share of the ten best and of the relevant that is kept."""
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    draw = random.Random(3)  # noqa: S311 a sample, not a secret
    pool = list(dict.fromkeys(text for record in records for text in record["documents"] if text.strip()))
    chosen = draw.sample(records, min(queries, len(records)))
    if len(pool) > documents:
        own = [text for record in chosen for text in record["documents"] if text.strip()]
        pool = list(dict.fromkeys([*own, *draw.sample(pool, documents)]))[:documents]
    source = Source("pool", "line")
    rows = [Document(number, b"", text, source) for number, text in enumerate(pool)]
    kept_of: list[list[int]] = [[0, 0] for _ in most]
    all_best = all_relevant = 0
    for record in chosen:
        scores = model.score(record["query"], pool)
        best = set(sorted(range(len(pool)), key=lambda number: -scores[number])[:BEST])
        relevant = {number for number in best if scores[number] >= 0}
        all_best, all_relevant = all_best + len(best), all_relevant + len(relevant)
        for number, limit in enumerate(most):
            chunks = best_by_words(record["query"], [rows], limit, Report())
            kept = {document.index for chunk in chunks for document in chunk}
            kept_of[number][0] += len(best & kept)
            kept_of[number][1] += len(relevant & kept)
    return len(pool), [f"{a / all_best:.3f} {b / max(1, all_relevant):.3f}" for a, b in kept_of]


def a_million_lines() -> str:
    """Seconds and memory of one process that cuts a million lines of 100 bytes to a thousand and ranks them."""
    words = [
        word
        for word in json.loads((ROOT / "rerank_cli/builtin/tokenizer.json").read_text())["model"]["vocab"]
        if word.isalpha()
    ]
    draw = random.Random(1)  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lines.txt")
        with path.open("w") as file:
            for _ in range(1_000_000):
                file.write(" ".join(draw.choices(words, k=15))[:99] + "\n")
        argv = [
            sys.executable,
            "-m",
            "rerank_cli",
            "-q",
            "how do banks lend money to rivers",
            "--prefilter",
            "1000",
            "-n",
            "10",
        ]
        start = time.perf_counter()
        with path.open("rb") as stdin:
            child = subprocess.Popen(
                [*argv, "--input-format", "lines"], stdin=stdin, stdout=subprocess.DEVNULL, cwd=ROOT
            )
            _, _, usage = os.wait4(child.pid, 0)  # of this process alone
        seconds = time.perf_counter() - start
    spent = usage.ru_utime + usage.ru_stime
    return f"a million lines of 100 bytes: {seconds:.1f} s ({spent:.1f} s of CPU), peak {usage.ru_maxrss / 1024:.0f} MB"


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--most", type=int, nargs="+", default=[1000, 100])
    arguments = parser.parse_args()
    print(a_million_lines())
    with Reranker() as model:
        for path in sorted(arguments.folder.glob("*.jsonl.gz")):
            size, shares = recall(path, model, arguments.queries, arguments.documents, arguments.most)
            print(f"{path.name.split('.')[0]:32} {size:6} documents  {'  '.join(shares)}", flush=True)


if __name__ == "__main__":
    main()
