"""Runs, qrels, queries and corpora are read in every format, and errors name file and line."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from readers_support import zstd

from rerank_cli.errors import InputError
from rerank_cli.fields import title_and_text
from rerank_cli.readers.corpus import corpus_rows, open_corpus
from rerank_cli.readers.qrels import labels_of, read_qrels
from rerank_cli.readers.queries import read_queries
from rerank_cli.readers.trec import by_query, read_run, run_rows

TREC = "q1 Q0 b 1 2.5 tag\nq1\tQ0\ta\t2\t1e-3 tag\n\nq2 Q0 a 1 -4 tag\n"


@pytest.fixture
def file(tmp_path):
    def write(text, name="f.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress, lambda data: b"\xef\xbb\xbf" + data])
def test_a_trec_run_is_read_plain_compressed_and_with_a_bom(file, pack):
    run = read_run(file(pack(TREC.encode())))
    assert run.scores == {"q1": {"b": 2.5, "a": 0.001}, "q2": {"a": -4.0}}


def test_a_run_may_come_from_stdin_and_may_be_empty(file):
    assert read_run("-", io.BytesIO(TREC.encode())).scores["q2"] == {"a": -4.0}
    assert read_run(file("")).scores == {}


RESPONSES = lines(
    {"id": "q1", "results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.9}]},
    {"id": 7, "results": [{"index": 0, "relevance_score": 0.5, "document": {"id": "x", "relevance": 1}}]},
    {"id": "empty", "results": []},
)


def test_responses_keep_the_order_they_show_even_among_equal_scores(file):
    run = read_run(file(RESPONSES))
    assert run.scores == {"q1": {"2": -1.0, "0": -2.0}, "7": {"x": -1.0}}
    assert run.by_index == {"q1": {"2", "0"}}
    assert [label for label, _ in run.labels["7"].values()] == [1]


def test_responses_whose_scores_do_not_fall_are_ordered_by_score(file):
    unsorted = {"id": "q", "results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]}
    assert read_run(file(lines(unsorted))).scores == {"q": {"0": 0.1, "1": 0.9}}


def test_rows_go_by_rank_and_empty_documents_are_last(file):
    run = read_run(
        file(
            lines(
                {"query_id": "q", "id": "a", "index": 0, "rank": 2, "relevance_score": 0.1},
                {"query_id": "q", "id": "b", "index": 1, "rank": 1, "relevance_score": 0.1},
                {"query_id": "q", "id": "void", "index": 2, "rank": 3, "relevance_score": None},
            )
        )
    )
    assert run.scores == {"q": {"a": -2.0, "b": -1.0, "void": -3.0}}


def test_nested_results_and_foreign_scores_are_read(file):
    nested = {"id": "a", "text": "t", "rerank": {"index": 0, "rank": 1, "relevance_score": 0.4}}
    assert read_run(file(lines(nested))).scores == {"": {"a": -1.0}}
    assert read_run(file(lines({"qid": 3, "docid": 4, "score": 12}))).scores == {"3": {"4": 12.0}}


def test_one_json_document_may_span_lines(file):
    text = '{\n  "results": [\n {"index": 1, "rank": 1, "relevance_score": 0.9}],\n "meta": {}\n}\n'
    assert read_run(file(text)).scores == {"": {"1": -1.0}}
    assert read_run(file('[\n{"query_id": "q", "id": "a", "score": 1}\n]')).scores == {"q": {"a": 1.0}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 Q0 a 1 2.0 t\nq1 Q0 a 2 1.0 t\n", "2: document `a` appears twice for query `q1`"),
        ("q1 0 a 1\n", "1: a run has 6 columns (query Q0 document rank score tag), this line has 4"),
        ("q1 Q0 a 1 nan t\n", "1: score `nan` is not a finite number"),
        ("q1 Q0 a 1 high t\n", "1: score `high` is not a finite number"),
        (b"q1 Q0 a 1 1 t\nq1 Q0 \xff 2 0.5 t\n", "2: invalid UTF-8"),
        ('{"id": "q", "results": [1]}\n', "1: `results` must hold objects"),
        ('{"query_id": "q", "relevance_score": 1}\n', "1: a result needs an id or an index"),
        ('{"query_id": "q", "id": "a"}\n', "1: a result needs a relevance_score (or score)"),
        ('{"query_id": "q", "id": "a", "score": "1"}\n', "1: score `1` is not a number"),
        ('{"query_id": [], "id": "a", "score": 1}\n', "1: `query_id` must be text or a number"),
        ('{"query_id": "q", "id": "a", "score": 1}\n{"x": }\n', "2: not valid JSON: "),
        ('{"id": \n 1, \n', "2: not valid JSON: "),
        ("[1]", "1: a list of JSON objects is expected"),
    ],
)
def test_errors_in_a_run_name_file_and_line(file, text, message):
    path = file(text)
    with pytest.raises(InputError) as caught:
        read_run(path)
    assert caught.value.message.startswith(f"{path}:{message}")


def test_a_missing_or_cut_file_is_an_input_error(file, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_run(str(tmp_path / "none"))
    with pytest.raises(InputError, match="broken compressed data"):
        read_run(file(gzip.compress(TREC.encode())[:-12], "cut.gz"))


def test_a_run_is_yielded_query_by_query(file):
    groups = [(query, [row.document for row in rows]) for query, rows in by_query(run_rows(file(TREC)))]
    assert groups == [("q1", ["b", "a"]), ("q2", ["a"])]
    torn = file(TREC + "q1 Q0 z 3 0.1 tag\n", "torn")
    with pytest.raises(InputError, match=r"torn:5: the rows of query `q1` are not together"):
        list(by_query(run_rows(torn)))


@given(
    st.dictionaries(st.text("qrs", min_size=1), st.dictionaries(st.text("abcé", min_size=1), st.floats(-1e30, 1e30)))
)
@settings(deadline=None, max_examples=40)
def test_what_is_written_as_trec_is_read_back(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("runs") / "run"
    path.write_text("".join(f"{q} Q0 {d} 1 {s!r} t\n" for q, found in scores.items() for d, s in found.items()))
    assert read_run(str(path)).scores == {q: found for q, found in scores.items() if found}


# --- qrels ----------------------------------------------------------------------------------------------------------

EXPECTED = {"q1": {"a": 2, "b": 0}, "q2": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 a 2\nq1 0 b 0\nq2 0 a 1\n",
        "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb\t0\nq2\ta\t1\n",
        lines(
            {"query_id": "q1", "doc_id": "a", "relevance": 2},
            {"query-id": "q1", "corpus-id": "b", "score": 0},
            {"qid": "q2", "id": "a", "rel": 1.0},
        ),
        lines(
            {"id": "q1", "query": "x", "documents": [{"id": "a", "text": "t", "relevance": 2}, {"_id": "b", "relevance": 0}]},
            {"id": "q2", "query": "y", "documents": [{"id": "a"}], "relevance": [1]},
        ),
        "q1 0 a 2\nq1 0 a 2\nq1 0 b 0\nq2 0 a 1\n",
    ],
    ids=["trec", "beir", "jsonl", "requests", "repeated"],
)  # fmt: skip
def test_qrels_are_read_in_every_format(file, text):
    assert read_qrels(file(text)).judgements == EXPECTED


def test_labelled_requests_name_documents_by_position_and_keep_the_query(file):
    qrels = read_qrels(file(lines({"query": "why", "documents": ["t", {"id": "b"}, "u"], "relevance": [1, 0, None]})))
    assert qrels.judgements == {"1": {"0": 1, "b": 0}}
    assert qrels.names == {"1": ("0", "b", "2")}
    assert qrels.texts == {"1": "why"}


def test_inline_labels_of_several_runs_are_joined_and_must_agree(file):
    first = read_run(file(lines({"id": "a", "relevance": 1, "rank": 1, "relevance_score": 0.5}), "1"))
    second = read_run(file(lines({"id": "b", "relevance": 0, "rank": 1, "relevance_score": 0.5}), "2"))
    assert labels_of([first, second]).judgements == {"": {"a": 1, "b": 0}}
    other = read_run(file(lines({"id": "a", "relevance": 0, "rank": 1, "relevance_score": 0.5}), "3"))
    with pytest.raises(InputError, match="is judged 0 here and 1 before"):
        labels_of([first, other])
    with pytest.raises(InputError, match="there are no judgements"):
        labels_of([read_run(file(TREC))])


def test_an_invalid_relevance_matters_only_when_labels_are_read(file):
    run = read_run(file(lines({"id": "a", "relevance": "high", "rank": 1, "relevance_score": 0.5})))
    with pytest.raises(InputError, match="relevance `high` is not a whole number"):
        labels_of([run])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1 0 a 1\nq1 0 a 2\n", "2: document `a` of query `q1` is judged 2 here and 1 before"),
        ("q1 0 a x\n", "1: relevance `x` is not a whole number"),
        ("q1 0 a 0.5\n", "1: relevance `0.5` is not a whole number"),
        ("q1 Q0 a 1 2.0 tag\n", "1: qrels have 4 columns"),
        ('{"query_id": "q"}\n', "1: a judgement needs a document id and a relevance"),
        ('{"query": "q", "documents": ["a"], "relevance": []}\n', "1: `relevance` must be a list with one grade"),
        ('{"query_id": "q", "id": "a", "relevance": true}\n', "1: relevance `True` is not a whole number"),
    ],
)
def test_errors_in_qrels_name_file_and_line(file, text, message):
    path = file(text)
    with pytest.raises(InputError) as caught:
        read_qrels(path)
    assert caught.value.message.startswith(f"{path}:{message}")


def test_empty_qrels_are_an_error(file):
    with pytest.raises(InputError, match="holds no judgements"):
        read_qrels(file("\n"))
    with pytest.raises(InputError, match="holds no judgements"):
        read_qrels(file("query-id\tcorpus-id\tscore\n"))


# --- queries and corpora --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1\twhy is\tthis\n2\thow\n", [("1", "why is\tthis"), ("2", "how")]),
        ("query-id\ttext\n1\twhy\n", [("1", "why")]),
        (lines({"_id": "1", "text": "why"}, {"query_id": 2, "query": "how"}), [("1", "why"), ("2", "how")]),
        ("why\n\nhow\n", [("1", "why"), ("3", "how")]),
        (lines({"query": "why"}), [("1", "why")]),
    ],
)
def test_queries_are_read_in_every_format(file, text, expected):
    assert [(query.id, query.text) for query in read_queries(file(text))] == expected


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("1\ta\n1\tb\n", "auto", "2: query id `1` appears twice"),
        ("1\ta\nb\n", "auto", "2: the line has 1 of 2 columns"),
        ('{"query": " "}\n', "auto", "1: the query is blank"),
        ("x", "jsonl", "1: not valid JSON"),
    ],
)
def test_errors_in_queries_name_file_and_line(file, text, form, message):
    path = file(text)
    with pytest.raises(InputError) as caught:
        list(read_queries(path, form))
    assert caught.value.message.startswith(f"{path}:{message}")


CORPUS = lines({"_id": "a", "title": "T", "text": "x", "n": 1.10}, {"docid": 2, "text": "y"}, {"id": "ü", "text": "z"})


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_corpus_gives_the_bytes_of_the_documents_asked_for(file, pack):
    corpus = open_corpus(file(pack(CORPUS.encode())))
    raw = CORPUS.encode().splitlines()
    assert corpus.get(["ü", "nobody", "a"]) == {"a": raw[0], "ü": raw[2]}
    assert corpus.get(["2"]) == {"2": raw[1]}
    corpus.close()
    some = open_corpus(file(CORPUS), needed={"2"})
    assert some.get(["a", "2"]) == {"2": raw[1]}
    some.close()


def test_a_large_corpus_is_indexed_in_blocks_and_repeated_ids_are_found(file):
    many = [{"id": i, "text": f"t{i}"} for i in range(25_000)]
    corpus = open_corpus(file(lines(*many)))
    found = corpus.get([str(i) for i in range(0, 25_000, 7)])
    assert all(json.loads(raw)["text"] == f"t{name}" for name, raw in found.items())
    assert len(found) == len(range(0, 25_000, 7))
    corpus.close()
    path = file(lines(*many, {"id": 3, "text": "again"}))
    with pytest.raises(InputError, match="25001: document id `3` appears twice"):
        open_corpus(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "x"}\n', "1: a corpus document needs an id"),
        ("x\n", "1: a corpus document needs an id; this is plain text"),
        ('{"id": 1}\n[]\n', "2: a JSON object"),
    ],
)
def test_errors_in_a_corpus_name_file_and_line(file, text, message):
    path = file(text)
    with pytest.raises(InputError) as caught:
        list(corpus_rows(path))
    assert caught.value.message.startswith(f"{path}:{message}")


def test_beir_joins_title_and_text():
    assert title_and_text({"title": "A", "text": "b"}) == "A b"
    assert title_and_text({"title": "", "text": "b"}) == "b"
    assert title_and_text({"title": "A", "text": None}) == "A"
