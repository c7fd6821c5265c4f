"""Null, missing and empty texts are one thing in every format and command; named fields that no record has."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from readers_support import read

from rerank_cli import Reranker
from rerank_cli.errors import InputError
from rerank_cli.paths import has_path, lookup

GOOD = {"id": "good", "text": "Washington is the capital of the United States."}
ABSENT: dict[str, Any] = {
    "null": {"id": "x", "text": None},
    "missing": {"id": "x"},
    "empty": {"id": "x", "text": ""},
    "blank": {"id": "x", "text": " \n"},
    "empty list": {"id": "x", "text": []},
}
CAPITAL = ("-q", "capital of the United States")


def as_jsonl(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def as_csv(records: list[Any], delimiter: str = ",") -> str:
    out = io.StringIO()
    keys = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(out, keys, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


FORMATS: dict[str, Callable[[list[Any]], str]] = {
    "jsonl": as_jsonl,
    "json": json.dumps,
    "yaml": lambda records: yaml.safe_dump(records, allow_unicode=True),
    "csv": as_csv,
    "tsv": lambda records: as_csv(records, "\t"),
}


@pytest.mark.parametrize("form", ["jsonl", "json", "yaml"])
@pytest.mark.parametrize("record", ABSENT.values(), ids=ABSENT)
def test_a_document_without_text_comes_last_and_is_counted_once(run, form: str, record: Any) -> None:
    result = run(*CAPITAL, "--input-format", form, "-f", "ids", stdin=FORMATS[form]([record, GOOD, record]))
    assert (result.code, result.lines) == (0, ["good", "x", "x"]), result.err
    assert result.err.count("2 documents are empty: they have no score and come last") == 1


def test_a_null_in_a_list_of_documents_is_an_empty_document(run) -> None:
    for text in (json.dumps(["1 a", None]), '"1 a"\nnull\n', json.dumps({"query": "q", "documents": ["1 a", None]})):
        result = run(*CAPITAL, "--json", stdin=text)
        assert [hit["document"] for hit in result.json["results"]] == ["1 a", ""], result.err
        assert len(run(*CAPITAL, "-f", "jsonl", stdin=text).lines) == 2


@pytest.mark.parametrize("record", ABSENT.values(), ids=ABSENT)
def test_empty_documents_are_left_out_or_refused_as_asked(run, record: Any) -> None:
    text = as_jsonl([record, GOOD])
    skipped = run(*CAPITAL, "--on-missing", "skip", "--json", stdin=text)
    assert [hit["index"] for hit in skipped.json["results"]] == [1]
    assert "1 document is empty: left out (--on-missing skip)" in skipped.err
    refused = run(*CAPITAL, "--on-missing", "error", stdin=text)
    assert (refused.code, refused.out) == (3, b"")
    assert "<stdin>:1: field `text` is" in refused.err
    assert "`--on-missing empty`" in refused.err


def test_indexes_count_what_was_left_out_across_files(run, tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(as_jsonl([GOOD, {"text": None}]))
    result = run(*CAPITAL, "--on-missing", "skip", "--json", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert [hit["index"] for hit in result.json["results"]] == [0, 2]


def test_an_input_whose_records_all_lack_the_field_is_an_error_that_counts_keys(run) -> None:
    records = [{"id": n, "body": "a text"} if n < 12 else {"id": n} for n in range(40)]
    result = run(*CAPITAL, stdin=as_jsonl(records))
    assert (result.code, result.out) == (3, b"")
    assert "<stdin>: none of 40 documents has field `text`; they have `id` (40), `body` (12)" in result.err
    assert "did you mean `--text-field body`? 12 of 40 have `body`" in result.err
    assert run(*CAPITAL, "--text-field", "body", stdin=as_jsonl(records)).code == 0


@pytest.mark.parametrize("how", [(), ("--json",), ("-n", "1")])
def test_an_input_of_empty_documents_only_is_an_empty_ranking(run, how: tuple[str, ...]) -> None:
    result = run(*CAPITAL, "--on-missing", "skip", *how, stdin='{"text": {}}\n{"text": ""}\n')
    assert result.code == 0, result.err
    assert "2 documents are empty: left out" in result.err


def test_the_hint_reaches_nested_fields_and_works(run) -> None:
    text = as_jsonl([{"_id": "a", "page": {"body": "one text"}}, {"_id": "b", "page": {"body": "another"}}])
    assert "did you mean `--text-field page.body`? 2 of 2 have" in run(*CAPITAL, stdin=text).err
    assert run(*CAPITAL, "--text-field", "page.body", stdin=text).code == 0


def test_a_field_name_with_a_comma_is_proposed_as_a_text_field(run) -> None:
    text = as_jsonl([{"Title, long": "a"}, {"Title, long": "b"}])
    assert "`--text-field 'Title, long'`" in run(*CAPITAL, "--rank-fields", "Title", stdin=text).err
    assert run(*CAPITAL, "--text-field", "Title, long", stdin=text).code == 0


def test_real_streams_with_records_of_several_kinds_are_ranked(run) -> None:
    ripgrep = [{"type": "begin"}, {"type": "match", "data": {"lines": {"text": "the capital"}}}, {"type": "end"}]
    assert len(run(*CAPITAL, "--text-field", "data.lines.text", stdin=as_jsonl(ripgrep)).lines) == 3
    journald = [{"MESSAGE": None, "_PID": 1}, {"MESSAGE": "started", "_PID": 2}]
    assert len(run(*CAPITAL, "--text-field", "MESSAGE", stdin=as_jsonl(journald)).lines) == 2


def test_rank_fields_leave_out_what_is_null_missing_or_empty(run) -> None:
    texts = set()
    for title in ({"title": None}, {}, {"title": ""}, {"title": "  "}):
        found = run(*CAPITAL, "--rank-fields", "title,text", "--explain", "--json", stdin=as_jsonl([title | GOOD]))
        texts.add(found.json["results"][0]["explain"]["text"])
    assert texts == {f"text: {GOOD['text']}\n"}


RECORD = st.fixed_dictionaries(
    {"id": st.sampled_from("abc")},
    optional={
        key: st.none() | st.sampled_from(["", " ", 'one, "two"', "a\nb", "naïve 😀", "null", "no"]) for key in ("title", "text")
    },
)  # fmt: skip


@given(records=st.lists(RECORD, min_size=1, max_size=5), fields=st.sampled_from([(), ("title", "text")]))
@settings(max_examples=60, deadline=None)
def test_every_format_gives_the_same_texts(records: list[Any], fields: tuple[str, ...]) -> None:
    records.append({"id": "z", "title": "a title", "text": "a text"})
    texts = {
        form: [text.strip() for text in read(render(records).encode(), input_format=form, rank_fields=fields).texts]
        for form, render in FORMATS.items()
    }
    assert all(found == texts["jsonl"] for found in texts.values()), texts


def test_a_named_field_that_no_record_has_is_reported(run) -> None:
    text = as_jsonl([{"title": "a", "body": "b", "score": 1}, {"title": "c", "body": "d", "score": 2}])
    some = run("-q", "q", "--rank-fields", "title,bodyy", stdin=text)
    assert some.code == 0
    assert "warning: no document has the rank field `bodyy`; did you mean `body`?" in some.err
    none = run("-q", "q", "--rank-fields", "titel,bodyy", stdin=text)
    assert none.code == 3
    assert "did you mean `--rank-fields title,body`? 2 of 2 have `title`, 2 of 2 have `body`" in none.err
    for option in ("--id-field", "--prior-field"):
        wrong = run("-q", "q", "--text-field", "body", option, "scoer", stdin=text)
        assert (wrong.code, wrong.out) == (3, b"")
        assert "did you mean `score`?" in wrong.err
    assert "no document has" not in run("-q", "q", "--rank-fields", "title,body", "--id-field", "score", stdin=text).err


def test_a_field_in_one_file_of_two_is_not_reported(run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(as_jsonl([{"title": "a"}]))
    (tmp_path / "b.jsonl").write_text(as_jsonl([{"title": "a", "body": None}]))
    found = run("-q", "q", "--rank-fields", "title,body", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert (found.code, "warning" in found.err) == (0, False)
    (tmp_path / "c.jsonl").write_text(as_jsonl([{"name": "a"}, {"name": "b"}]))
    assert (
        "c.jsonl: none of 2 documents has field `title`"
        in run("-q", "q", "--text-field", "title", tmp_path / "a.jsonl", tmp_path / "c.jsonl").err
    )


def test_one_file_of_several_may_lack_the_field(run, tmp_path: Path) -> None:
    files = {"a.json": {"id": "a"}, "b.json": {"id": "b", "text": "x"}, "c.jsonl": {"id": "c"}, "d.json": {"id": "d"}}
    for name, record in files.items():
        (tmp_path / name).write_text(json.dumps(record))
    found = run("-q", "q", "-f", "ids", *(tmp_path / name for name in files))
    assert (found.code, found.lines) == (0, ["b", "a", "c", "d"]), found.err
    without = run("-q", "q", *(tmp_path / name for name in files if name != "b.json"))
    assert (without.code, without.out) == (3, b"")
    assert "a.json: the document does not have field `text`; it has `id`" in without.err


def test_empty_files_are_documents_without_text(run, tmp_path: Path) -> None:
    for name, text in (("empty", ""), ("full", "capital")):
        (tmp_path / name).write_text(text)
    argv = (*CAPITAL, "--input-format", "files", "-f", "ids", tmp_path / "empty", tmp_path / "full")
    assert run(*argv).lines == [str(tmp_path / "full"), str(tmp_path / "empty")]
    assert run(*argv, "--on-missing", "skip").lines == [str(tmp_path / "full")]
    refused = run(*argv, "--on-missing", "error")
    assert (refused.code, f"{tmp_path / 'empty'}: the document is empty" in refused.err) == (3, True)


def test_lines_have_no_id_field(run) -> None:
    assert "warning: no document has the id field `docno`" in run("-q", "q", "--id-field", "docno", stdin="1 a\n").err


def test_a_csv_without_the_column_is_an_error_and_an_empty_column_is_not(run) -> None:
    wrong = run("-q", "q", "--input-format", "csv", "--rank-fields", "title,bodyy", stdin="title,body\n1 a,b\n")
    assert "no document has the rank field `bodyy`; did you mean `body`?" in wrong.err
    assert run("-q", "q", "--input-format", "csv", stdin="id,body\na,b\n").code == 3
    assert run("-q", "q", "--input-format", "csv", stdin="id,text\na,\nb,\n").code == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("labels.name", ["bug", "ui"]),
        ("labels[].name", ["bug", "ui"]),
        ("comments[].body", ["first", "second"]),
        ("comments.user.login", ["ada"]),
        ("tags", ["x", "y"]),
        ("tags[]", ["x", "y"]),
        ("none.at.all", None),
        ("empty.name", None),
        ("a.b", "exact"),
        ("deep.list.names", ["n1", "n2"]),
    ],
)
def test_a_path_reaches_every_object_of_a_list(path: str, value: Any) -> None:
    record = {
        "labels": [{"name": "bug"}, {"name": "ui"}],
        "comments": [{"body": "first", "user": {"login": "ada"}}, {"body": "second", "user": None}, {"body": ""}],
        "tags": ["x", "y"],
        "empty": [],
        "a.b": "exact",
        "deep": [{"list": [{"names": ["n1"]}]}, {"list": [{"names": ["n2"]}]}],
    }
    assert lookup(record, path) == value
    assert has_path(record, path) is not path.startswith("none")


def test_a_list_path_is_scored(run) -> None:
    text = as_jsonl([{"id": 1, "labels": [{"name": "bug"}, {"name": "ui"}]}, {"id": 2, "labels": []}])
    found = run("-q", "bug", "--text-field", "labels.name", "--explain", "--json", stdin=text).json["results"]
    assert [hit["explain"]["text"] for hit in found] == ["bug\nui", ""]


@pytest.mark.parametrize("document", [None, *ABSENT.values()], ids=["null document", *ABSENT])
@pytest.mark.parametrize("form", ["responses", "rows", "trec"])
def test_a_document_without_text_does_not_lose_the_query_of_a_batch(run, document: Any, form: str) -> None:
    found = run("batch", "-f", form, stdin=as_jsonl([{"id": "q", "query": "capital", "documents": [document, GOOD]}]))
    assert found.code == 0, found.err
    count = len(found.json["results"]) if form == "responses" else len(found.lines)
    assert count == 2
    assert "1 document is empty" in found.err


def test_a_batch_row_whose_documents_all_lack_the_field_fails_alone(run) -> None:
    rows = [{"query": "q", "documents": [{"body": "a"}, {"body": "b"}]}, {"query": "q", "documents": [GOOD]}]
    found = run("batch", stdin=as_jsonl(rows))
    assert found.code == 6
    assert "<stdin>:1: none of 2 documents has field `text`; they have `body` (2)" in found.err
    assert [record["id"] for record in found.records] == [2]


def test_a_request_that_names_a_field_which_no_document_has_is_counted(run) -> None:
    row = {"query": "q", "rank_fields": ["text", "txet"], "documents": [GOOD]}
    assert "warning: 2 requests name a rank field that none" in run("batch", stdin=as_jsonl([row, row])).err
    assert "no document has the rank field `txet`" in run(stdin=json.dumps(row)).err
    named = run("batch", "--rank-fields", "text,txet", stdin=as_jsonl([{"query": "q", "documents": [GOOD]}]))
    assert "no document has the rank field `txet`" in named.err


@pytest.fixture
def trec(tmp_path: Path) -> tuple[str | Path, ...]:
    """A run of three documents, of which the corpus has two; one of these is null."""
    (tmp_path / "q.tsv").write_text("7\tcapital of the United States\n")
    (tmp_path / "c.jsonl").write_text(as_jsonl([{"_id": "good", "text": GOOD["text"]}, {"_id": "null", "text": None}]))
    (tmp_path / "run.trec").write_text("7 Q0 lost 1 3 t\n7 Q0 null 2 2 t\n7 Q0 good 3 1 t\n")
    files = (("--run", "run.trec"), ("--queries", "q.tsv"), ("--corpus", "c.jsonl"))
    return ("batch", *(part for option, name in files for part in (option, tmp_path / name)))


def test_a_corpus_without_the_field_is_an_error_although_another_document_is_missing(run, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(as_jsonl([{"id": "good", "body": GOOD["text"]}]))
    (tmp_path / "q.tsv").write_text("q1\tcapital\n")
    (tmp_path / "run.trec").write_text("q1 Q0 good 1 2 t\nq1 Q0 lost 2 1 t\n")
    argv = ("--run", tmp_path / "run.trec", "--queries", tmp_path / "q.tsv", "--corpus", tmp_path / "c.jsonl")
    assert "did you mean `--text-field body`?" in run("batch", *argv).err
    assert run("batch", *argv, "--text-field", "body").code == 0


def test_a_document_that_the_corpus_lacks_does_not_lose_the_query(run, trec: tuple[str | Path, ...]) -> None:
    found = run(*trec, "-f", "trec")
    assert found.code == 0, found.err
    assert [line.split()[2] for line in found.lines] == ["good", "lost", "null"]
    assert "1 document of the run is not in the corpus" in found.err
    assert next(record["id"] for record in run(*trec, "-f", "rows", "--no-return-documents").records) == "good"
    assert [line.split()[2] for line in run(*trec, "-f", "trec", "--on-missing", "skip").lines] == ["good"]
    refused = run(*trec, "-f", "trec", "--on-missing", "error")
    assert refused.code == 6
    assert "document `lost` of the run is not in the corpus" in refused.err


def test_queries_with_documents_take_empty_ones_too(run, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("1\tcapital\n2\tbread\n")
    (tmp_path / "d.jsonl").write_text(as_jsonl([GOOD, ABSENT["missing"]]))
    argv = ("batch", "--queries", tmp_path / "q.tsv", "--documents", tmp_path / "d.jsonl", "-f", "trec")
    assert [line.split()[2] for line in run(*argv).lines] == ["good", "x", "good", "x"]
    assert len(run(*argv, "--on-missing", "skip").lines) == 2


def test_empty_documents_are_written_below_every_scored_one(run, tmp_path: Path) -> None:
    text = as_jsonl([{"id": n, "text": None if n % 2 else f"text {n}"} for n in range(6)])
    for options in ((), ("--raw-scores",), ("--keep-order",)):
        lines = [line.split() for line in run(*CAPITAL, "-f", "trec", *options, stdin=text).lines]
        assert [line[2] for line in lines][3:] == ["1", "3", "5"]
        scores = [float(line[4]) for line in lines]
        assert scores == sorted(set(scores), reverse=True)
    for form in ("json", "jsonl", "ids", "lines", "csv", "tsv", "markdown", "table", "trec"):
        out = run(*CAPITAL, "-f", form, stdin=text).out.decode()
        assert all(str(n) in out for n in range(6)), form
    (tmp_path / "qrels").write_text("1 0 1 1\n")
    for form in ("trec", "jsonl"):
        (tmp_path / form).write_bytes(run(*CAPITAL, "-f", form, stdin=text).out)
        result = run("eval", "--qrels", tmp_path / "qrels", tmp_path / form, "--measure", "RR")
        assert result.code == 0, result.err
        assert b"0.2500" in result.out


def test_an_empty_document_needs_no_prior_score(run) -> None:
    text = as_jsonl([{"id": "a", "text": "x", "s": -1}, {"id": "b"}, {"id": "c", "text": "capital", "s": -2}])
    found = run(*CAPITAL, "--prior-field", "s", "-f", "ids", stdin=text)
    assert (found.code, found.lines[-1]) == (0, "b")


def test_ids_keep_their_text(run) -> None:
    text = '{"id":1.10,"text":"a"}\n{"_id":{"$oid":"65ab"},"text":"b"}\n{"id":{"$numberLong":"7"},"text":"c"}\n'
    for data in (text, f"[{text.strip().replace(chr(10), ',')}]"):
        assert sorted(run("-q", "q", "-f", "ids", stdin=data).lines) == ["1.10", "65ab", "7"]
    assert run("-q", "q", "-f", "ids", stdin="- id: 1.10\n  text: a\n").lines == ["1.10"]
    found = run("-q", "q", "--json", "--no-documents", stdin=text).json["results"]
    assert sorted(hit["id"] for hit in found) == ["1.10", "65ab", "7"]
    assert all("document" not in hit for hit in found)


def test_decimals_are_ids_of_corpora_too(run, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("7\tcapital\n")
    (tmp_path / "c.jsonl").write_text('{"id": 1.10, "text": "a"}\n{"id": {"$oid": "65ab"}, "text": "b"}\n')
    (tmp_path / "run.trec").write_text("7 Q0 1.10 1 2 t\n7 Q0 65ab 2 1 t\n")
    argv = ("--run", tmp_path / "run.trec", "--queries", tmp_path / "q.tsv", "--corpus", tmp_path / "c.jsonl")
    assert sorted(line.split()[2] for line in run("batch", *argv, "-f", "trec").lines) == ["1.10", "65ab"]


@pytest.mark.parametrize("value", [None, "", {"id": 1}, {"text": None}], ids=repr)
def test_the_python_api_ranks_documents_without_text_last(value: Any) -> None:
    with Reranker() as reranker:
        ranking = reranker.rank("capital", [value, GOOD])
        assert [hit.index for hit in ranking.hits] == [1, 0]
        assert ranking.meta.warnings == ("1 document is empty: it has no score and comes last",)
        assert len(reranker.rank("capital", [value, GOOD], on_missing="skip").hits) == 1
        with pytest.raises(InputError):
            reranker.rank("capital", [value, GOOD], on_missing="error")


def test_the_python_api_reports_fields_that_no_document_has() -> None:
    with Reranker() as reranker:
        with pytest.raises(InputError, match="none of 2 documents has field `text`"):
            reranker.rank("q", [{"body": "a"}, {"body": "b"}])
        ranking = reranker.rank("q", [GOOD], rank_fields=["text", "txet"])
        assert ranking.meta.warnings == ("no document has the rank field `txet`; did you mean `text`?",)


@pytest.mark.parametrize("path", ["comments[0].body", "comments[1].body", "a.comments[0].body"])
def test_a_path_reaches_one_element_of_a_list(run, path: str) -> None:
    records = [{"comments": [{"body": f"{n} a"}, {"body": f"{5 - n} b"}]} for n in range(3)]
    if path.startswith("a."):
        records = [{"a": record} for record in records]
    result = run("-q", "q", "--text-field", path, "--json", "--explain", stdin=as_jsonl(records))
    assert result.code == 0, result.err
    first = 0 if "[0]" in path else 1
    texts = {one["index"]: one["explain"]["text"] for one in result.json["results"]}
    assert texts == {n: (f"{n} a", f"{5 - n} b")[first] for n in range(3)}


def test_a_key_may_be_spelt_with_brackets(run) -> None:
    records = [{"a[0]": "one"}, {"a[0]": "two"}]
    result = run("-q", "q", "--text-field", "a[0]", "--json", "--explain", stdin=as_jsonl(records))
    assert sorted(one["explain"]["text"] for one in result.json["results"]) == ["one", "two"]
