"""Malformed requests, records, tables and field names get a message that names the problem and a hint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from free_scorer import FreeScorer


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current directory, with one document; scoring costs nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.jsonl").write_text('{"id":"a","text":"1 a"}\n')


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "markdown", "lines", "tsv", "ids"])
def test_invalid_utf8_is_reported_with_what_was_written(run, form: str) -> None:
    result = run("-q", "q", "-f", form, stdin=b"1 caf\xe9\n")
    assert "1 line holds invalid UTF-8: scored with replacement characters\n" in result.err
    altered = "\ufffd".encode() in result.out
    assert altered == ("written as replacement characters" in result.err)
    assert altered == (form in {"json", "jsonl", "csv", "markdown"})


@pytest.mark.parametrize(
    ("value", "what", "hint"),
    [
        ("1e999", "is infinite, or beyond the range of a double", "lowest score"),
        ("-1e999", "is infinite, or beyond the range of a double", "lowest score"),
        ("1" + "0" * 400, "is infinite, or beyond the range of a double", "lowest score"),
        ('"nan"', "is NaN", "lowest score"),
        ('"high"', "is not a number: 'high'", ""),
        ("true", "must be a number, not a boolean", ""),
        ("[1]", "must be a number, not a list", ""),
    ],
)
def test_a_prior_score_that_is_not_finite_is_refused(run, value: str, what: str, hint: str) -> None:
    rows = f'{{"text":"1 a","s":0.5}}\n{{"text":"2 b","s":{value}}}\n'
    result = run("-q", "q", "--prior-field", "s", stdin=rows)
    assert result.code == 3
    assert f"<stdin>:2: prior field `s` {what}" in result.err
    assert hint in result.err


@pytest.mark.parametrize("query", [(), ("-q", "dog")], ids=["", "query"])
@pytest.mark.parametrize(
    ("request_", "what", "hint"),
    [
        ('{"query":"cat","documents":"1 cat"}', "`documents` must be a list, not a string", '"documents": ["1 cat"]'),
        ('{"query":"cat","documents":{}}', "`documents` must be a list, not an object", "texts or objects"),
        ('{"query":"cat","documents":null}', "`documents` must be a list, not null", "texts or objects"),
        ("query: cat\ndocuments: 1 cat\n", "`documents` must be a list, not a string", '"documents": ["1 cat"]'),
        ('{"query":"cat","top_n":1}', "neither `documents` nor `text`; it has `query`, `top_n`", 'add `"documents": ['),
        ('{"query":"cat",\n"rank_fields":["a"]}', "neither `documents` nor", 'add `"documents": ['),
        ('{"query":"cat","docs":["1 cat"]}', "neither `documents` nor `text`", "rename `docs`"),
    ],
)
def test_a_request_without_a_list_of_documents_is_refused(run, query, request_: str, what: str, hint: str) -> None:
    result = run(*query, stdin=request_)
    assert (result.code, result.out) == (3, b"")
    assert what in result.err
    assert hint in result.err
    assert result.err.startswith("rerank: error: <stdin>")


def test_a_record_that_has_a_query_is_a_record(run) -> None:
    assert run("-q", "q", stdin='{"query":"x","text":"1 a"}').records[0]["query"] == "x"
    assert run("-q", "q", "--text-field", "documents", stdin='{"query":"x","documents":"1 a"}').code == 0
    assert "--text-field passage" in run("-q", "q", stdin='{"query":"x","passage":"1 a"}').err


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ('{"text":"1 a","s":NaN}\n', "jsonl"),
        ("{'text': '1 a'}\n", "jsonl"),
        ('{"text":"1 a"},\n{"text":"2 b"}\n', "jsonl"),
        ('[{"text":"1 a"},]', "json"),
        ('[\n{"text":"1 a"},\n]', "json"),
        ('- text: 1 a\n- text: "2 b\n', "yaml"),
        ("[INFO] 1 a\n", None),
        ("{name} and {x: 1}\n", None),
        ("- 1 a\n- 2 b\n", None),
    ],
)
def test_lines_that_look_like_records_get_a_note(run, text: str, like: str | None) -> None:
    result = run("-q", "q", stdin=text)
    assert result.code == 0
    assert sorted(result.lines) == sorted(text.splitlines())
    assert ("note: <stdin> looks like" in result.err) == (like is not None)
    if like:
        assert f"`--input-format {like}` shows what is wrong" in result.err
        assert run("-q", "q", "--input-format", like, stdin=text).code == 3
    assert "looks like" not in run("-q", "q", "--input-format", "lines", stdin=text).err


def test_utf16_is_recognised_whatever_the_file_name(run, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_bytes("1 a\n".encode("utf-16"))
    assert run("-q", "q", "w.txt").out == b"1 a\n"
    assert run("-q", "q", "w.txt", "--input-format", "lines").out == b"1 a\n"


@pytest.mark.parametrize(
    ("text", "form", "what", "hint"),
    [
        ("id;text\nx\n", "csv", "the header is one column, `id;text`; is `;` the delimiter?", "`--delimiter ';'`"),
        ("id\ttext\nx\n", "csv", "is the tab the delimiter?", "`--input-format tsv`"),
        ("id,text\nx,1 a\n", "tsv", "is `,` the delimiter?", "`--input-format csv`"),
        ("id,text\rx,1 a\r", "csv", "a carriage return inside a row", "tr '\\r' '\\n'"),
        (" text ,id\n1 a,x\n", "csv", "it has ` text `, `id`", "`--text-field ' text '`"),
    ],
)
def test_tables_with_another_delimiter_or_line_end_get_a_hint(run, text: str, form: str, what: str, hint: str) -> None:
    result = run("-q", "q", "--input-format", form, stdin=text)
    assert (result.code, result.out) == (3, b"")
    assert what in result.err
    assert hint in result.err


def test_one_column_may_have_any_name(run) -> None:
    found = run("-q", "q", "--input-format", "csv", "--text-field", "a;b", stdin="a;b\n1 x\n")
    assert found.code == 0
    assert run("-q", "q", "--input-format", "csv", "--prior-field", "s", stdin="text,s\n1 a,\n").err.startswith(
        "rerank: error: <stdin>:2: prior field `s` is empty"
    )


def test_a_bad_document_of_a_list_is_reported_by_index_or_line(run) -> None:
    assert "<stdin>:1: documents[2]: a document is" in run("-q", "q", stdin='["1 a", "2 b", 3]').err
    assert "<stdin>:3: a document is" in run("-q", "q", stdin='["1 a",\n"2 b",\n3]').err


def test_a_fractional_top_n_is_refused(run) -> None:
    assert "of at least 1, not 2.5" in run(stdin='{"query":"q","documents":["1 a"],"top_n":2.5}').err


@pytest.mark.parametrize("name", ["--text-field", "--id-field", "--prior-field"])
def test_an_empty_field_name_is_refused(run, name: str) -> None:
    result = run("-q", "q", "docs.jsonl", name, "")
    assert (result.code, f"{name} names no field" in result.err) == (2, True)


@pytest.mark.parametrize(
    "weight",
    [("--fusion", "rrf", "--weight", "-1"), ("--fusion", "weighted", "--weight", "1.5")],
    ids=["rrf", "weighted"],
)
def test_a_weight_that_reverses_scores_is_refused(run, weight) -> None:
    result = run("-q", "q", "--prior-field", "s", *weight, stdin='{"text":"1 a","s":1}')
    assert (result.code, "--weight: " in result.err) == (2, True)


@pytest.mark.parametrize("form", ["ids", "lines"])
def test_paths_are_written_byte_for_byte(run, tmp_path: Path, form: str) -> None:
    names = [os.fsdecode(b"\xff.txt"), "two\nlines.txt"]
    for name in names:
        (tmp_path / name).write_text("1 a")
    result = run("-q", "q", "--input-format", "files", "-f", form, *names)
    assert result.out == b"\xff.txt\ntwo\\nlines.txt\n"
    assert run("-q", "q", "--input-format", "files", "-f", form, "-z", *names).out == b"\xff.txt\0two\nlines.txt\0"


def test_a_json_document_named_jsonl_is_read_or_gets_a_hint(run, tmp_path: Path) -> None:
    for text in ('{\n"text":"1 a"\n}\n', '[\n{"text":"1 a"}\n]\n', "[\n]\n"):
        (tmp_path / "d.jsonl").write_text(text)
        assert run("-q", "q", "d.jsonl").code == 0
    (tmp_path / "d.jsonl").write_text('[{"text":"1 a"}]')
    result = run("-q", "q", "d.jsonl")
    assert (result.code, "`--input-format json`" in result.err) == (3, True)
    assert run("-q", "q", "--input-format", "json", "d.jsonl").code == 0


def test_nan_and_infinity_are_reported_with_their_line(run, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text('[{"text":"1 a NaN"},\n{"text":"2 b","s":NaN}]')
    told = "rerank: error: d.json:2: not valid JSON: a number may not be NaN (column 19)\nhint: JSON has no such number: write `null` instead\n"
    assert run("-q", "q", "d.json").err == told
    (tmp_path / "r.json").write_text('{"query":"q \\" NaN",\n"documents":[\n"a", -Infinity]}')
    told = "rerank: error: r.json:3: not valid JSON: a number may not be -Infinity (column 6)\nhint: JSON has no such number: write `null` instead\n"
    assert run("r.json").err == told


def test_all_misspelt_fields_are_corrected_in_one_hint(run) -> None:
    result = run("-q", "q", "--rank-fields", "title,body", stdin='{"Title":"x","Body":"y","n":1}')
    assert "did you mean `--rank-fields Title,Body`?" in result.err


def test_requests_may_differ_in_what_an_option_overrides(run, tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"query":"a","top_n":1,"id":"x","documents":["1 a","2 b"]}')
    (tmp_path / "2.json").write_text('{"query":"b","top_n":2,"id":"y","documents":["3 c"]}')
    assert [each["text"] for each in run("-q", "q", "-n", "9", "1.json", "2.json").records] == ["3 c", "2 b", "1 a"]
    assert "`query` differs" in run("-n", "9", "1.json", "2.json").err
    assert "`top_n` differs" in run("-q", "q", "1.json", "2.json").err


def test_an_empty_file_name_is_refused(run) -> None:
    result = run("-q", "q", "")
    assert (result.code, "the name of a file is empty" in result.err) == (3, True)
