"""Options meet requests, variables, each other: what was said last and nearest counts, and what cannot count is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

REQUEST = {"query": "kettle", "documents": ["a kettle", "tea"], "return_documents": False}
LABELLED = (
    '{"id":"a","score":9.5,"text":"Bananas are rich in potassium.","relevance":0}\n'
    '{"id":"b","score":8.1,"text":"Washington, D.C. is the capital of the United States.","relevance":1}\n'
    '{"id":"c","score":1.4,"text":"Lunch is at noon.","relevance":0}\n'
)
CAPITAL = "capital of the United States"


def test_a_request_may_leave_its_documents_out_and_a_flag_brings_them_back(run) -> None:
    line = json.dumps(REQUEST)
    for command, flag in (("--json", "--documents"), ("batch", "--return-documents")):
        assert b"a kettle" not in run(command, stdin=line).out
        assert b"a kettle" in run(command, flag, stdin=line).out
    other = json.dumps({**REQUEST, "return_documents": True})
    both = run("batch", stdin=f"{line}\n{other}\n").lines
    assert ["a kettle" in row for row in both] == [False, True]


@pytest.mark.parametrize(
    "option", [("--endpoint", "https://tei.example"), ("--max-units", "0"), ("--header", "X-A: b")]
)
def test_what_belongs_to_an_endpoint_does_not_rank_with_a_local_model(run, option) -> None:
    found = run("-q", "tea", *option, stdin="tea\n")
    assert (found.code, found.out) == (2, b"")
    assert f"{option[0]} belongs to a remote endpoint, and `builtin` is a local model" in found.err
    name = "RERANK_" + option[0].removeprefix("--").upper().replace("-", "_")
    assert run("-q", "tea", stdin="tea\n", env={name: option[1]}).code == 0, "a variable may wait for its model"


@pytest.mark.parametrize("option", [("--cache-mode", "ro"), ("--cache-path", "x.db")])
def test_options_of_the_cache_need_it(run, option) -> None:
    found = run("-q", "tea", *option, stdin="tea\n")
    assert (found.code, f"{option[0]} needs --cache" in found.err) == (2, True)


def test_depth_needs_a_run(run) -> None:
    assert run("batch", "--depth", "3", stdin=json.dumps(REQUEST)).code == 2


def test_a_variable_is_named_and_not_a_flag_that_nobody_typed(run, tmp_path: Path) -> None:
    for name, value, words in [
        ("RERANK_TOP_N", "ten", "RERANK_TOP_N: `ten` is not a whole number"),
        ("RERANK_FORMAT", "jsn", "RERANK_FORMAT: unknown value `jsn`"),
        ("RERANK_THREADS", "5000", "RERANK_THREADS: `5000` is too large"),
    ]:
        found = run("-q", "tea", stdin="tea\n", env={name: value})
        assert (found.code, words in found.err) == (2, True), found.err
    (tmp_path / "a.toml").write_text("threads = 5000\n")
    found = run("-q", "tea", "--config", tmp_path / "a.toml", stdin="tea\n")
    assert (found.code, "a.toml" in found.err, "threads: 5000 is too large" in found.err) == (2, True, True)


def test_the_name_of_an_output_that_was_typed_beats_a_configured_format(run, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert run("-q", "tea", "-o", target, stdin="tea\n", env={"RERANK_FORMAT": "table"}).code == 0
    assert json.loads(target.read_text())["results"]
    assert run("-q", "tea", "-o", target, "-f", "ids", stdin="tea\n").code == 0
    assert target.read_text() == "0\n"


@pytest.mark.parametrize("form", ["csv", "ids", "trec"])
def test_explain_is_told_where_it_shows_nothing(run, form) -> None:
    found = run("-q", "tea", "--explain", "-f", form, stdin="tea\n")
    assert (found.code, f"--explain has no effect on {form}" in found.err) == (0, True)


def test_blank_lines_are_told_where_lines_should_stand_side_by_side(run) -> None:
    found = run("-q", "tea", "--keep-order", "-f", "tsv", stdin="boiling water\n\nkettle for tea\n")
    assert "blank lines are left out (1)" in found.err
    assert "blank" not in run("-q", "tea", stdin="boiling water\n\nkettle for tea\n").err


# --- the form of the output is the input's, whichever documents are left -----------------------------------------------


def test_nothing_left_has_the_form_of_something_left(run, tmp_path: Path) -> None:
    assert run("-q", "tea", "--min-score", "0.9999", "-f", "tsv", stdin="a\nb\n").out == b""
    (tmp_path / "b.csv").write_text("id,text\n1,tea\n")
    assert run("-q", "tea", tmp_path / "b.csv", "--min-score", "0.9999").text == "id,text,index,rank,relevance_score\n"
    (tmp_path / "l.txt").write_text("kettle\n")
    for top in ("1", "2"):
        mixed = run("-q", "kettle", tmp_path / "b.csv", tmp_path / "l.txt", "-n", top)
        assert all("relevance_score" in record for record in mixed.records)


def test_a_tsv_row_of_empty_fields_keeps_its_place(run, tmp_path: Path) -> None:
    (tmp_path / "e.tsv").write_text("id\ttext\n1\t\n\t\n3\ttea\n")
    found = run("-q", "tea", tmp_path / "e.tsv", "--json").json["results"]
    assert [hit["index"] for hit in found] == [2, 0, 1]


# --- what rank prints, eval reads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--result-key", "rr")])
def test_eval_measures_the_ranking_and_not_the_retrievers_own_score(run, more) -> None:
    ranked = run("-q", CAPITAL, "-f", "jsonl", *more, stdin=LABELLED).out
    found = run("eval", "--measure", "RR", "-f", "json", "-", stdin=ranked)
    assert b"1.0" in found.out, found.out


def test_before_and_after_look_at_the_ranking_also_in_input_order(run) -> None:
    found = run("-q", CAPITAL, "--keep-order", "-f", "ids", stdin=LABELLED)
    assert "RR@10 0.5000 → 1.0000" in found.err


def test_eval_reads_what_batch_took(run, tmp_path: Path) -> None:
    odd = '{"id":"q","query":"tea \\ud800","documents":[{"id":12345678901234567890123,"text":"tea pot"},{"id":true,"text":"sofa"}],"relevance":[1,0]}'
    (tmp_path / "l.jsonl").write_text(odd)
    ranked = run("batch", tmp_path / "l.jsonl").out
    found = run("eval", "--qrels", tmp_path / "l.jsonl", "--measure", "RR", "-f", "json", "-", stdin=ranked)
    assert found.code == 0, found.err
    assert b"1.0" in found.out


def test_batch_over_a_corpus_scores_what_rank_scores(run, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"_id":"d1","sku":12345678901234567890123456789,"text":"boils"}\n')
    (tmp_path / "q.tsv").write_text("qid\ttext\nq\tkettle\n")
    (tmp_path / "run").write_text("q Q0 d1 1 1.0 x\n")
    argv = ("--run", tmp_path / "run", "--queries", tmp_path / "q.tsv", "--corpus", tmp_path / "c.jsonl")
    [row] = run("batch", *argv, "--rank-fields", "sku,text", "--explain").records
    [hit] = run("-q", "kettle", "--rank-fields", "sku,text", "--json", "--explain", tmp_path / "c.jsonl").json[
        "results"
    ]
    assert row["results"][0]["explain"]["text"] == hit["explain"]["text"]
    assert row["results"][0]["relevance_score"] == hit["relevance_score"]
