"""The writers on the command line, with the real reader, pipeline and model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

QUERY = ("--query", "capital of the United States")
RECORDS = b"""{"id": "nv", "text": "Carson City is the capital of Nevada.", "n": 1.10}
{"id": "dc", "text": "Washington, D.C. is the capital of the United States.", "big": 123456789012345678901234567890}
"""


def test_records_come_out_with_three_keys_in_a_new_order(run) -> None:
    result = run(*QUERY, stdin=RECORDS)
    first, second = result.out.splitlines()
    dc = b'{"id": "dc", "text": "Washington, D.C. is the capital of the United States.", "big": 123456789012345678901234567890,'
    assert first.startswith(dc + b'"index":1,"rank":1,"relevance_score":0.')
    assert b'"n": 1.10,"index":0,"rank":2,' in second


def test_ranking_a_ranking_replaces_the_keys_with_one_warning(run) -> None:
    once = run(*QUERY, "-f", "jsonl", stdin=RECORDS)
    twice = run(*QUERY, stdin=once.out)
    assert [record["rank"] for record in twice.records] == [1, 2]
    assert [record["index"] for record in twice.records] == [0, 1]
    assert twice.out.count(b'"rank"') == 2
    assert twice.err.count("already had a result key") == 1


def test_lines_are_written_byte_for_byte(run) -> None:
    lines = b"src/a.bin:\xff\xfe\x00binary\nThe capital of the United States is Washington\r\nno newline at the end"
    result = run(*QUERY, stdin=lines)
    assert result.code == 0
    assert sorted(result.out.split(b"\n")) == sorted([*lines.split(b"\n"), b""])
    assert result.out.startswith(b"The capital of the United States is Washington\r\n")


def test_a_terminal_gets_a_table_and_a_pipe_does_not(run) -> None:
    shown = run(*QUERY, stdin=RECORDS, tty={"stdout"}, columns=80, env={"NO_COLOR": "1"})
    assert shown.lines[0].split() == ["#", "score", "id", "document"]
    assert shown.lines[1].startswith("1  0.")
    assert run(*QUERY, stdin=RECORDS).out.startswith(b"{")


def test_a_file_gets_the_format_of_its_name(run, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert run(*QUERY, "-o", target, stdin=RECORDS).out == b""
    assert [result["index"] for result in json.loads(target.read_bytes())["results"]] == [1, 0]


def test_an_id_that_a_trec_run_cannot_hold_leaves_stdout_empty(run) -> None:
    result = run(*QUERY, "-f", "trec", stdin=b'{"id":"a b","text":"x"}\n')
    assert (result.code, result.out) == (3, b"")
    assert "white space" in result.err
    assert "hint:" in result.err


@pytest.mark.parametrize("form", ["jsonl", "json", "lines", "ids", "csv", "tsv", "markdown", "trec", "table"])
def test_every_format_accepts_no_documents(run, form: str) -> None:
    result = run(*QUERY, "-f", form, stdin=b"\n")
    assert result.code == 0


def test_a_closed_pipe_ends_quietly_and_a_full_disk_is_an_error(home: Path) -> None:
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "rerank_cli", *QUERY]
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(command, input=RECORDS, stdout=written, stderr=subprocess.PIPE, env=env, check=False)
    os.close(written)
    assert (done.returncode, done.stderr) == (0, b"")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, input=RECORDS, stdout=full, stderr=subprocess.PIPE, env=env, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith(b"rerank: error: cannot write to stdout: No space left on device\nhint: ")


def test_an_empty_result_keeps_the_shape_of_its_format(run, tmp_path: Path) -> None:
    assert run("-q", "tea", "--min-score", "0.9999", "-f", "tsv", stdin="a\nb\n").out == b""
    (tmp_path / "b.csv").write_text("id,text\n1,tea\n")
    assert run("-q", "tea", tmp_path / "b.csv", "--min-score", "0.9999").text == "id,text,index,rank,relevance_score\n"
    (tmp_path / "l.txt").write_text("kettle\n")
    for top in ("1", "2"):
        mixed = run("-q", "kettle", tmp_path / "b.csv", tmp_path / "l.txt", "-n", top)
        assert ["relevance_score" in record for record in mixed.records] == [True] * int(top)


def test_a_tsv_row_of_empty_fields_keeps_its_place(run, tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text("id\ttext\n1\t\n\t\n3\ttea\n")
    found = run("-q", "tea", tmp_path / "e.tsv", "--json").json["results"]
    assert [hit["index"] for hit in found] == [2, 0, 1]
