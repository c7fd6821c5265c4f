"""`--prefilter N`: the documents with the highest BM25 for the query, against bm25s; nothing lost without being counted."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import bm25s
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import Reranker
from rerank_cli.prefilter import best_by_words
from rerank_cli.records import Document, Source
from rerank_cli.report import Report

SOURCE = Source("docs", "line")
WORDS = ["river", "bank", "loan", "money", "water", "the", "of", "Straße", "東京", "銀行", "42", "don't"]


def documents(texts: list[str]) -> list[Document]:
    return [Document(n, text.encode(), text, SOURCE, f"d{n}") for n, text in enumerate(texts)]


def kept(query: str, texts: list[str], most: int, chunk: int = 7) -> tuple[list[Document], Report]:
    report, found = Report(), documents(texts)
    chunks = (found[start : start + chunk] for start in range(0, len(found), chunk))
    return [document for part in best_by_words(query, chunks, most, report) for document in part], report


def test_the_order_is_that_of_bm25s() -> None:
    """Lucene's BM25 over texts of equal length in words and characters, so that both measure lengths alike."""
    chance = random.Random(4)
    words = [f"{letter}{number}z" for letter in "abcdefgh" for number in range(1, 8)]
    texts = [" ".join(chance.choices(words[: 8 + n % 48], k=chance.choice([4, 8, 16]))) for n in range(400)]
    query = "a1z b2z c3z e5z"
    index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
    index.index([text.split() for text in texts], show_progress=False)
    expected = index.get_scores(query.split())
    for most in (1, 10, 50, 200):
        found = [document.index for document in kept(query, texts, most)[0]]
        ranked = np.sort(expected)[::-1]
        assert len(found) == most
        assert found == sorted(found), "input order"
        if ranked[most - 1] - ranked[most] > 0.02:  # lengths in characters differ a little from lengths in words
            assert set(found) == set(np.argsort(-expected)[:most].tolist())
        assert min(expected[found]) >= ranked[most - 1] - 0.02


@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=40),
    query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
    most=st.integers(1, 12),
    chunk=st.integers(1, 9),
)
def test_what_is_kept_is_a_part_of_the_input_and_the_rest_is_counted(texts, query, most, chunk) -> None:
    found, report = kept(query, texts, most, chunk)
    everything = documents(texts)
    assert len(found) == min(most, len(texts))
    assert report.counts["prefiltered"] == len(texts) - len(found)
    assert all(document == everything[document.index] for document in found), "as they were read, source included"
    assert [d.index for d in found] == sorted({d.index for d in found})
    assert kept(query, texts, most, chunk + 1)[0] == found, "chunks do not matter"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("what are the capitals of countries", "the capital of a country"),
        ("copying files", "copies of each file"),
        ("lending", "a bank that lends"),
        ("GRÖSSE", "die größe"),
        ("東京の銀行", "銀行は駅前にある"),
        ("error 0x80070005", "failed with 0x80070005"),
        ("to be or not to be", "not to be missed"),
        ("C", "the language C is old"),
        ("naïve café", "a café"),
    ],
)
def test_a_word_is_found_in_its_other_forms_and_in_every_script(query: str, text: str) -> None:
    texts = ["nothing of the sort here"] * 5 + [text] + ["capitalism concerning fillings"] * 5
    assert kept(query, texts, 1)[0][0].text == text


def test_a_word_is_not_found_within_another() -> None:
    assert kept("art", ["a party started", "the art of war", "cartoons"], 1)[0][0].index == 1


def test_the_command_line_scores_only_what_is_kept(run, tmp_path: Path) -> None:
    lines = [f"{n}: notes about gardening and weather" for n in range(300)]
    lines[250] = "Washington, D.C. is the capital of the United States."
    lines[120] = "A capital letter begins each sentence."
    (tmp_path / "docs.txt").write_text("\n".join(lines) + "\n")
    result = run("-q", "capital of the United States", "--prefilter", "20", "--json", tmp_path / "docs.txt")
    assert result.code == 0
    assert [hit["index"] for hit in result.json["results"][:1]] == [250]
    assert len(result.json["results"]) == 20
    assert result.json["meta"]["stages"] == [{"stage": "prefilter", "documents": 300, "kept": 20}]
    assert re.search(r"280 documents that share none are not scored \(--prefilter 20\)", result.err)
    alone = run("-q", "capital of the United States", "--json", stdin=(lines[250] + "\n").encode())
    assert alone.json["results"][0]["relevance_score"] == result.json["results"][0]["relevance_score"]


def test_rows_and_fields_come_back_as_they_were_read(run, tmp_path: Path) -> None:
    rows = "".join(f'{n},title {n},"a, text {n}"\n' for n in range(50))
    (tmp_path / "docs.csv").write_text("id,title,text\n" + rows)
    found = run(
        "-q",
        "text 37",
        "--prefilter",
        "3",
        "-n",
        "1",
        "--rank-fields",
        "title,text",
        "-f",
        "csv",
        tmp_path / "docs.csv",
    )
    assert '37,title 37,"a, text 37"' in found.out.decode()
    records = [{"id": n, "body": f"body {n}", "more": [1, {"é": "\ud800"}]} for n in range(40)]
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    found = run(
        "-q", "body 21", "--prefilter", "2", "-n", "1", "--text-field", "body", "-f", "lines", tmp_path / "docs.jsonl"
    )
    assert found.out.decode() == json.dumps(records[21]) + "\n"


def test_fewer_documents_than_the_limit_are_all_scored(run) -> None:
    result = run("-q", "x", "--prefilter", "10", "--json", stdin=b"one\ntwo\n")
    assert len(result.json["results"]) == 2
    assert "stages" not in result.json["meta"]
    assert result.err == ""


def test_a_cost_is_estimated_for_what_is_kept(run) -> None:
    stdin = b"".join(b"line %d\n" % n for n in range(500))
    result = run("-q", "line 7", "--prefilter", "5", "-m", "cohere:rerank-v3.5", "--dry-run", "--json", stdin=stdin)
    assert '"documents":5' in result.out.decode().replace(" ", "")


def test_python_takes_it_too() -> None:
    texts = ["nothing"] * 30 + ["the capital of France"]
    with Reranker() as model:
        assert [hit.index for hit in model.rank("capital of France", texts, prefilter=1).hits] == [30]
        with pytest.raises(Exception, match="prefilter is 0"):
            model.rank("x", texts, prefilter=0)


def test_a_temporary_file_that_cannot_be_written_is_an_error_with_a_hint() -> None:
    """Files may have 8 KiB at most, as on a disk that is nearly full."""
    lines = "".join(f"line {n} about the capital\n" for n in range(3000))
    argv = f"ulimit -f 8; exec {sys.executable} -m rerank_cli -q capital --prefilter 5"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["bash", "-c", argv], input=lines, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "--prefilter cannot keep the documents in a temporary file" in done.stderr
    assert "TMPDIR" in done.stderr


@pytest.mark.parametrize(("texts", "query", "most", "words"), [
    (["a b", "loan", "c d"], "loans", 2, "1 document shares a word with the query; 1 document that shares none is"),
    (["loan", "loan", "c d"], "loans", 2, "2 documents share a word with the query; 1 document that shares none is"),
    (["loan", "loan", "loans d"], "loans", 2, "1 document shares fewer words with the query than others:"),
    (["loan", "loan", "loans d", "x"], "loans", 2, "2 documents share fewer words with the query than others:"),
])  # fmt: skip
def test_the_note_says_whether_what_is_left_out_shares_a_word(run, texts, query: str, most: int, words: str) -> None:
    text = "\n".join(texts)
    err = run("-q", query, "--prefilter", str(most), stdin=text).err
    assert f"note: {words} not scored (--prefilter {most})\n" in err
