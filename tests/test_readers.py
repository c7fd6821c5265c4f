"""Each input format gives the right texts, ids and raw bytes; `auto` detects the format; reading is streamed."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from conftest import CAPITAL, SAMPLES
from readers_support import load_value, read, zstd

from rerank_cli.readers import read_query
from rerank_cli.records import RequestOptions
from rerank_cli.terminal import Terminal


@pytest.mark.parametrize(
    ("data", "kind", "texts"),
    [
        pytest.param(b"", "line", [], id="nothing"),
        pytest.param(b" \n\n\t\r\n", "line", [], id="blank lines only"),
        pytest.param(b"a\n\n b \nc", "line", ["a", " b ", "c"], id="lines, no last newline"),
        pytest.param(b"a\r\nb\r\n", "line", ["a", "b"], id="CRLF lines"),
        pytest.param(b"\xef\xbb\xbfa\nb\n", "line", ["a", "b"], id="BOM on lines"),
        pytest.param(b'\xef\xbb\xbf{"text":"a"}\n', "json", ["a"], id="BOM on JSON lines"),
        pytest.param(b'\n  {"text":"a"}  \r\n"b"\n', "json", ["a", "b"], id="JSON lines of objects and strings"),
        pytest.param(b'{"text":"a"}', "json", ["a"], id="one object without a newline"),
        pytest.param(b'"a"\n"b"\n', "json", ["a", "b"], id="JSON strings"),
        pytest.param(b'[\n{"text":"a"},\n"b"]\n', "json", ["a", "b"], id="JSON list"),
        pytest.param(b"[]", "json", [], id="empty JSON list"),
        pytest.param(b'["a"] ["b"]', "line", ['["a"] ["b"]'], id="two lists are text"),
        pytest.param(b'{\n"text": "a"\n}', "json", ["a"], id="one object over lines"),
        pytest.param(b'{"text": "a"\nno json', "line", ['{"text": "a"', "no json"], id="a brace is not JSON yet"),
        pytest.param(b"[12:00] start\n[12:01] stop\n", "line", ["[12:00] start", "[12:01] stop"], id="log in brackets"),
        pytest.param(b'"quoted" words\n', "line", ['"quoted" words'], id="a quoted word is not JSON"),
        pytest.param(b"- text: a\n- text: b\n", "json", ["a", "b"], id="YAML list"),
        pytest.param(b"---\n- a\n- b\n", "json", ["a", "b"], id="YAML list after a marker"),
        pytest.param(b"---\ntext: a\n---\ntext: b\n", "json", ["a", "b"], id="YAML documents"),
        pytest.param(b"documents:\n- a\nquery: q\n", "json", ["a"], id="YAML request, documents first"),
        pytest.param(b"query: q\ndocuments: [a]\n", "json", ["a"], id="YAML request, query first"),
        pytest.param(b"- fix: a: b\n- more\n", "line", ["- fix: a: b", "- more"], id="a list in prose is text"),
        pytest.param(b"--- a/x\n+++ b/x\n", "line", ["--- a/x", "+++ b/x"], id="a patch is text"),
        pytest.param(b"---\ntitle: x\n---\nprose\n", "line", ["---", "title: x", "---", "prose"], id="front matter"),
        pytest.param(b"query: how?\nanswer: so\n", "line", ["query: how?", "answer: so"], id="no request is text"),
        pytest.param(b"id,text\n1,a\n", "row", ["a"], id="CSV by its header"),
        pytest.param(b"a,b\nc,d\n", "line", ["a,b", "c,d"], id="no CSV without names of columns"),
        pytest.param(b"5\ntrue\nnull\n", "line", ["5", "true", "null"], id="scalars are text"),
    ],
)
def test_auto_detects_the_format_of_stdin(data: bytes, kind: str, texts: list[str]) -> None:
    reading = read(data)
    assert reading.texts == texts
    assert {document.source.kind for document in reading.documents} <= {kind}


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("a.jsonl", b'{"text":"a"}\n', ["a"]),
        ("a.ndjson.gz", gzip.compress(b'{"text":"a"}\n', mtime=0), ["a"]),
        ("a.json", b'["a"]', ["a"]),
        ("A.JSON.ZST", zstd.compress(b'["a"]'), ["a"]),
        ("a.yml", b"# c\n- a\n", ["a"]),
        ("a.csv", b"text\na\n", ["a"]),
        ("a.tsv", b"id\ttext\n1\ta\n", ["a"]),
        ("a.txt", b'{"text":"a"}\n', ['{"text":"a"}']),
        ("a.md", b'{"text":"a"}\n', ["a"]),
        ("noname", b'{"text":"a"}\n', ["a"]),
    ],
)
def test_the_extension_gives_the_format_and_without_one_the_content_does(
    tmp_path: Path, name: str, data: bytes, texts: list[str]
) -> None:
    (tmp_path / name).write_bytes(data)
    assert read(b"never read", str(tmp_path / name)).texts == texts


@pytest.mark.parametrize("lines", [1, 3, 40_000])
def test_compressed_input_reads_like_plain_input(lines: int) -> None:
    data = b"".join(b'{"text":"line %d"}\n' % number for number in range(lines))
    half = len(data) // 2
    plain = read(data)
    for packed in (
        gzip.compress(data),
        gzip.compress(data[:half]) + gzip.compress(data[half:]),
        zstd.compress(data),
        zstd.compress(data[:half]) + zstd.compress(data[half:]),
    ):
        assert read(packed).raws == plain.raws


def test_a_json_line_keeps_its_own_bytes() -> None:
    awkward = [
        b'{"n": 123456789012345678901234567890, "text" :"a", "x":1.10, "b":[ ]}',
        '{"text":"line\u2028separator"}'.encode(),
        b'{"text":"\\ud800 lone"}',
        b'{"text":"a","text":"b"}',
        b'"\\u0061"',
        b'{"text":"deep","d":' + b"[" * 1050 + b"]" * 1050 + b"}",
    ]
    reading = read(b"\r\n".join(awkward[:-1]), input_format="jsonl")
    assert reading.raws == awkward[:-1]
    assert reading.texts == ["a", "line\u2028separator", "\ufffd lone", "b", "a"]
    assert reading.report.counts == {"replaced_surrogates": 1}


def test_list_elements_keep_their_own_text_on_one_line() -> None:
    data = (
        b'[ {"text":"a",\r\n\t"n": 123456789012345678901234567890 ,\n "x":1.10, "l": [\n  1,\n  2 ] },\n "\\ud800"\n]'
    )
    raws = [b'{"text":"a", "n": 123456789012345678901234567890 , "x":1.10, "l": [1, 2 ] }', b'"\\ud800"']
    assert read(data).raws == raws
    assert read(b'{"query":"q","documents":' + data + b"}").raws == raws


def test_lines_keep_any_bytes_and_count_those_that_are_not_utf8() -> None:
    data = b"ok\n\xff\xfe\x00 bin\n\x1b[31mred\r\ncaf\xe9\n\xc3\xa9"
    reading = read(data, input_format="lines")
    assert reading.raws == [b"ok", b"\xff\xfe\x00 bin", b"\x1b[31mred\r", b"caf\xe9", b"\xc3\xa9"]
    assert reading.texts == ["ok", "\ufffd\ufffd\x00 bin", "\x1b[31mred", "caf\ufffd", "é"]
    assert reading.report.counts == {"invalid_utf8": 2}


def test_nul_records_hold_newlines() -> None:
    reading = read(b"a\nb\0 \n\0./caf\xe9\r\0", null=True)
    assert reading.raws == [b"a\nb", b"./caf\xe9\r"]
    assert reading.texts == ["a\nb", "./caf\ufffd\r"]
    assert reading.report.counts == {"invalid_utf8": 1, "blank_lines": 1}


def test_rows_keep_their_own_bytes_and_quoted_newlines() -> None:
    data = b'\xef\xbb\xbfid,text,\r\n1,"a\nb",x\r\n\r\n2,"say ""hi""",\r\n"3",c\xe2\x80\xa8d,"last"'
    reading = read(data, input_format="csv")
    assert reading.raws == [b'1,"a\nb",x', b'2,"say ""hi""",', '"3",c\u2028d,"last"'.encode()]
    assert reading.texts == ["a\nb", 'say "hi"', "c\u2028d"]
    assert reading.ids == ["1", "2", "3"]
    source = reading.documents[0].source
    assert (source.columns, source.header, source.delimiter) == (("id", "text", ""), b"id,text,", ",")
    expected = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert [load_value(document) for document in reading.documents] == expected


def test_a_cell_may_be_longer_than_the_csv_modules_limit() -> None:
    assert read(b"text\n" + b"x" * 300_000, input_format="csv").texts == ["x" * 300_000]


def test_yaml_has_core_types_only() -> None:
    data = b"""\
- {text: no, id: 0o17}
- {text: 12:30, id: 2001-12-14}
- text: &shared [yes, 1_000, .inf, -.5, 0x1F, 1e3, ~, on]
  id: !!str 7
- text: *shared
- <<: {text: merged, id: a}
  id: b
- text: !!timestamp 2001-12-14
"""
    reading = read(data, input_format="yaml")
    listed = "yes\n1_000\n.inf\n-0.5\n31\n1000.0\non"
    assert reading.texts == ["no", "12:30", listed, listed, "merged", "2001-12-14"]
    assert reading.ids == ["15", "2001-12-14", "7", None, "b", None]
    assert reading.raws[4] == b'{"id": "b", "text": "merged"}'
    assert json.loads(reading.raws[2])["text"] == ["yes", "1_000", ".inf", -0.5, 31, 1000.0, None, "on"]


def test_whole_files_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbfprint(1)\n")
    (tmp_path / "b.jsonl").write_bytes(gzip.compress(b'{"text": 1}'))
    (tmp_path / "empty").write_bytes(b"")
    names = [str(tmp_path / name) for name in ("a.py", "b.jsonl", "empty")]
    reading = read(b"from stdin", *names, "-", input_format="files")
    assert reading.texts == ["print(1)\n", '{"text": 1}', "", "from stdin"]
    assert reading.ids == [*names, "-"]
    assert reading.raws == [name.encode() for name in (*names, "-")]
    assert load_value(reading.documents[0]) == {"id": names[0]}


def test_inputs_are_numbered_through_and_stdin_is_read_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo")
    (tmp_path / "b.jsonl").write_bytes(b'{"text":"five"}\n')
    reading = read(b"three\nfour\n", str(tmp_path / "a.txt"), "-", str(tmp_path / "b.jsonl"))
    assert reading.texts == ["one", "two", "three", "four", "five"]
    assert [document.source.name for document in reading.documents][1:3] == [str(tmp_path / "a.txt"), "<stdin>"]


REQUEST = {
    "query": "q", "documents": [{"a": "x", "b": "y"}, {"b": "z"}], "rank_fields": ["b", "a"], "top_n": 2, "model": "m",
    "max_tokens_per_doc": 10, "max_chunks_per_doc": 3, "return_documents": False, "id": 7, "query_id": "q7",
}  # fmt: skip


@pytest.mark.parametrize(
    ("how", "indent"),
    [("auto", None), ("auto", 2), ("json", None), ("json", 2), ("yaml", None), ("yaml", 2), ("jsonl", None)],
)
def test_a_request_gives_its_query_fields_and_limits(how: str, indent: int | None) -> None:
    reading = read(json.dumps({**REQUEST, "topn": 1, "xyzzy": None}, indent=indent).encode(), input_format=how)
    assert reading.body == RequestOptions("q", ("b", "a"), 2, 10, 3, False, "m", "7", "q7")
    assert reading.texts == ["b: y\na: x\n", "b: z\n"]
    assert [document.title_chars for document in reading.documents] == [5, 0]
    assert reading.report.notes == [
        "unknown request key `topn` is ignored; did you mean `top_n`?",
        "unknown request key `xyzzy` is ignored",
    ]


def test_options_override_the_rank_fields_of_a_request() -> None:
    data = json.dumps(REQUEST).encode()
    assert read(data, rank_fields=("b",)).texts == ["b: y\n", "b: z\n"]
    assert read(data, text_field="b", explicit_text_field=True).texts == ["y", "z"]


def test_keys_may_follow_the_documents() -> None:
    data = b'{"documents":[{"a":"x"}],"rank_fields":["a"],"query":"late"}'
    reading = read(data)
    assert (reading.body.query, reading.texts) == ("late", ["a: x\n"])


@pytest.mark.parametrize("name", ["capital.txt", "capital.jsonl", "capital.yaml", "capital.csv"])
def test_the_capital_samples_hold_the_same_ten_documents_named_or_piped(name: str) -> None:
    path = SAMPLES / name
    lines = (SAMPLES / "capital.txt").read_text().splitlines()
    assert read(b"", str(path)).texts == lines
    piped = read(path.read_bytes(), input_format="csv" if name.endswith("csv") else "auto")
    assert piped.texts == lines
    if name != "capital.txt":
        assert piped.ids[3] == "washington-dc"


@pytest.mark.parametrize(
    ("name", "query", "count", "top_n"),
    [
        ("capital_v1.json", CAPITAL, 4, 4),
        ("capital_v2.json", CAPITAL, 5, 3),
        ("emails.json", "What emails have been about returning items?", 9, 5),
        ("cameras.json", "Looking for a cost-effective DSLR camera for beginners", 3, None),
    ],
)
def test_the_sample_requests(name: str, query: str, count: int, top_n: int | None) -> None:
    reading = read(b"", str(SAMPLES / name))
    assert (reading.body.query, len(reading.documents), reading.body.top_n) == (query, count, top_n)


def test_chunks_are_small_and_memory_is_bounded() -> None:
    reading = read(b"x\n" * 40_000)
    assert sum(reading.chunks) == 40_000
    assert max(reading.chunks) <= 8192
    big = json.dumps(["y" * 1_000_000] * 30).encode()
    assert max(read(big).chunks) <= 8


def test_lines_are_read_in_blocks_not_whole() -> None:
    class Endless(io.BytesIO):
        left = 200

        def read(self, size: int | None = -1) -> bytes:
            self.left -= 1
            return (b"z" * 99 + b"\n") * 5000 if self.left > 0 else b""

    from rerank_cli.readers import open_documents
    from rerank_cli.report import Report
    from rerank_cli.settings import InputSettings

    tracemalloc.start()
    stream = open_documents(InputSettings(), Terminal(Endless(), io.BytesIO(), io.StringIO()), Report())
    count = sum(len(chunk) for chunk in stream.chunks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 199 * 5000
    assert peak < 20_000_000  # of 100 MB


def test_a_line_longer_than_a_block_is_one_document() -> None:
    long = b"w" * 3_000_000
    assert read(long + b"\nshort\n").raws == [long, b"short"]
    assert read(b'{"text":"' + long + b'"}\n{"text":"s"}').texts == [long.decode(), "s"]


def test_load_value_reads_a_document_again() -> None:
    value = {"text": "a", "n": 123456789012345678901234567890}
    assert load_value(read(json.dumps(value).encode()).documents[0]) == value
    assert load_value(read(b'"s"').documents[0]) == "s"
    assert load_value(read(b"caf\xe9\r\n").documents[0]) == "caf\ufffd"


def test_a_query_file_is_text_without_blanks_around_it(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes(b"\xef\xbb\xbf\n What?\n\n")
    terminal = Terminal(io.BytesIO(b"from stdin\n"), io.BytesIO(), io.StringIO())
    assert read_query(str(tmp_path / "q"), terminal) == "What?"
    assert read_query("-", terminal) == "from stdin"
