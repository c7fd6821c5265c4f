"""Runs, qrels and names of measures as other tools write them, evaluated from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCORES = {"q1": {"d1": 2.5, "d2": 1.25}, "q2": {"d3": 9.0, "d1": 8.5, "d2": 0.5}}
GRADES = {"q1": {"d2": 1, "d1": 0}, "q2": {"d1": 2, "d3": 1}}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ranked() -> list[tuple[str, str, int, float]]:
    return [
        (query, document, rank, score)
        for query, scores in SCORES.items()
        for rank, (document, score) in enumerate(scores.items(), 1)
    ]


def judged() -> list[tuple[str, str, int]]:
    return [(query, document, grade) for query, grades in GRADES.items() for document, grade in grades.items()]


def table(header: str, rows: list[tuple[Any, ...]], sign: str = ",") -> str:
    return "\n".join([header.replace(",", sign), *(sign.join(map(str, row)) for row in rows)]) + "\n"


TREC_RUN = "".join(f"{q} Q0 {d} {r} {s} t\n" for q, d, r, s in ranked())
TREC_QRELS = "".join(f"{q} 0 {d} {g}\n" for q, d, g in judged())
RUNS = {
    "ms marco": "".join(f"{q}\t{d}\t{r}\n" for q, d, r, _ in ranked()),
    "ms marco from 0": "".join(f"{q}\t{d}\t{r - 1}\n" for q, d, r, _ in ranked()),
    "json": json.dumps(SCORES),
    "json, indented": json.dumps(SCORES, indent=2),
    "json per query": "".join(json.dumps({q: s}) + "\n" for q, s in SCORES.items()),
    "pyterrier": table("qid,docid,docno,rank,score,query", [(q, 7, d, r - 1, s, '"a, ""b"""') for q, d, r, s in ranked()]),
    "csv by score": table("query_id,doc_id,score", [(q, d, s) for q, d, _, s in ranked()]),
    "csv by rank": table("qid,docno,rank", [(q, d, r) for q, d, r, _ in ranked()]),
    "tsv": table("qid,docno,rank,score", [(q, d, r, s) for q, d, r, s in ranked()], "\t"),
    "semicolons": table("qid,docno,score", [(q, d, s) for q, d, _, s in ranked()], ";"),
    "blanks": table("qid,docno,score", [(q, d, s) for q, d, _, s in ranked()], "  "),
    "jsonl": "".join(json.dumps({"qid": q, "docno": d, "docid": 7, "score": s}) + "\n" for q, d, _, s in ranked()),
}  # fmt: skip
QRELS = {
    "json": json.dumps(GRADES),
    "json, indented": json.dumps(GRADES, indent=1),
    "json list": json.dumps([{"query_id": q, "doc_id": d, "relevance": g} for q, d, g in judged()], indent=1),
    "csv": table("query_id,doc_id,relevance", judged()),
    "csv without header": "".join(f"{q},{d},{g}\n" for q, d, g in judged()),
    "csv, four columns": "".join(f"{q},0,{d},{g}\n" for q, d, g in judged()),
    "beir": table("query-id,corpus-id,score", judged(), "\t"),
    "pyterrier": table("qid,docno,label,iteration", [(*row, "x") for row in judged()]),
    "jsonl": "".join(json.dumps({"qid": q, "docno": d, "label": g}) + "\n" for q, d, g in judged()),
}


def values(run: Any, qrels: str, trec: str) -> Any:
    done = run("eval", "--qrels", qrels, trec, "--json", "--by-query", "--measure", "nDCG@10,RR,AP,P@1")
    assert done.code == 0, done.err
    found = done.json | {"qrels": ""}
    return json.dumps(found, sort_keys=True).replace(trec, "RUN")


@pytest.mark.parametrize("form", RUNS)
@pytest.mark.parametrize("packed", [False, True])
def test_runs_of_other_tools_are_measured_as_trecs(run, here, form, packed) -> None:
    """A11."""
    import gzip

    (here / "a.trec").write_text(TREC_RUN)
    (here / "qrels").write_text(TREC_QRELS)
    data = RUNS[form].encode()
    (here / "b.run").write_bytes(gzip.compress(data) if packed else data)
    assert values(run, "qrels", "b.run") == values(run, "qrels", "a.trec")


@pytest.mark.parametrize("form", QRELS)
def test_qrels_of_other_tools_are_read_as_trecs(run, here, form) -> None:
    (here / "a.trec").write_text(TREC_RUN)
    (here / "qrels").write_text(TREC_QRELS)
    (here / "other").write_text(QRELS[form])
    assert values(run, "other", "a.trec") == values(run, "qrels", "a.trec")


def test_a_run_of_another_tool_can_be_reranked(run, here) -> None:
    (here / "c.jsonl").write_text("".join(f'{{"_id":"d{n}","text":"t{n}"}}\n' for n in (1, 2, 3)))
    (here / "q.tsv").write_text("q1\tx\nq2\ty\n")
    outputs = []
    for number, text in enumerate([TREC_RUN, *RUNS.values()]):
        (here / "b.run").write_text(text)
        done = run("batch", "--run", "b.run", "--queries", "q.tsv", "--corpus", "c.jsonl", "-f", "trec")
        assert done.code == 0, (number, done.err)
        outputs.append(done.out)
    assert set(outputs) == {outputs[0]}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("q1\td1\t7.5\n", "b.run:1: the third of 3 columns is the rank, and `7.5`", "6 columns"),
        ("q1\td1\t12\nq1\td2\t10\n", "b.run:1: the third of 3 columns is the rank", "sort by query and rank"),
        ("q1\td1\t-1\n", "b.run:1: the third of 3 columns is the rank", "6 columns"),
        ("q1\td1\t1\nq1 Q0 d2 2 3 t\n", "b.run:2: the first line has 3 columns, this line has 6", "3 in every line"),
        ("q1 Q0 d1 1 2.5\n", "b.run:1: a run has 6 columns (query Q0 document rank score tag), this line has 5", "tag"),
        ("q1 0 d1 1\n", "b.run:1: a run has 6 columns", "--qrels"),
        ("q1,d1,2.5\n", "b.run:1: a run has 6 columns", "header such as qid,docno,score"),
        ("qid,docno\nq1,d1\n", "b.run:1: the header names neither a score nor a rank", "score or rank"),
        ("qid,docno,label\nq1,d1,1\n", "b.run:1: these are judgements, not a run", "--qrels"),
        ("qid,docno,score\nq1,d1,high\n", "b.run:2: score `high` is not a finite number", "leave"),
        ("qid,docno,score\nq1,d1\n", "b.run:2: the row has 2 fields, the header has 3", "as many fields"),
        ("qid,docno,score\nq1,,2\n", "b.run:2: column `docno` is empty", "its document"),
        ('qid,docno,score\nq1,"d1" x,2\n', "b.run:2: broken quoting", "quote"),
        ("qid,docno,score,score\nq1,d1,2,3\n", "b.run:1: two columns have the same name", "own name"),
        ('{"q1": {"d1": 1},\n "q2": {"d1": }}', "b.run:2: not valid JSON", "complete"),
        (b"q1 Q0 \xe9 1 2 t\n", "b.run:1: invalid UTF-8", "iconv"),
    ],
)  # fmt: skip
def test_runs_that_are_not_understood_are_refused_with_a_hint(run, here, text, message, hint) -> None:
    """A10: errors of 3 and 5 columns had no second line."""
    (here / "b.run").write_bytes(text if isinstance(text, bytes) else text.encode())
    (here / "qrels").write_text(TREC_QRELS)
    done = run("eval", "--qrels", "qrels", "b.run")
    assert done.code == 3, done.err
    first, second = done.err.splitlines()[-2:]
    assert message in first
    assert second.startswith("hint: ")
    assert hint in second


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("q1 d1\n", "qrels:1: qrels have 4 columns", "qid,docno,label"),
        ("q1 Q0 d1 1 2.5 t\n", "qrels:1: qrels have 4 columns", "looks like a run"),
        ("qid,docno\nq1,d1\n", "qrels:1: the header names no relevance", "label"),
        ("", "qrels: holds no judgements", "right file"),
    ],
)
def test_qrels_that_are_not_understood_are_refused_with_a_hint(run, here, text, message, hint) -> None:
    (here / "qrels").write_bytes(text if isinstance(text, bytes) else text.encode())
    (here / "a.trec").write_text(TREC_RUN)
    done = run("eval", "--qrels", "qrels", "a.trec")
    assert done.code == 3, done.err
    assert message in done.err
    assert hint in done.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("ndcg_cut_10", "nDCG@10"),
        ("ndcg_cut.10", "nDCG@10"),
        ("ndcg_cut.5,10", "nDCG@5,nDCG@10"),
        ("ndcg", "nDCG"),
        ("ndcg_at_10", "nDCG@10"),
        ("NDCG@10", "nDCG@10"),
        ("recip_rank", "RR"),
        ("mrr@10", "RR@10"),
        ("mrr_cut_10", "RR@10"),
        ("P_5", "P@5"),
        ("P.5,10", "P@5,P@10"),
        ("map", "AP"),
        ("map_cut_100", "AP@100"),
        ("recall_100", "R@100"),
        ("recall_at_100", "R@100"),
        ("success_1", "Success@1"),
        ("hit_rate@5", "Success@5"),
        ("Rprec", "Rprec"),
        ("bpref", "Bpref"),
        ("set_P", "SetP"),
        ("set_recall", "SetR"),
    ],
)
def test_measures_by_the_names_of_other_tools(run, here, name, same) -> None:
    """A11: trec_eval's names were refused with the name to use."""
    (here / "a.trec").write_text(TREC_RUN)
    (here / "qrels").write_text(TREC_QRELS)
    argv = ("eval", "--qrels", "qrels", "a.trec", "--json", "--measure")
    done = run(*argv, name)
    assert done.code == 0, done.err
    assert done.json == run(*argv, same).json


@pytest.mark.parametrize(
    "name", ["ndcg_cut_x", "ndcg_cut_0", "P", "recip", "num_rel_ret", "iprec_at_recall_0.10", "10"]
)
def test_names_that_are_no_measures_are_refused_with_a_hint(run, here, name) -> None:
    (here / "a.trec").write_text(TREC_RUN)
    (here / "qrels").write_text(TREC_QRELS)
    assert run("eval", "--qrels", "qrels", "a.trec", "--measure", name).code == 2


names = st.text("abcdefgh0123456789-_.", min_size=1, max_size=8)
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 6))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(scores=st.dictionaries(names, st.dictionaries(names, numbers, min_size=1, max_size=4), min_size=1, max_size=3))
def test_one_run_is_measured_alike_however_it_is_written(run, here, scores) -> None:
    flat = [(query, document, score) for query, found in scores.items() for document, score in found.items()]
    (here / "qrels").write_text("".join(f"{query} 0 {document} 1\n" for query, document, _ in flat[::2]))
    written = {
        "trec": "".join(f"{q} Q0 {d} 0 {s!r} t\n" for q, d, s in flat),
        "json": json.dumps(scores),
        "csv": table("qid,docno,score", flat),
        "tsv": table("query_id,doc_id,score", flat, "\t"),
    }
    found = set()
    for text in written.values():
        (here / "b.run").write_text(text)
        found.add(values(run, "qrels", "b.run"))
    assert len(found) == 1


def test_a_value_with_line_breaks_does_not_begin_a_line_of_the_message(run, tmp_path) -> None:
    (tmp_path / "qrels").write_text('{"query_id":"q","doc_id":"d","relevance":"2\\nhint: forged"}')
    result = run("eval", "--qrels", tmp_path / "qrels", tmp_path / "qrels")
    assert result.code == 3
    assert "relevance `2\\nhint: forged` is not a whole number" in result.err


def test_half_a_surrogate_pair_in_the_ids_of_json_runs_and_qrels(run, tmp_path) -> None:
    """Replaced as in every other id. Found by fuzzing: the corpus could not be asked for such a document."""
    (tmp_path / "run.json").write_text(r'{"q0\ud800": {"d\ud800": 1.0, "d1": 2.0}}')
    (tmp_path / "qrels.json").write_text(r'{"q0\ud800": {"d\ud800": 1, "d1": 0}}')
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "bread"}\n{"_id": "d\ufffd", "text": "butter"}\n')
    (tmp_path / "queries.tsv").write_text("q0\ufffd\tbread\n", encoding="utf-8")
    done = run("eval", "--qrels", tmp_path / "qrels.json", tmp_path / "run.json", "--measure", "RR", "--json")
    assert done.code == 0, done.err
    names = ("--run", "run.json", "--queries", "queries.tsv", "--corpus", "corpus.jsonl", "--qrels", "qrels.json")
    done = run("batch", *(name if name.startswith("-") else tmp_path / name for name in names))
    assert done.code == 0, done.err
    assert "butter" in done.out.decode()
