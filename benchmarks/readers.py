"""How fast documents are read, by format: records and MB a second, median of five, processor time, nothing scored.

Run from the repository root: `python benchmarks/readers.py [--records N]`.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import string
import time

from rerank_cli.readers import open_documents
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings, InputSettings
from rerank_cli.terminal import Terminal


def records(size: int, count: int) -> list[dict[str, str]]:
    """Records whose JSON line has about `size` bytes."""
    chance = random.Random(7)  # noqa: S311 not for secrets
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9))) for _ in range(5000)]
    made = []
    for number in range(count):
        text = " ".join(chance.choices(words, k=size // 6))[: size - 40]
        made.append({"id": f"d{number}", "title": words[number % 5000], "text": text})
    return made


def encoded(kind: str, rows: list[dict[str, str]]) -> bytes:
    """The records in a format."""
    if kind == "json":
        return json.dumps(rows).encode()
    if kind == "lines":
        return "".join(row["text"] + "\n" for row in rows).encode()
    if kind == "csv":
        return ("id,title,text\n" + "".join(f"{r['id']},{r['title']},{r['text']}\n" for r in rows)).encode()
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(data: bytes, inputs: InputSettings) -> float:
    """Seconds of processor time (the machine may be shared) to read everything, chunk after chunk."""
    terminal = Terminal(io.BytesIO(data), io.BytesIO(), io.StringIO())
    start = time.process_time()
    for _ in open_documents(inputs, terminal, Report()).chunks:
        pass
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    wanted = parser.parse_args().records
    title = FieldSettings(rank_fields=("title", "text"))
    cases = [
        ("jsonl", "jsonl", FieldSettings()),
        ("jsonl, two rank fields as YAML", "jsonl", title),
        ("lines", "lines", FieldSettings()),
        ("csv", "csv", FieldSettings()),
        ("json list", "json", FieldSettings()),
    ]
    print(f"{'':34}{'bytes':>7}{'records/s':>12}{'MB/s':>8}")
    for size in (100, 1000):
        rows = records(size, wanted if size == 100 else wanted // 4)
        for name, kind, fields in cases:
            data = encoded(kind, rows)
            took = statistics.median(read(data, InputSettings(input_format=kind, fields=fields)) for _ in range(5))
            print(f"{name:34}{len(data) // len(rows):>7}{len(rows) / took:>12,.0f}{len(data) / took / 1e6:>8.0f}")


if __name__ == "__main__":
    main()
