"""Documents, queries and corpora from the command line: every format, container and option reads the same records."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers_support import zstd

from rerank_cli.fields import build_document, build_document_fast
from rerank_cli.records import Source
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings
from rerank_cli.text import is_blank

TITLES = {
    "d1": ("Washington, D.C.", 'The "capital" of the United States.'),
    "d2": ("Carson City", "The capital\tof Nevada."),
    "d3": ("Mars", "The red\nplanet, ünd größer."),
}
RUN = "q1 Q0 d1 1 3 x\nq1 Q0 d2 2 2 x\nq1 Q0 d3 3 1 x\n"
TOPIC = "capital of the United States"


def records(**names: str) -> list[dict[str, str]]:
    """The documents; `names` renames their members."""
    plain = [{"_id": name, "title": title, "text": text} for name, (title, text) in TITLES.items()]
    return [{names.get(key.strip("_"), key): value for key, value in record.items()} for record in plain]


def separated(rows: list[dict[str, str]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def parquet(rows: list[dict[str, str]]) -> bytes:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    out = io.BytesIO()
    writer.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


FORMATS: dict[str, Any] = {
    "jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "json": lambda rows: json.dumps(rows, indent=1).encode(),
    "yaml": lambda rows: yaml.safe_dump(rows, allow_unicode=True).encode(),
    "csv": lambda rows: separated(rows, ",").encode(),
    "tsv": lambda rows: separated(rows, "\t").encode(),
    "parquet": parquet,
}
PACKED = {"": lambda data: data, ".gz": gzip.compress, ".zst": zstd.compress}


def explained(done: Any) -> list[tuple[str, str, float]]:
    """(query, scored text, score) of every result of `batch --explain`, or of `rank --json --explain`."""
    assert done.code == 0, done.err
    return [
        (str(one.get("id")), result["explain"]["text"], result["relevance_score"])
        for one in ([done.json] if done.text.startswith("{\n") else done.records)
        for result in one["results"]
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.trec").write_text(RUN)
    (tmp_path / "q.tsv").write_text(f"q1\t{TOPIC}\n")
    return tmp_path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("pack", PACKED)
def test_a_corpus_is_scored_alike_in_every_format_and_under_every_option(run, here, form, pack) -> None:
    """A3: `--corpus` took JSON lines only; `--documents` scored the text alone."""
    name = f"c.{form}{pack}"
    (here / name).write_bytes(PACKED[pack](FORMATS[form](records())))
    corpus = run("batch", "--run", "run.trec", "--queries", "q.tsv", "--corpus", name, "--explain")
    documents = run("batch", "--documents", name, "--queries", "q.tsv", "--explain")
    ranked = run("-q", TOPIC, "--json", "--explain", name)
    assert explained(corpus) == explained(documents)
    assert [one[1:] for one in explained(ranked)] == [one[1:] for one in explained(corpus)]
    assert {text for _, text, _ in explained(corpus)} == {f"{title} {text}" for title, text in TITLES.values()}
    for done in (corpus, documents, ranked):
        assert "title and text are scored together" in done.err
    ids = [row["document"]["_id"] for row in corpus.records[0]["results"]]
    assert sorted(ids) == sorted(TITLES)


def test_a_corpus_may_come_from_a_pipe(run, here) -> None:
    (here / "c.jsonl").write_bytes(FORMATS["jsonl"](records()))
    argv = ("batch", "--run", "run.trec", "--queries", "q.tsv", "--explain", "--corpus")
    whole = explained(run(*argv, "c.jsonl"))
    for form, option in (("jsonl", ()), ("json", ()), ("csv", ("--input-format", "csv"))):
        assert explained(run(*argv, "-", *option, stdin=FORMATS[form](records()))) == whole


@pytest.mark.parametrize("option", ["--corpus", "--documents"])
def test_options_that_name_fields_hold_for_every_option_that_names_a_collection(run, here, option) -> None:
    """A3: `--id-field` was ignored by `--corpus` (PyTerrier's docno, MS MARCO's pid)."""
    (here / "c.csv").write_text(separated(records(id="key", text="body"), ","))
    more = ("--run", "run.trec") if option == "--corpus" else ()
    argv = ("batch", *more, "--queries", "q.tsv", option, "c.csv", "--explain")
    texts = [text for _, text, _ in explained(run(*argv, "--id-field", "key", "--text-field", "body"))]
    assert sorted(texts) == sorted(text for _, text in TITLES.values())
    done = run(*argv, "--id-field", "key", "--rank-fields", "title,body", "-f", "trec")
    assert sorted(line.split()[2] for line in done.lines) == sorted(TITLES)


@pytest.mark.parametrize("name", ["docno", "pid", "docid", "doc_id", "id"])
def test_usual_names_of_ids_need_no_option(run, here, name) -> None:
    (here / "c.jsonl").write_bytes(FORMATS["jsonl"](records(id=name)))
    for argv in (("--run", "run.trec", "--corpus", "c.jsonl"), ("--documents", "c.jsonl")):
        done = run("batch", *argv, "--queries", "q.tsv", "-f", "trec")
        assert sorted(line.split()[2] for line in done.lines) == sorted(TITLES), done.err


def test_a_corpus_without_ids_is_refused_with_the_option_to_use(run, here) -> None:
    (here / "c.csv").write_text("key,text\nd1,x\n")
    argv = ("batch", "--run", "run.trec", "--queries", "q.tsv", "--corpus", "c.csv")
    done = run(*argv)
    assert done.code == 3
    assert "c.csv:2: a corpus document needs an id" in done.err
    assert "--id-field" in done.err
    assert run(*argv, "--id-field", "key", "--depth", "1").code == 0
    (here / "c.txt").write_text("plain\n")
    assert "c.txt:1: a corpus document needs an id; this is plain text" in run(*argv[:-1], "c.txt").err


# --- MS MARCO -------------------------------------------------------------------------------------------------------


def test_ms_marco_collections_have_no_header(run, here) -> None:
    """A3: the first passage was taken for a header."""
    (here / "collection.tsv").write_text('7\t"Quoted" capital\n8\tA boat on a river\n9\tMilk and bread\n')
    (here / "queries.dev.tsv").write_text("1\twhat is a capital\n2\twhat is a boat\n")
    (here / "m.run").write_text("1\t7\t1\n1\t8\t2\n2\t9\t1\n2\t8\t2\n")
    argv = ("batch", "--queries", "queries.dev.tsv", "--explain")
    rerun = run(*argv, "--run", "m.run", "--corpus", "collection.tsv")
    crossed = run(*argv, "--documents", "collection.tsv")
    assert explained(rerun) == [
        one for one in explained(crossed) if (one[0], one[1][:2]) not in {("1", "Mi"), ("2", '"Q')}
    ]
    assert "collection.tsv has no header: its columns are read as id, text" in crossed.err
    ranked = run("-q", "capital", "collection.tsv", "-f", "ids")
    assert sorted(ranked.lines) == ["7", "8", "9"]


def test_ms_marco_documents_have_four_columns(run, here) -> None:
    (here / "docs.tsv").write_text("D1\thttps://x\tTitle\tA capital\nD2\thttp://y\tOther\tA boat\n")
    assert sorted(run("-q", "capital", "docs.tsv", "-f", "ids").lines) == ["D1", "D2"]
    done = run("-q", "capital", "docs.tsv", "--rank-fields", "title,text", "--json", "--explain")
    assert "Title" in done.json["results"][0]["explain"]["text"]


@pytest.mark.parametrize("first", ["id\ttext", "docno\ttext", "7b\ttext", "name\tvalue 1\ttext"])
def test_a_header_stays_a_header(run, here, first) -> None:
    width = first.count("\t") + 1
    (here / "d.tsv").write_text(first + "\n" + "\t".join(["1"] * (width - 1) + ["a capital"]) + "\n")
    done = run("-q", "capital", "d.tsv", "-f", "jsonl")
    assert (done.code, len(done.records)) == (0, 1), done.err


# --- queries --------------------------------------------------------------------------------------------------------

QUERIES = [{"qid": "A7", "query": 'what, "is" this'}, {"qid": "B8", "query": "größer"}]
CLASSIC = """<top>
<num> Number: A7
<title> what, "is" this

<desc> Description:
Find it.
<narr> Narrative:
All & sundry.
</top>

<top>
<num> Number: B8
<title>
größer
<desc> Description: More.
</top>
"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<topics task="COVIDSearch">
  <topic number="A7"><query>what, "is" this</query><question>Which?</question></topic>
  <topic number="B8"><query>größer</query></topic>
</topics>
"""


@pytest.mark.parametrize("form", [*FORMATS, "topics", "xml"])
@pytest.mark.parametrize("pack", PACKED)
def test_queries_are_read_in_every_format(run, here, form, pack) -> None:
    """A3: CSV ranked its header, JSON lists, YAML and topics were taken line by line, ids were replaced silently."""
    texts = {"topics": lambda _: CLASSIC.encode(), "xml": lambda _: XML.encode()}
    name = f"queries.{form}{pack}"
    (here / name).write_bytes(PACKED[pack]((FORMATS | texts)[form](QUERIES)))
    (here / "docs.jsonl").write_text('{"id":"x","text":"y"}\n')
    done = run("batch", "--queries", name, "--documents", "docs.jsonl", "--explain")
    assert done.code == 0, done.err
    assert [row["id"] for row in done.records] == ["A7", "B8"]
    plain = run("batch", "--queries", "-", "--documents", "docs.jsonl", "--explain", stdin=FORMATS["jsonl"](QUERIES))
    assert explained(done) == explained(plain)
    assert "no id" not in done.err


def test_a_field_of_topics_can_be_chosen(run, here) -> None:
    (here / "t.xml").write_text(XML)
    (here / "d.jsonl").write_text('{"id":"x","question":"y"}\n')
    argv = ("batch", "--queries", "t.xml", "--documents", "d.jsonl", "--text-field", "question", "--explain")
    with_question, other = run(*argv).records
    (here / "t.tsv").write_text("A7\tWhich?\nB8\tgrößer\n")
    expected = run("batch", "--queries", "t.tsv", *argv[3:]).records
    assert [with_question, other] == expected


def test_made_up_ids_are_noted(run, here) -> None:
    (here / "docs.jsonl").write_text('{"id":"x","text":"y"}\n')
    (here / "q.txt").write_text("one\n\ntwo\n")
    done = run("batch", "--queries", "q.txt", "--documents", "docs.jsonl")
    assert [row["id"] for row in done.records] == ["1", "3"]
    assert "note: q.txt: 2 queries have no id: their numbers stand instead (--id-field names the field)" in done.err
    (here / "q.json").write_text('[{"key": "k", "query": "one"}]')
    argv = ("batch", "--queries", "q.json", "--documents", "docs.jsonl")
    assert "q.json: 1 query has no id: its number stands instead" in run(*argv).err
    named = run(*argv, "--id-field", "key")
    assert [row["id"] for row in named.records] == ["k"]


def test_queries_by_id_in_one_object(run, here) -> None:
    (here / "docs.jsonl").write_text('{"id":"x","text":"y"}\n')
    (here / "q.json").write_text('{\n "q1": "one",\n "q2": "two"\n}')
    done = run("batch", "--queries", "q.json", "--documents", "docs.jsonl")
    assert [row["id"] for row in done.records] == ["q1", "q2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.csv", "nr,frage\n1,what\n", "q.csv:2: a query needs its text in `query` or `text`; it has `nr`, `frage`"),
        ("q.tsv", "nr\tfrage\n1\twhat is\n", "q.tsv:1: is this first line a header? its columns are `nr`, `frage`"),
        ("q.xml", "<rss><item>x</item></rss>", "q.xml: XML of another kind than TREC topics"),
        ("q.xml", "<topics><item>x</item></topics>", "q.xml: XML of another kind than TREC topics: its root is `<topics>`"),
        ("q.xml", "<topics><topic number='1'>x</topics>", "q.xml:1: not valid XML"),
        ("q.xml", "<?xml version='1.0'?><!DOCTYPE x><topics/>", "q.xml: XML with a document type is not read"),
        ("q.top", "<top><title>x</top>", "q.top:1: topic 1 has no number"),
        ("q.json", '{"queries": [{"id": 1}]}', "q.json: an object that holds `queries`; a list of records is expected"),
        ("q.json", "[1]", "q.json:1: an object or a string is expected"),
        ("q.jsonl", '{"id": 1, "query": null}\n', "q.jsonl:1: a query needs its text"),
        ("q.jsonl", "{broken\n", "q.jsonl:1: not valid JSON"),
        ("q.txt", "a\tb\n\tc\n", "q.txt:2: the line has 2 of 2 columns"),
    ],
)  # fmt: skip
def test_queries_that_are_not_understood_are_refused_by_name_with_a_hint(run, here, name, text, message) -> None:
    (here / name).write_text(text)
    (here / "docs.jsonl").write_text('{"id":"x","text":"y"}\n')
    done = run("batch", "--queries", name, "--documents", "docs.jsonl")
    assert done.code == 3, done.err
    assert message in done.err
    assert "hint: " in done.err
    assert "--input-format" not in done.err, "queries have --query-format"


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def beir(here: Path) -> Path:
    folder = here / "nq"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(FORMATS["jsonl"](records()))
    (folder / "queries.jsonl").write_text(json.dumps({"_id": "q1", "text": TOPIC, "metadata": {}}) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    return folder


def test_a_beir_folder_is_one_argument(run, beir) -> None:
    run_file = run("batch", "--run", "run.trec", "--queries", "nq", "--corpus", "nq", "--qrels", "nq", "-f", "trec")
    assert run_file.code == 0, run_file.err
    assert "nDCG@10" in run_file.err
    crossed = run("batch", "--queries", "nq", "--documents", "nq", "-f", "trec")
    assert crossed.out == run_file.out
    (Path("out.trec")).write_bytes(crossed.out)
    done = run("eval", "--qrels", "nq", "--queries", "nq", "out.trec", "--measure", "P@1", "--worst", "1")
    assert done.code == 0, done.err
    assert TOPIC in done.text
    assert run("-q", TOPIC, "nq", "-f", "ids").lines == [line.split()[2] for line in crossed.lines]


def test_a_folder_of_several_splits_uses_the_test_split_and_says_so(run, beir) -> None:
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\n")
    done = run("eval", "--qrels", "nq", "run.trec", "--measure", "P@1", "--json")
    assert "test.tsv is used" in done.err
    assert done.json["qrels"] == "nq/qrels/test.tsv"


def test_a_folder_without_what_is_needed_is_refused(run, beir) -> None:
    (beir / "queries.jsonl").unlink()
    done = run("batch", "--run", "run.trec", "--queries", "nq", "--corpus", "nq")
    assert done.code == 3
    assert "nq: is a folder without queries" in done.err
    (beir / "queries.tsv").write_text("q1\ta\n")
    (beir / "queries.csv").write_text("qid,query\nq1,a\n")
    done = run("batch", "--run", "run.trec", "--queries", "nq", "--corpus", "nq")
    assert "nq: is a folder with several files of queries: `queries.csv`, `queries.tsv`" in done.err


# --- batch --run ----------------------------------------------------------------------------------------------------


def test_a_document_twice_in_a_run_is_refused_for_its_query_alone(run, here) -> None:
    """A10: `batch --run` kept one of the two in silence, `eval` refused the run."""
    (here / "c.jsonl").write_bytes(FORMATS["jsonl"](records()))
    (here / "q.tsv").write_text("q1\ta\nq2\tb\n")
    (here / "run.trec").write_text("q1 Q0 d1 1 3 x\nq1 Q0 d1 2 2 x\nq2 Q0 d2 1 1 x\n")
    done = run("batch", "--run", "run.trec", "--queries", "q.tsv", "--corpus", "c.jsonl")
    assert done.code == 6
    assert "run.trec:2: document `d1` appears twice for query `q1`" in done.err
    assert [row["id"] for row in done.records] == ["q2"]


def test_the_place_of_an_error_in_a_run_is_named_once(run, here) -> None:
    """A10: `miss.trec:1: miss.trec:2: …`."""
    (here / "c.jsonl").write_bytes(FORMATS["jsonl"](records()[:1]))
    (here / "run.trec").write_text("q1 Q0 d1 1 3 x\nq1 Q0 d1 2 2 x\n")
    done = run("batch", "--run", "run.trec", "--queries", "q.tsv", "--corpus", "c.jsonl")
    assert done.err.count("run.trec:") == 1, done.err


# --- one collection, every way --------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() and text == text.strip()
)
bodies = st.lists(words, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from(["\n", "\t", '"', ",", " ", '", "']).map(lambda sign: sign.join(parts))
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(bodies=st.lists(bodies, min_size=1, max_size=4), titled=st.booleans(), pack=st.sampled_from(list(PACKED)))
def test_one_collection_is_scored_alike_however_it_is_written(run, here, bodies, titled, pack) -> None:
    rows = [
        {"_id": f"d{number}", **({"title": f"Title {number}"} if titled else {}), "text": text}
        for number, text in enumerate(bodies)
    ]
    asked = [{"qid": f"q{number}", "query": text} for number, text in enumerate(bodies)]
    (here / "run.trec").write_text(
        "".join(f"q{q} Q0 d{d} {d + 1} {99 - d} x\n" for q in range(len(rows)) for d in range(len(rows)))
    )
    expected: Any = None
    for form in ("jsonl", "json", "csv", "tsv", "yaml"):
        corpus, queries = f"c.{form}{pack}", f"q.{form}{pack}"
        (here / corpus).write_bytes(PACKED[pack](FORMATS[form](rows)))
        (here / queries).write_bytes(PACKED[pack](FORMATS[form](asked)))
        for argv in (("--run", "run.trec", "--corpus", corpus), ("--documents", corpus)):
            got = explained(run("batch", "--queries", queries, "--explain", *argv))
            expected = expected or got
            assert got == expected, (form, argv)
            assert [one[0] for one in got[:: len(rows)]] == [row["qid"] for row in asked]


parts = st.none() | st.sampled_from(["", " ", "a", " a b\n", "ü"]) | st.integers()


@given(
    value=st.fixed_dictionaries({"text": parts}, optional={"_id": parts, "title": parts, "id": parts}),
    join=st.booleans(),
)
def test_both_paths_join_titles_alike(value, join) -> None:
    fields, source = FieldSettings(join_titles=join), Source("f", "json")
    fast = build_document_fast(fields)(value, 0, b"{}", source)
    slow = build_document(fields, Report())(value, "f:1", 0, b"{}", source)
    if fast is not None and not (is_blank(fast.text) and is_blank(slow.text)):
        assert fast == slow
