"""Inputs of another format than the one they are read as, and error replies in place of hits: what the error says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from free_scorer import FreeScorer

TEXTS = {
    "jsonl": '{"id": 1, "text": "1 a"}\n{"id": 2, "text": "2 b"}\n',
    "json": '[\n  {"id": 1, "text": "1 a"},\n  {"id": 2, "text": "2 b"}\n]\n',
    "csv": "id,text\n1,1 a\n2,2 b\n",
    "tsv": "id\ttext\n1\t1 a\n2\t2 b\n",
}
SAME = {("jsonl", "json"), ("json", "jsonl"), ("json", "yaml")}  # read anyway


@pytest.fixture(autouse=True)
def _free(free: FreeScorer) -> None:
    """Scoring costs nothing; a text scores its first number."""


@pytest.mark.parametrize("named", [False, True], ids=["option", "name"])
@pytest.mark.parametrize("read_as", ["jsonl", "json", "csv", "tsv", "yaml"])
@pytest.mark.parametrize("really", TEXTS)
def test_the_hint_names_the_format_that_works(run, tmp_path: Path, really: str, read_as: str, named: bool) -> None:
    path = tmp_path / f"docs.{read_as if named else 'txt'}"
    path.write_text(TEXTS[really])
    options = () if named else ("--input-format", read_as)
    result = run("-q", "q", path, *options, "-f", "ids")
    if really == read_as or (really, read_as) in SAME or (really, read_as) == ("tsv", "csv"):
        assert (result.code, result.lines) == (0, ["2", "1"])
        return
    assert (result.code, result.out) == (3, b"")
    assert f"hint: it looks like {really.upper()}: `--input-format {really}`" in result.err
    assert run("-q", "q", path, "--input-format", really, "-f", "ids").lines == ["2", "1"]


@pytest.mark.parametrize("read_as", ["jsonl", "csv", "yaml"])
def test_other_errors_keep_their_hint(run, read_as: str) -> None:
    broken = {"csv": TEXTS["csv"] + '3,"broken\n', "jsonl": TEXTS["jsonl"] + "{broken\n", "yaml": "- a\n b: c: d\n"}
    for text in ("just words, and, commas\nmore words\n", broken[read_as]):
        assert "it looks like" not in run("-q", "q", "--input-format", read_as, stdin=text).err
    assert "it looks like" not in run("-q", "q", "--input-format", "yaml", "--text-field", "z", stdin=TEXTS["json"]).err


@pytest.mark.parametrize(
    "text", ["[\nls\ncat\n", "[\n\nls\n", "{\nls\n", "[\n[\nls\n"[2:], "[\n", "{\n  color: red;\n}\n"]
)
def test_a_lone_bracket_is_a_line_of_text(run, text: str) -> None:
    result = run("-q", "q", "-f", "lines", stdin=text)
    assert (result.code, sorted(result.lines)) == (0, sorted(line for line in text.splitlines() if line.strip()))
    assert "looks like" not in result.err


@pytest.mark.parametrize("text", ['[\n{"text": x}\n]\n', '[\n  "a",\n  "b\n', '{\n"text": x\n}\n', "[\n [1, x]\n]\n"])
def test_a_bracket_before_json_that_is_broken_is_reported(run, text: str) -> None:
    assert "looks like JSON" in run("-q", "q", "-f", "lines", stdin=text).err


@pytest.mark.parametrize("documents", [["1 a", "2 b"], [{"text": "1 a"}, {"text": "2 b"}]])
def test_a_printed_array_is_json_however_it_arrives(run, documents) -> None:
    texts = [json.dumps(documents, indent=indent).replace("[\n", "[  \r\n\n", 1) for indent in (0, 1, 4)]
    for text in texts:
        result = run("-q", "q", "-f", "ids", stdin=text)
        assert (result.code, result.lines) == (0, ["1", "0"])
    argv = [sys.executable, "-m", "rerank_cli", "-q", "a", "-f", "ids", "--keep-order", "--no-config"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin
        assert process.stdout
        for byte in texts[0].encode():
            process.stdin.write(bytes([byte]))
        process.stdin.close()
        assert process.stdout.read() == b"0\n1\n"


REPLIES = {
    "Elasticsearch": ({"error": {"root_cause": [], "type": "index_not_found_exception", "reason": "no such index [x]"},
                       "status": 404}, "no such index [x]"),
    "a gateway": ({"error": "Bad Gateway", "status": 502}, "Bad Gateway"),
    "Spring": ({"timestamp": 1, "status": 404, "error": "Not Found", "path": "/"}, "Not Found"),
    "Solr": ({"responseHeader": {"status": 400}, "error": {"msg": "undefined field x", "code": 400}}, "undefined field x"),
    "Qdrant": ({"status": {"error": "Not found: Collection `x`"}, "time": 0.1}, "Not found: Collection `x`"),
    "Vespa": ({"root": {"errors": [{"code": 3, "message": "no query"}]}}, "no query"),
    "Weaviate": ({"data": {"Get": {"A": None}}, "errors": [{"message": "no vectorizer", "path": []}]}, "no vectorizer"),
    "Meilisearch": ({"message": "Index `x` not found.", "code": "index_not_found", "type": "invalid_request",
                     "link": "https://docs"}, "Index `x` not found."),
    "OpenAI": ({"error": {"message": "bad\nkey", "type": "x", "code": None}}, "bad key"),
}  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2], ids=["line", "pretty"])
@pytest.mark.parametrize(("value", "reason"), REPLIES.values(), ids=REPLIES)
def test_an_error_reply_is_not_a_document(run, value: dict[str, object], reason: str, indent: int | None) -> None:
    result = run("-q", "q", stdin=json.dumps(value, indent=indent))
    assert (result.code, result.out) == (3, b"")
    assert f": {reason}\n" in result.err
    assert "an error reply" in result.err
    assert "--text-field" not in result.err


def test_a_field_that_is_named_is_scored_in_an_error_too(run) -> None:
    log = json.dumps(REPLIES["a gateway"][0]) + "\n"
    assert run("-q", "q", "--text-field", "error", "-f", "ids", stdin=log).lines == ["0"]
    assert run("-q", "q", "--text-field", "error", "-f", "ids", stdin=log + log).lines == ["0", "1"]
