"""Answers of search engines are recognised by their structure, their hits are ranked and come out as they were."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from engine_answers import ANSWERS, CAT, DOG, Answer
from free_scorer import FreeScorer

from rerank_cli.readers.engines import shapes

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _free(free: FreeScorer) -> None:
    """Scoring costs nothing; a text scores its first number."""


@pytest.mark.parametrize("indent", [None, 2], ids=["line", "pretty"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_hits_are_ranked_and_come_out_as_they_were(run, answer: Answer, indent: int | None) -> None:
    result = run("-q", "q", "-f", "jsonl", *answer.options, stdin=json.dumps(answer.value, indent=indent))
    assert result.code == 0, result.err
    records = result.records
    assert [record["index"] for record in records] == [1, 0]
    assert DOG in json.dumps(records[0])
    assert "looks like a response from" in result.err
    assert ("own score" in result.err) == (answer.prior is not None)
    if answer.prior:
        assert f"`--prior-field {answer.prior}`" in result.err
    if answer.ids:
        assert run("-q", "q", "-f", "ids", *answer.options, stdin=json.dumps(answer.value)).lines == ["d", "c"]


@pytest.mark.parametrize(
    "answer", [one for one in ANSWERS.values() if one.prior], ids=[k for k, v in ANSWERS.items() if v.prior]
)
def test_the_option_of_the_note_finds_the_engines_score(run, answer: Answer) -> None:
    options = ("-q", "q", "-f", "jsonl", *answer.options, "--prior-field", str(answer.prior), "--weight", "9")
    result = run(*options, stdin=json.dumps(answer.value))
    assert result.code == 0, result.err
    text = json.dumps(answer.value)
    if ("0.9" in text or "distance" in text) and '"0.5"' not in text:
        assert [record["index"] for record in result.records] == [0, 1], "the engine had the cat first"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_batch_takes_answers_as_documents_and_beside_the_query(run, answer: Answer) -> None:
    rows = [{"id": "r1", "query": "q", "documents": answer.value}]
    if isinstance(answer.value, dict) and not {"query", "id", "documents"} & set(answer.value):
        rows.append({"id": "r2", "query": "q", **answer.value})
    if answer.value and isinstance(answer.value, list) and isinstance(answer.value[0], list):
        return  # a list of lists is not a list of documents
    result = run("batch", *answer.options, stdin="".join(json.dumps(row) + "\n" for row in rows))
    assert result.code == 0, result.err
    for record in result.records:
        assert [one["index"] for one in record["results"]] == [1, 0]


def test_the_bytes_of_a_hit_are_kept(run) -> None:
    hit = '{"_id":"a", "_score":1.50, "_source":{"text":"1 é \\u00e9", "n":12345678901234567890123}}'
    result = run("-q", "q", "-f", "lines", stdin='{"hits": {"hits": [' + hit + "]}}")
    assert result.out.decode() == hit + "\n"


@pytest.mark.parametrize("answer", [{"response": {"numFound": 0, "docs": []}}, {"hits": {"total": 0, "hits": []}},
                                    {"hits": [], "query": "x", "processingTimeMs": 1}])  # fmt: skip
def test_an_answer_without_hits_is_an_empty_ranking(run, answer) -> None:
    result = run("-q", "q", "-f", "jsonl", stdin=json.dumps(answer))
    assert (result.code, result.out) == (0, b"")


def test_the_query_of_an_answer_is_used_where_no_option_gives_one(run) -> None:
    answer = {"hits": [{"id": "c", "text": CAT}], "query": "pets", "processingTimeMs": 1}
    assert run("-f", "ids", stdin=json.dumps(answer)).lines == ["c"]


def test_a_long_name_of_the_id_field_is_one_name(run) -> None:
    assert run("-q", "q", "--id-field", "name", "-f", "ids", stdin='{"name":"d","text":"2 dog"}').lines == ["d"]


HIT = {"name": "d", "body": DOG}
NAMED = {
    "path": ({"a": {"b": [HIT]}}, "a.b[]"),
    "path without brackets": ({"a": {"b": [HIT]}}, "a.b"),
    "as in jq": ({"a": {"b": [HIT]}}, ".a.b[]"),
    "an element": ({"a": [{"b": [HIT]}, {"b": 3}]}, "a[0].b[]"),
    "several lists": ({"a": [{"b": [HIT]}, {"b": []}]}, "a[].b[]"),
    "a key with a dot": ({"a.b": [HIT]}, "a.b[]"),
    "one object": ({"a": {"b": HIT}}, "a.b"),
    "the list": ([HIT], "."),
    "a list of lists": ([[HIT]], "[][]"),
}


@pytest.mark.parametrize(("value", "path"), NAMED.values(), ids=NAMED)
def test_records_names_the_list(run, tmp_path, value, path: str) -> None:
    options = ("-q", "q", "--records", path, "--text-field", "body", "--id-field", "name", "-f", "ids")
    assert run(*options, stdin=json.dumps(value)).lines == ["d"]
    assert run(*options, stdin=json.dumps(value, indent=1) * 2).lines == ["d", "d"], "several values, as jq writes them"
    (tmp_path / "a.yaml").write_text(json.dumps(value))
    assert run(*options, str(tmp_path / "a.yaml")).lines == ["d"]


def test_records_in_requests_of_a_batch(run) -> None:
    row = {"query": "q", "answer": {"found": [{"text": CAT}, {"text": DOG}]}}
    result = run("batch", "--records", "answer.found[]", stdin=json.dumps(row))
    assert [one["index"] for one in result.records[0]["results"]] == [1, 0]


WRONG = {
    "another name": ({"hits": {"rows": [HIT]}}, "hits.row[]", "there is no `row`", "did you mean `rows`?"),
    "no such name": ({"hits": [HIT]}, "x[]", "there is no `x`", "`hits`"),
    "not a list": ({"hits": {"rows": [HIT]}}, "hits[]", "`hits` is an object", "--records"),
    "too far": ({"a": [HIT]}, "a[3]", "fewer elements", ""),
}


@pytest.mark.parametrize(("value", "path", "message", "hint"), WRONG.values(), ids=WRONG)
def test_a_path_that_leads_nowhere_is_an_error(run, value, path: str, message: str, hint: str) -> None:
    result = run("-q", "q", "--records", path, stdin=json.dumps(value))
    assert (result.code, result.out) == (3, b"")
    assert message in result.err
    assert hint in result.err


@pytest.mark.parametrize("command", [("-q", "q"), ("batch",)])
def test_records_must_be_a_path(run, command: tuple[str, ...]) -> None:
    result = run(*command, "--records", "a[", stdin="{}")
    assert (result.code, result.out) == (2, b"")
    assert "--records: `a[` is not a path" in result.err


@pytest.mark.parametrize("stdin", [b"text\na\n", b"a line\n"])
def test_records_of_what_has_none_are_refused(run, tmp_path, stdin: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(stdin)
    assert run("-q", "q", "--records", "a[]", str(tmp_path / "a.csv")).code == 3
    assert run("-q", "q", "--records", "a[]", stdin=stdin).code == 3
    assert run("-q", "q", "--records", "a[]", "--input-format", "files", str(tmp_path / "a.csv")).code == 3


def follow(run, err: str, *options: str, stdin: str):
    """Run the command again with the options that its hint names."""
    option = err.split("`--records ", 1)[1].split("`", 1)[0]
    return run("-q", "q", *shlex.split(f"--records {option}"), *options, stdin=stdin)


def test_the_hint_for_an_unknown_answer_works(run) -> None:
    stdin = json.dumps({"meta": {"n": 2}, "reply": {"rows of x": [{"body": CAT}, {"body": DOG}]}})
    result = run("-q", "q", stdin=stdin)
    assert result.code == 3
    again = follow(run, result.err, stdin=stdin)
    assert "did you mean `--text-field body`?" in again.err
    assert follow(run, result.err, "--text-field", "body", stdin=stdin).code == 0


@pytest.mark.parametrize(
    "answer",
    [
        {"responses": [{"hits": {"hits": [{"_id": "a", "_source": {"text": CAT}}]}}, {"hits": {"hits": []}}]},
        {"data": {"a": {"nodes": [{"text": CAT}]}, "b": {"nodes": [{"text": DOG}]}}},
        {"data": {"Get": {"A": [{"text": CAT}], "B": [{"text": DOG}]}}},
    ],
)
def test_answers_to_several_queries_are_not_mixed(run, answer) -> None:
    result = run("-q", "q", stdin=json.dumps(answer))
    assert (result.code, result.out) == (3, b"")
    assert follow(run, result.err, stdin=json.dumps(answer)).code == 0


def test_chroma_answers_to_several_queries_are_refused(run) -> None:
    answer = {"ids": [["a"], ["b"]], "documents": [["1"], ["2"]], "metadatas": None}
    result = run("-q", "q", stdin=json.dumps(answer))
    assert result.code == 3
    assert "jq '{ids: [.ids[0]], documents: [.documents[0]]" in result.err


@pytest.mark.parametrize("name", ["results", "data"])
def test_a_reply_without_documents_is_refused(run, name: str) -> None:
    result = run("-q", "q", stdin=json.dumps({name: [{"index": 0, "relevance_score": 0.5}]}))
    assert result.code == 3
    assert "nothing to rank" in result.err


def test_a_distance_as_prior_is_warned_of(run) -> None:
    result = run("-q", "q", "--prior-field", "distance", stdin=json.dumps(ANSWERS["chroma query"].value))
    assert "`--prior-field score` is its negative" in result.err


@pytest.mark.parametrize(
    "stdin",
    [
        '{"text":"1 a","hits":{"hits":[]}}',
        '{"text":"1 a","response":{"numFound":1,"docs":[{"text":"x"}]}}\n{"text":"2 b"}',
        '[{"text":"1 a","_source":{"text":"9"},"_id":"x"}]',
    ],
)
def test_a_record_with_its_own_text_is_a_record(run, stdin: str) -> None:
    result = run("-q", "q", "-f", "jsonl", stdin=stdin)
    assert result.code == 0
    assert "shape" not in result.err
    assert {record["text"] for record in result.records} <= {"1 a", "2 b"}


def test_json_lines_of_hits(run) -> None:
    lines = "".join(json.dumps(hit) + "\n" for hit in ANSWERS["opensearch list of hits"].value)
    assert run("-q", "q", "-f", "ids", stdin=lines).lines == ["d", "c"]
    assert run("-q", "q", "-f", "ids", "--rank-fields", "_source.title,text", stdin=lines).lines[:1]


def test_our_own_lines_are_ranked_again(run) -> None:
    once = run("-q", "q", "-f", "jsonl", stdin=f"{CAT}\n{DOG}\n").out
    assert run("-q", "q", "-f", "jsonl", stdin=once).records[0]["text"] == DOG


def test_the_table_of_the_documentation_is_that_of_the_code() -> None:
    """docs/engines.md lists every shape; `tools.generate` writes it."""
    page = (ROOT / "docs" / "engines.md").read_text()
    for shape in shapes():
        if shape.records and not shape.refused:
            assert f"| {shape.name} | `{shape.records}` |" in page


@pytest.mark.parametrize("name", ["hits.json", "hits.jsonl"])
@pytest.mark.parametrize("options", [(), ("--records", "hits.hits[]", "--text-field", "_source.text")])
def test_an_answer_is_a_corpus_of_a_run(run, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    hits = [{"_id": "c", "_source": {"text": CAT}}, {"_id": "d", "_source": {"text": DOG}}]
    (tmp_path / name).write_text(json.dumps({"hits": {"hits": hits}}))
    (tmp_path / "q.tsv").write_text("q1\tpets\n")
    (tmp_path / "run.trec").write_text("q1 Q0 c 1 2 t\nq1 Q0 d 2 1 t\n")
    argv = ("--run", tmp_path / "run.trec", "--queries", tmp_path / "q.tsv", "--corpus", tmp_path / name)
    result = run("batch", *argv, *options, "-f", "trec")
    assert result.code == 0, result.err
    assert [line.split()[2] for line in result.lines] == ["d", "c"]


@pytest.mark.parametrize("lines", [False, True])
def test_documents_of_a_batch_are_an_answer(run, tmp_path: Path, *, lines: bool) -> None:
    hits = [{"_id": "c", "_source": {"text": CAT}}, {"_id": "d", "_source": {"text": DOG}}]
    text = "\n".join(map(json.dumps, hits)) if lines else json.dumps({"hits": {"hits": hits}})
    (tmp_path / "hits.jsonl").write_text(text)
    (tmp_path / "q.tsv").write_text("q1\tpets\n")
    result = run("batch", "--queries", tmp_path / "q.tsv", "--documents", tmp_path / "hits.jsonl", "-f", "trec")
    assert [line.split()[2] for line in result.lines] == ["d", "c"], result.err
