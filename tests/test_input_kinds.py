"""Tables, JSON streams, encodings, compressed and binary files: read right, or refused with the way out."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import pickle
import shlex
import sqlite3
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from free_scorer import FreeScorer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers_support import read, zstd

from rerank_cli.compression import decompress, program_of
from rerank_cli.readers.binary import file_type
from rerank_cli.readers.delimiters import numbered

PACKED = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}
ROWS = [("1", 'a "quoted" one\nover two lines, with a comma'), ("2", "plain; text | with\tsigns"), ("3", "")]


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def table(sign: str, header: str = "id,text", end: str = "\n") -> str:
    quoted = [[f'"{value.replace(chr(34), chr(34) * 2)}"' for value in row] for row in ROWS]
    return end.join([header.replace(",", sign), *(sign.join(row) for row in quoted)]) + end


# Tables


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_recognised_in_a_pipe(sign: str, end: str) -> None:
    reading = read(table(sign, end=end).encode())
    assert reading.texts == [text for _, text in ROWS]
    assert reading.ids == ["1", "2", "3"]
    assert reading.report.notes == []


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_a_csv_file_has_the_delimiter_that_its_rows_fit(tmp_path: Path, sign: str) -> None:
    (tmp_path / "x.csv").write_text(table(sign))
    assert read(b"", "x.csv").texts == [text for _, text in ROWS]


def test_rows_of_psql_go_through_a_pipe_whole(run) -> None:
    data = 'id,subject,body\n63,Refund,"it broke,\n""twice"""\n70,Address,moved\n'
    result = run("-q", "q", "--rank-fields", "subject,body", stdin=data)
    assert (result.code, result.err) == (0, "")
    assert result.text.startswith("id,subject,body,index,rank,relevance_score\n")
    assert '63,Refund,"it broke,\n""twice""",0,' in result.text
    missing = run("-q", "q", "--on-missing", "error", stdin=data)
    assert (missing.code, "--text-field body" in missing.err) == (3, True)


def test_the_line_of_excel_names_the_delimiter(run, tmp_path: Path) -> None:
    data = "sep=;\r\nid;text\r\n1;a, b\r\n"
    assert read(data.encode()).texts == ["a, b"]
    (tmp_path / "x.csv").write_text(data, newline="")
    assert run("-q", "q", "x.csv").lines[0] == "id;text;index;rank;relevance_score"
    assert read(b"sep=\t\nid\ttext\n1\tx\n").texts == ["x"]


@pytest.mark.parametrize(
    ("said", "sign"), [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("|", "|"), ("^", "^"), ("TAB", "\t")]
)
def test_a_delimiter_can_be_said(run, said: str, sign: str) -> None:
    result = run("-q", "q", "--delimiter", said, "-f", "jsonl", stdin=f"k{sign}text\n1{sign}a,b\n")
    assert (result.code, result.records[0]["text"]) == (0, "a,b")


@pytest.mark.parametrize("said", ["", ";;", "é", '"'])
def test_a_delimiter_is_one_character(run, said: str) -> None:
    result = run("-q", "q", "--delimiter", said, stdin="a\n")
    assert (result.code, "hint: one character" in result.err) == ((2, True))


def test_a_delimiter_is_for_tables_only(run) -> None:
    assert run("-q", "q", "--delimiter", ";", "--input-format", "jsonl", stdin="a\n").code == 2


def test_columns_of_the_same_name_are_numbered(run) -> None:
    result = run("-q", "q", "-f", "jsonl", stdin="id,name,id,text\n1,a,2,b c\n")
    assert [result.records[0][key] for key in ("id", "id_2")] == ["1", "2"]
    assert "columns of the same name are numbered: `id_2`" in result.err
    table_out = run("-q", "q", stdin="id,name,id,text\n1,a,2,b c\n")
    assert table_out.lines[0] == "id,name,id_2,text,index,rank,relevance_score"


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "", "b"]), max_size=9))
def test_numbered_names_differ_and_keep_what_is_alone(columns: list[str]) -> None:
    names = numbered(columns)
    assert len(set(names)) == len(columns)
    assert all(new == old for new, old in zip(names, columns, strict=True) if columns.count(old) == 1)


def test_a_table_with_broken_rows_gets_a_note_that_works(run) -> None:
    data = "id,text\n1,a, b\n2,c\n"
    result = run("-q", "q", stdin=data)
    assert "looks like a table with columns" in result.err
    assert result.code == 0
    assert "<stdin>:2: the row has 3 fields" in run("-q", "q", "--delimiter", ",", stdin=data).err
    assert run("-q", "q", "--input-format", "lines", stdin=data).err == ""


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_every_table_with_known_columns_is_read_whole(rows: list[tuple[str, str]], sign: str) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace('"', '""') + '"'

    body = "".join(sign.join(map(quoted, row)) + "\n" for row in rows)
    reading = read(f"id{sign}text\n{body}".encode())
    assert reading.texts == [text for _, text in rows]


# Streams of JSON values

VALUES: list[dict[str, Any]] = [{"id": "a", "text": "one\ntwo"}, {"id": "b", "text": "{ }"}, {"id": "c", "text": "]"}]


@pytest.mark.parametrize("name", ["-", "x", "x.jsonl", "x.json", "x.ndjson"])
@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(value, indent=2) for value in VALUES),
        "".join(map(json.dumps, VALUES)),
        "  ".join(map(json.dumps, VALUES)) + "\n",
        json.dumps(VALUES[0]) + "\n" + "\n".join(json.dumps(value, indent=2) for value in VALUES[1:]),
        json.dumps(VALUES[:1], indent=1) + "\n" + json.dumps(VALUES[1:], indent=1),
        json.dumps(VALUES, indent=2),
    ],
    ids=["pretty", "joined", "blanks", "mixed", "lists", "list"],
)
def test_values_are_read_as_jq_reads_them(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    reading = read(text.encode()) if name == "-" else read(b"", name)
    assert reading.ids == ["a", "b", "c"]
    assert [json.loads(raw) for raw in reading.raws] == VALUES
    assert all(b"\n" not in raw for raw in reading.raws)


def test_values_behind_json_lines_are_placed(run) -> None:
    data = '{"text":"a"}\n{"text":\n"b"\n}\n{"text":\n"c",\n}\n'
    result = run("-q", "q", stdin=data)
    assert result.code == 3
    assert "<stdin>:" in result.err
    assert "not valid JSON" in result.err
    missing = run("-q", "q", "--on-missing", "error", stdin='{"text":"a"}\n{\n"text":"b"\n}\n{\n"x":1\n}\n')
    assert "<stdin>:5: field `text` is missing" in missing.err


def test_a_request_among_other_values_is_refused(run) -> None:
    data = '{\n"query":"q","documents":["a"]\n}\n{\n"query":"q","documents":["a"]\n}\n'
    result = run("-q", "q", stdin=data)
    assert (result.code, "`rerank batch` takes many requests" in result.err) == (3, True)


@pytest.mark.parametrize("text", ["[1]\n[2]\n", '["a"]\n["b"]\n', "{\n  a: 1\n}\n", "{\n", "[\n"])
def test_what_only_begins_like_json_is_text(text: str) -> None:
    assert {document.source.kind for document in read(text.encode()).documents} == {"line"}


def test_requests_and_corpora_over_several_lines(run, tmp_path: Path) -> None:
    requests = [{"id": str(n), "query": "q", "documents": [f"{n} a", "0 b"], "relevance": [1, 0]} for n in range(3)]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(request, indent=2) for request in requests))
    result = run("batch", "r.jsonl", "-o", "out.jsonl")
    assert (result.code, len(Path("out.jsonl").read_text().splitlines())) == (0, 3)
    assert run("eval", "--qrels", "r.jsonl", "out.jsonl").code == 0
    corpus = [{"_id": f"d{n}", "text": f"{n} a"} for n in range(2)]
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps(record, indent=2) for record in corpus))
    (tmp_path / "run").write_text("1 Q0 d0 1 2.0 x\n1 Q0 d1 2 1.0 x\n")
    (tmp_path / "q.tsv").write_text("1\tq\n")
    ranked = run("batch", "--run", "run", "--queries", "q.tsv", "--corpus", "c.jsonl", "-f", "trec")
    assert (ranked.code, len(ranked.lines)) == (0, 2)
    (tmp_path / "bad.jsonl").write_text('{\n"query":"q","documents":["a"]\n}\n{\n"query":1\n}\n')
    assert "bad.jsonl:4: " in run("batch", "bad.jsonl").err


# Encodings


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "text"),
    [("a.txt", "größe\n"), ("a.csv", "id;text\n1;größe x\n"), ("a.jsonl", '{"text":"größe"}\n'), ("a.json", '["größe"]'), ("a", "größe 日本\n")],
)  # fmt: skip
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, name: str, text: str, encoding: str) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    expected = read(text.encode(), input_format={"a": "lines", "a.txt": "lines"}.get(name, name[2:]))
    assert read(b"", name).texts == expected.texts


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be", "iso-8859-15", "cp437"])
def test_an_encoding_can_be_said(run, tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes("id,text\n1,é ü\n".encode(encoding))
    (tmp_path / "q.txt").write_bytes("é".encode(encoding))
    assert run("-q", "q", "--encoding", encoding, "a.csv").lines[1].startswith("1,é ü,0,1,")
    assert run("--query-file", "q.txt", "--encoding", encoding, "a.csv").code == 0
    (tmp_path / "r.jsonl").write_bytes('{"query":"é","documents":["ü"]}\n'.encode(encoding))
    assert "ü" in run("batch", "--encoding", encoding, "r.jsonl").text
    (tmp_path / "q.tsv").write_bytes("1\té\n".encode(encoding))
    crossed = run("batch", "--encoding", encoding, "--queries", "q.tsv", "--documents", "a.csv")
    assert (crossed.code, "é ü" in crossed.text) == (0, True)


@pytest.mark.parametrize(
    "argv", [("rank", "-q", "q", "x.csv"), ("batch", "x.jsonl"), ("eval", "--qrels", "x.jsonl", "x.jsonl")]
)
def test_the_hint_of_other_bytes_works(run, tmp_path: Path, argv: tuple[str, ...]) -> None:
    (tmp_path / "x.csv").write_bytes("id,text\n1,“é”\n".encode("cp1252"))
    record = '{"id":"é","query":"é","documents":[{"id":"“a”","text":"a"}],"relevance":[1],"results":[{"id":"“a”","relevance_score":1}]}\n'
    (tmp_path / "x.jsonl").write_bytes(record.encode("cp1252"))
    result = run(*argv)
    assert "invalid UTF-8" in result.err
    assert result.code == 6 or "--encoding cp1252" in result.err  # the rows of a batch have no hints
    assert run(*argv, "--encoding", "cp1252").code == 0


def test_an_encoding_must_exist(run) -> None:
    for argv in (("-q", "q"), ("batch",), ("eval", "--qrels", "-", "x")):
        result = run(*argv, "--encoding", "cp12522", stdin="a\n")
        assert (result.code, "did you mean `cp1252`?" in result.err) == (2, True)
    assert run("-q", "q", "--encoding", "hex", stdin="a\n").code == 2
    assert "not utf-16: truncated data" in run("-q", "q", "--encoding", "utf-16", stdin=b"abc").err


# Compressed and binary files


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_input_and_output(run, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.csv.{suffix}").write_bytes(PACKED[suffix](table(";").encode()))
    packed = (tmp_path / f"a.csv.{suffix}").read_bytes()
    assert read(packed).texts == read(b"", f"a.csv.{suffix}").texts == [text for _, text in ROWS]
    name = f"o.jsonl.{suffix}"
    assert run("-q", "q", f"a.csv.{suffix}", "-o", name).code == 0
    written = (tmp_path / name).read_bytes()
    program = program_of(written)
    assert program
    assert len(decompress(program, io.BytesIO(written)).stream.read().splitlines()) == len(ROWS)
    assert run("-q", "q", name, "-f", "ids").code == 0
    (tmp_path / "r.jsonl").write_text('{"query":"q","documents":["a","b"]}\n' * 3)
    assert run("batch", "r.jsonl", "-o", f"b.jsonl.{suffix}").code == 0
    assert run("eval", "--qrels", f"b.jsonl.{suffix}", f"b.jsonl.{suffix}").code in {0, 3}
    unpacked = decompress(program, io.BytesIO((tmp_path / f"b.jsonl.{suffix}").read_bytes())).stream.read()
    assert unpacked == run("batch", "r.jsonl").out
    (tmp_path / "cut").write_bytes(packed[:-6])
    cut = run("-q", "q", "cut", "--input-format", "csv")
    assert (cut.code, f"`{program} -t` checks it" in cut.err) == (3, True)


@pytest.mark.parametrize("name", ["x.parquet", "x.xlsx", "x.pdf", "x.docx", "x.sqlite", "x.parquet.gz"])
def test_a_binary_format_is_not_written(run, name: str) -> None:
    for argv in (("-q", "q"), ("batch",)):
        result = run(*argv, "-o", name, stdin='{"query":"q","documents":["a"]}\n')
        assert (result.code, "hint: `-o x" in result.err, Path(name).exists()) == (3, True, False)


def office(member: str, first: str = "[Content_Types].xml") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(first, "application/vnd.oasis.opendocument.text" if first == "mimetype" else "<x/>")
        archive.writestr(member, "<x/>")
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(3))
    return out.getvalue()


def database() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE t (x)")
        return connection.serialize()


BINARY = {
    "xlsx": (office("xl/workbook.xml"), "xlsx2csv"),
    "docx": (office("word/document.xml"), "pandoc"),
    "pptx": (office("ppt/presentation.xml"), "markitdown"),
    "odt": (office("content.xml", "mimetype"), "pandoc"),
    "zip": (office("a.txt", "b.txt"), "unzip -p"),
    "tar": (archive(), "tar -xOf"),
    "tar.gz": (gzip.compress(archive()), "tar -xOf"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z x -so"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "pdftotext"),
    "sqlite": (database(), "sqlite3"),
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "tesseract"),
    "jpg": (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "tesseract"),
    "gif": (b"GIF89a\x01\0\x01\0\x80\0\0", "tesseract"),
    "elf": (b"\x7fELF\x02\x01\x01\0", "strings"),
    "exe": (b"MZ\x90\0\x03\0\0\0\x04", "strings"),
    "pickle": (pickle.dumps({"text": ["a"]}), "pickletools"),
    "pickle2": (pickle.dumps(["a"], 2), "pickletools"),
    "npy": (array(), "numpy"),
    "doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "markitdown"),
    "rtf": (b"{\\rtf1\\ansi text}", "unrtf"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_a_binary_file_is_refused_with_the_tool_that_reads_it(run, tmp_path: Path, kind: str) -> None:
    data, tool = BINARY[kind]
    (tmp_path / f"a b.{kind}").write_bytes(data)
    (tmp_path / "unnamed").write_bytes(data)
    for argv, stdin in [((f"a b.{kind}",), b""), (("unnamed",), b""), ((), data), (("--input-format", "csv"), data)]:
        result = run("-q", "q", *argv, stdin=stdin)
        assert (result.code, result.out) == (3, b"")
        assert "not text" in result.err
        assert tool in result.err
    assert shlex.quote(f"a b.{kind}") in run("-q", "q", f"a b.{kind}").err
    for argv in (("batch", "unnamed"), ("eval", "--qrels", "unnamed", "unnamed")):
        assert (run(*argv).code, tool in run(*argv).err) == (3, True)


@pytest.mark.parametrize(
    "line",
    [b"PK is a group", b"%PDF-1.7 is a format", b"GIF89a is one too", b"MZ", b"BM 25", b"ORC", b"RIFF RAFF AND MORE", b"ID3 tags",
     b"Rar! he said", b"SQLite format 3", b"PACK", b"OggS", b"Obj", b"II*", b"12345678DUCKS", b"LZIP", b"7z a.7z", b"bplist00 is",
     b"PAR1 and PARE", b"GGUF", b"BZh9 is bzip2", "ÿØÿ".encode(), b"x" * 257 + b"ustar 1"],
)  # fmt: skip
def test_a_line_that_speaks_of_a_format_is_text(line: bytes) -> None:
    assert file_type(line + b"\nmore text\n", "x") is None


def test_bytes_without_a_known_beginning_are_refused_too(run) -> None:
    noise = bytes(range(256)) * 8
    result = run("-q", "q", stdin=noise)
    assert (result.code, "this is not text" in result.err) == (3, True)
    assert run("-q", "q", "--input-format", "lines", stdin=noise).code == 0
    assert run("-q", "q", "-z", stdin=b"a\0b\0c\0" * 50).code == 0
