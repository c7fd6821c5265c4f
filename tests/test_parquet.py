"""Parquet files are read wherever JSON lines are, with the same results, bounded memory and clear errors."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CAPITAL, ROOT
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli.errors import InputError, ModelError
from rerank_cli.readers.input_stream import InputStream, open_stream
from rerank_cli.readers.rows import raw_rows

DOCS = [
    {"id": "dc", "text": "Washington, D.C. is the capital of the United States."},
    {"id": "bread", "text": "Bread and butter."},
    {"id": "nv", "text": "Carson City is the capital of Nevada."},
]


def written(path: Path, rows: list[dict], **how) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **how)
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(raw) for _, raw in raw_rows(str(path))]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return written(tmp_path / "docs.parquet", DOCS, row_group_size=2)


def test_documents_rank_as_the_same_json_lines_do(run, docs: Path) -> None:
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in DOCS)
    assert run("-q", CAPITAL, "-f", "jsonl", docs).out == run("-q", CAPITAL, "-f", "jsonl", stdin=lines).out


def test_parquet_on_stdin_and_under_any_name(run, docs: Path, tmp_path: Path) -> None:
    wanted = run("-q", CAPITAL, "-f", "ids", docs).out
    assert run("-q", CAPITAL, "-f", "ids", stdin=docs.read_bytes()).out == wanted
    (tmp_path / "docs").write_bytes(docs.read_bytes())
    assert run("-q", CAPITAL, "-f", "ids", tmp_path / "docs").out == wanted


def test_requests_queries_and_corpora_may_be_parquet(run, docs: Path, tmp_path: Path) -> None:
    row = {"id": "a", "query": CAPITAL, "documents": [d["text"] for d in DOCS], "top_n": 2}
    found = run("batch", written(tmp_path / "requests.parquet", [row, {**row, "id": "b", "top_n": None}]))
    assert found.code == 0, found.err
    assert [(r["id"], len(r["results"])) for r in found.records] == [("a", 2), ("b", 3)]
    queries = written(tmp_path / "q.parquet", [{"id": "7", "text": CAPITAL}])
    crossed = run("batch", "--queries", queries, "--documents", docs, "-f", "rows")
    assert crossed.records[0]["id"] == "dc"
    (tmp_path / "run.trec").write_text("7 Q0 dc 1 2.0 x\n7 Q0 bread 2 1.0 x\n")
    trec = run("batch", "--run", tmp_path / "run.trec", "--queries", queries, "--corpus", docs, "-f", "trec")
    assert trec.lines[0].split()[2] == "dc", trec.err


def test_an_output_beside_a_parquet_input_has_its_stem(run, tmp_path: Path) -> None:
    written(tmp_path / "day.parquet", [{"query": "x", "documents": ["x", "y"]}])
    assert run("batch", tmp_path / "day.parquet", "--out-dir", tmp_path / "out").code == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["day.responses.jsonl"]


def test_a_bad_row_is_reported_with_its_number(run, tmp_path: Path) -> None:
    rows = [{"query": "x", "documents": ["x"]}, {"query": None, "documents": ["x"]}]
    found = run("batch", written(tmp_path / "r.parquet", rows, row_group_size=1))
    assert found.code == 6
    assert "r.parquet:2: " in found.err


def test_values_that_json_lacks_become_text(tmp_path: Path) -> None:
    utc = dt.UTC
    table = pa.table(
        {
            "day": [dt.date(2024, 2, 29)],
            "moment": pa.array([dt.datetime(2024, 2, 29, 12, 30, 1, 500, tzinfo=utc)], pa.timestamp("us", "UTC")),
            "nano": pa.array([1709209801000000001], pa.timestamp("ns")),
            "clock": [dt.time(1, 2, 3)],
            "price": [decimal.Decimal("12345678901234567890.10")],
            "raw": [b"caf\xc3\xa9"],
            "image": [b"\xff\x00"],
            "kind": pa.array(["b"]).dictionary_encode(),
            "big": pa.array([2**64 - 1], pa.uint64()),
            "nothing": pa.array([float("nan")]),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
            "deep": pa.array([{"when": [dt.date(2024, 1, 1)], "at": [1]}]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    (row,) = read(tmp_path / "t.parquet")
    assert row == {
        "day": "2024-02-29",
        "moment": "2024-02-29T12:30:01.000500+00:00",
        "nano": "2024-02-29 12:30:01.000000001",
        "clock": "01:02:03",
        "price": "12345678901234567890.10",
        "raw": "café",
        "image": "/wA=",
        "kind": "b",
        "big": 2**64 - 1,
        "nothing": None,
        "map": {"k": 1},
        "deep": {"when": ["2024-01-01"], "at": [1]},
    }


@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.none() | st.lists(st.text())}), max_size=20))
def test_rows_come_back_as_they_went_in(rows: list[dict]) -> None:
    rows = [{"a": r["a"].encode("utf-8", "replace").decode(), "b": r["b"]} for r in rows]
    schema = pa.schema([("a", pa.string()), ("b", pa.list_(pa.string()))])
    file = io.BytesIO()
    try:
        table = pa.Table.from_pylist(rows, schema)
    except UnicodeEncodeError:  # lone surrogates cannot be in Parquet
        return
    pq.write_table(table, file, row_group_size=3)
    file.seek(0)
    feed = InputStream("x.parquet", file)
    assert [json.loads(line) for line in feed.whole().splitlines()] == rows


def test_memory_is_bounded_whatever_the_row_group(tmp_path: Path) -> None:
    """60 MB of text in one row group; the decoder never holds a third of it."""
    path = tmp_path / "big.parquet"
    texts = pa.array([f"{number} " + "word " * 200 for number in range(60_000)])
    pq.write_table(pa.table({"text": texts}), path, row_group_size=60_000, compression="none", use_dictionary=False)
    script = (
        "import io, sys, pyarrow\n"
        "from rerank_cli.readers.input_stream import open_stream\n"
        "feed = open_stream(sys.argv[1], io.BytesIO())\n"
        "print(sum(block.count(b'{') for block in feed.records(b'\\n')), pyarrow.default_memory_pool().max_memory())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, check=True)
    rows, peak = map(int, done.stdout.split())
    assert rows == 60_000
    assert peak < 20 << 20


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a Parquet file"),
        (b'{"text": "x"}\n', "not a Parquet file"),
        (b"PAR1\x15\x00 torn", "not a readable Parquet"),
    ],
)
def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read(tmp_path / "x.parquet")
    assert "x.parquet" in caught.value.message


def test_a_truncated_file_is_an_error_with_its_name(docs: Path) -> None:
    data = docs.read_bytes()
    docs.write_bytes(data[: len(data) // 2] + b"\0" * 8 + data[len(data) // 2 + 8 :])
    with pytest.raises(InputError, match=r"docs\.parquet: "):
        read(docs)


def test_a_plain_line_may_begin_with_the_magic(run) -> None:
    assert run("-q", "PAR1", "-f", "lines", stdin="PAR1 is how Parquet begins\nother\n").code == 0


def test_a_repeated_column_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match="column `text` appears twice"):
        read(tmp_path / "t.parquet")


def test_without_pyarrow_the_extra_is_named(docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModelError, match="needs pyarrow") as caught:
        open_stream(str(docs), io.BytesIO())
    assert "rerank-cli[parquet]" in caught.value.hint


def test_the_other_formats_do_not_load_pyarrow() -> None:
    script = "import io, sys; from rerank_cli.readers.input_stream import InputStream; InputStream('x', io.BytesIO(b'{}')); print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"False\n"
