"""Every output format equals its golden file in tests/golden/writers (UPDATE_GOLDEN=1 rewrites them)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from writers_support import FILE, LINE, META, document, ranking, write

from rerank_cli import __version__
from rerank_cli.records import Hit, Ranking, Score, Source
from rerank_cli.settings import OUTPUT_FORMATS
from rerank_cli.writers import FORMATS

GOLDEN = Path(__file__).parent / "golden" / "writers"


def test_every_format_has_its_row() -> None:
    assert set(FORMATS) == set(OUTPUT_FORMATS) - {"auto"}


CSV = Source("shop.csv", "row", ("id", "name", "price"), b"id,name,price", ",", b"\r\n")
TSV = Source("shop.tsv", "row", ("id", "name", "price"), b"id\tname\tprice", "\t")

RECORDS = [
    document(
        '{"id": "dc", "title": "Washington, D.C.", "text": "Washington, D.C. is the capital of the United States. '
        'It is a federal district.", "area": 177.00, "big": 123456789012345678901234567890}',
        id="dc",
    ),
    document(
        '{"id":"nv","text":"Carson City is the capital city of the American state of Nevada.","tags":["a","b|c"]}',
        id="nv",
    ),
    document('"A bare string with \\u001b[31mcolour, a | pipe and\\na second line."'),
    document(
        '{"id":"mp","rank":7,"text":"The Commonwealth of the Northern Mariana Islands is a group of islands."}', id="mp"
    ),
    document('{"id":"empty","text":""}', id="empty"),
]
LINES = [
    document(raw, LINE)
    for raw in (b"./a.py:1:def capital():", b"caf\xe9\tand a tab", b"[b]no markup[/b] <U+202E>\xe2\x80\xae")
]
FILES = [document("src/retry.py", FILE, "import time\n\n# Retries are handled here.\n", "src/retry.py")]
ROWS = [document(raw, CSV, raw, raw[0]) for raw in ('1,"Camera, red",10', '2,"5"" lens",20', "3,Tripod")]
TABBED = [document(raw, TSV, raw, raw[0]) for raw in ("1\tCamera, red\t10", "2\tLens\t20")]

MIXED = ranking(RECORDS, [0.9987, 0.4, 0.03125, 1e-8, None])
LONG = (
    " ".join(f"Sentence number {n} says little." for n in range(40))
    + " The capital of the United States is here. The end."
)
WINDOWED = Ranking(
    MIXED.query,
    [
        Hit(
            4,
            1,
            0.75,
            document(f'{{"text":"{LONG}"}}')._replace(index=4),
            Score(1.1, 400, 3, (600, len(LONG)), truncated=True),
        ),
        *[hit._replace(rank=2, fused_score=0.0123) for hit in MIXED.hits[1:2]],
    ],
    META,
)
LOGITS = ranking(RECORDS[:3], [7.25, -1.5, -11.0], META.__class__("m", None, "torch", "bf16", "logit"))

CASES = {
    "records.jsonl": (MIXED, "jsonl", {}),
    "records-nested.jsonl": (MIXED, "jsonl", {"result_key": "rerank"}),
    "records-bare.jsonl": (MIXED, "jsonl", {"documents": False}),
    "explained.jsonl": (WINDOWED, "jsonl", {"explain": True}),
    "records.json": (MIXED, "json", {}),
    "windowed.json": (WINDOWED, "json", {}),
    "bare.json": (MIXED, "json", {"documents": False}),
    "logits.json": (LOGITS, "json", {}),
    "nothing.json": (ranking([]), "json", {}),
    "records.lines": (MIXED, "lines", {}),
    "records.ids": (MIXED, "ids", {}),
    "records.csv": (MIXED, "csv", {}),
    "records.tsv": (MIXED, "tsv", {}),
    "fused.csv": (WINDOWED, "csv", {}),
    "nothing.csv": (ranking([]), "csv", {}),
    "records.md": (MIXED, "markdown", {}),
    "records.trec": (MIXED, "trec", {"query_id": "q7", "run_tag": "mine"}),
    "lines.jsonl": (ranking(LINES), "jsonl", {}),
    "lines.auto": (ranking(LINES), "auto", {}),
    "lines.tsv": (ranking(LINES), "tsv", {}),
    "lines.nul": (ranking(LINES), "lines", {"null": True}),
    "rows.auto": (ranking(ROWS), "auto", {}),
    "rows.jsonl": (ranking(ROWS), "jsonl", {}),
    "tabbed.auto": (ranking(TABBED), "auto", {}),
    "tabbed.csv": (ranking(TABBED), "csv", {}),
    "files.jsonl": (ranking(FILES), "jsonl", {}),
    "files.json": (ranking(FILES), "json", {}),
    "table-40.txt": (MIXED, "table", {"columns": 40}),
    "table-80.txt": (MIXED, "table", {"columns": 80}),
    "table-200.txt": (MIXED, "table", {"columns": 200}),
    "table-80-color.txt": (MIXED, "table", {"env": {"FORCE_COLOR": "1"}}),
    "table-80-ascii.txt": (ranking(LINES), "table", {"env": {"LC_ALL": "C"}}),
    "table-lines.txt": (ranking(LINES), "table", {}),
    "table-files.txt": (ranking(FILES), "table", {"columns": 40}),
    "table-logits.txt": (LOGITS, "table", {}),
    "table-windowed.txt": (WINDOWED, "table", {"columns": 100}),
    "table-explained.txt": (WINDOWED, "table", {"explain": True, "columns": 100}),
}


@pytest.mark.parametrize("name", CASES)
def test_each_format_looks_like_its_golden_file(name: str) -> None:
    ranked, form, options = CASES[name]
    found = write(ranked, form, **options).replace(f"rerank-cli {__version__}".encode(), b"rerank-cli VERSION")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        (GOLDEN / name).write_bytes(found)
    assert found == (GOLDEN / name).read_bytes()


def test_there_is_no_golden_file_without_a_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)
