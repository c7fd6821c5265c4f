"""What writing costs a record, format by format: a ranking of many hits into the null device.

    python benchmarks/writers.py [HITS] [BYTES]

Prints the best of three runs in microseconds of CPU a record, and MB/s of record bytes. No model is involved.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from rerank_cli.records import Document, Hit, Meta, Ranking, Score, Source
from rerank_cli.report import Report
from rerank_cli.settings import OutputSettings
from rerank_cli.terminal import Terminal
from rerank_cli.writers import write_ranking

META = Meta("none", None, "none", "fp32", "probability")
SCORE = Score(1.0, 20)


def ranking(count: int, size: int, kind: str) -> Ranking:
    """Hits of one kind with records of about `size` bytes, in an order unlike the input's."""
    text = ("capital city of the united states " * (size // 30 + 1))[: max(1, size - 30)]
    header = {"columns": ("id", "text"), "header": b"id,text"} if kind == "row" else {}
    source = Source("bench", kind if kind != "keys" else "json", **header)
    shapes = {
        "json": lambda i: b'{"id":"%d","text":"%b"}' % (i, text.encode()),
        "keys": lambda i: b'{"id":"%d","text":"%b","rank":%d}' % (i, text.encode(), i),
        "line": lambda i: b"%d:%b" % (i, text.encode()),
        "row": lambda i: b"%d,%b" % (i, text.encode()),
    }
    order = list(range(count))
    random.Random(1).shuffle(order)  # noqa: S311 no secret
    draw = random.Random(2).random  # noqa: S311
    documents = (Document(i, shapes[kind](i), text, source, str(i)) for i in order)
    return Ranking("capital", [Hit(d.index, n, draw(), d, SCORE) for n, d in enumerate(documents, 1)], META)


def cost(ranked: Ranking, form: str) -> float:
    """CPU seconds of the fastest of three runs (the machine may be shared)."""
    settings = OutputSettings(format=form, output=Path("/dev/null"))  # type: ignore[arg-type]
    took = []
    for _ in range(3):
        start = time.process_time()
        write_ranking(ranked, settings, Terminal.of_process(), Report())
        took.append(time.process_time() - start)
    return min(took)


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    sizes = [int(sys.argv[2])] if len(sys.argv) > 2 else [100, 1000]
    print(f"{'format':10}{'records':10}{'bytes':>7}{'µs/record':>12}{'MB/s':>8}")
    for size in sizes:
        for kind, forms in {
            "json": ["jsonl", "json", "lines", "ids", "trec", "csv", "markdown"],
            "keys": ["jsonl"],
            "line": ["lines", "jsonl", "tsv"],
            "row": ["csv", "jsonl"],
        }.items():
            ranked = ranking(count, size, kind)
            for form in forms:
                seconds = cost(ranked, form)
                print(f"{form:10}{kind:10}{size:7}{seconds / count * 1e6:12.2f}{count * size / seconds / 1e6:8.0f}")
    small = ranking(500, 1000, "json")
    print(f"{'table':10}{'json':10}{1000:7}{cost(small, 'table') / 500 * 1e6:12.2f}")


if __name__ == "__main__":
    main()
