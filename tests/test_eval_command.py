"""`rerank eval` and `rerank compare` on the command line: complete output, messages and exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import pytrec_eval

QRELS = "q1 0 a 1\nq1 0 b 0\nq2 0 a 1\nq3 0 c 2\n"
OLD = "q1 Q0 b 1 2 t\nq1 Q0 a 2 1 t\nq2 Q0 a 1 1 t\nq3 Q0 x 1 2 t\nq3 Q0 c 2 1 t\n"
NEW = "q1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\nq2 Q0 z 1 2 t\nq2 Q0 a 2 1 t\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files in the current directory, so that messages do not depend on where it is."""
    monkeypatch.chdir(tmp_path)

    def write(**contents):
        for name, text in contents.items():
            (tmp_path / name.replace("_", ".")).write_text(text)
        return tmp_path

    return write


@pytest.fixture
def three(files):
    return files(qrels_txt=QRELS, old_trec=OLD, new_trec=NEW, queries_tsv="q1\twhy *so*\nq2\thow\nq3\twhen\n")


TABLE = """\
run       queries    RR@3   P@1
old.trec      3/3  0.6667  0.3333
new.trec      2/3  0.5000  0.3333

new.trec against old.trec
measure    delta      95 % interval       p  wins  losses  ties
RR@3     -0.1667  -0.5000 … +0.5000  1.0000     1       2     0
P@1      +0.0000  -1.0000 … +1.0000  1.0000     1       1     1

worst queries by RR@3
run       query  text    RR@3    delta
new.trec  q3     when  0.0000  -0.5000
new.trec  q2     how   0.5000  -0.5000
"""


def test_two_runs_are_shown_as_a_table(run, three):
    done = run(
        "eval", "--qrels", "qrels.txt", "old.trec", "new.trec", "--measure", "rr@3,P@1", "--worst", "5",
        "--queries", "queries.tsv",
    )  # fmt: skip
    assert [line.split() for line in done.lines] == [line.split() for line in TABLE.splitlines()]
    assert done.err == "rerank: note: new.trec: 1 of 3 judged queries are missing and count 0\n"
    assert done.code == 0


def test_means_equal_those_of_trec_eval_and_json_has_all_digits(run, three):
    done = run("eval", "--qrels", "qrels.txt", "old.trec", "--json", "--by-query", "--measure", "nDCG@10 AP")
    judged = {"q1": {"a": 1, "b": 0}, "q2": {"a": 1}, "q3": {"c": 2}}
    scores = {"q1": {"b": 2.0, "a": 1.0}, "q2": {"a": 1.0}, "q3": {"x": 2.0, "c": 1.0}}
    oracle = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut_10", "map"}).evaluate(scores)
    found = done.json["runs"][0]
    for name, engine in (("nDCG@10", "ndcg_cut_10"), ("AP", "map")):
        assert found["means"][name]["mean"] == pytest.approx(sum(v[engine] for v in oracle.values()) / 3, abs=1e-9)
        assert {q: v[name] for q, v in found["by_query"].items()} == {q: v[engine] for q, v in oracle.items()}
    assert done.json["schema_version"] == 1
    assert done.json["measures"] == ["nDCG@10", "AP"]


def test_equal_seeds_give_equal_bytes(run, three):
    argv = ("eval", "--qrels", "qrels.txt", "old.trec", "new.trec", "--json", "--resamples", "500")
    assert run(*argv).out == run(*argv).out


def test_csv_of_means_and_of_queries(run, three):
    done = run("eval", "--qrels", "qrels.txt", "old.trec", "new.trec", "-f", "csv", "--measure", "AP")
    rows = list(csv.DictReader(io.StringIO(done.text)))
    assert [row["run"] for row in rows] == ["old.trec", "new.trec"]
    assert float(rows[1]["delta"]) == pytest.approx(float(rows[1]["mean"]) - float(rows[0]["mean"]))
    assert rows[0]["baseline"] == ""
    done = run("eval", "--qrels", "qrels.txt", "old.trec", "-f", "csv", "--measure", "AP", "--by-query")
    assert done.lines == [
        "run,query_id,measure,value,delta",
        "old.trec,q1,AP,0.5,",
        "old.trec,q2,AP,1.0,",
        "old.trec,q3,AP,0.5,",
    ]


def test_markdown_for_a_job_summary_escapes_texts(run, three, tmp_path):
    done = run(
        "eval", "--qrels", "qrels.txt", "old.trec", "--measure", "AP", "--worst", "1", "--queries", "queries.tsv",
        "-o", "summary.md", "--fail-under", "AP=0.5",
    )  # fmt: skip
    assert done.out == b""
    assert done.code == 0
    text = (tmp_path / "summary.md").read_text()
    assert text.startswith("| run | queries | AP |\n| --- | ---: | ---: |\n| old.trec | 3/3 | 0.6667 |\n")
    assert "| old.trec | q1 | why \\*so\\* | 0.5000 |\n" in text
    assert "| passed | --fail-under AP=0.5: AP of old.trec is 0.6667 |" in text


def test_an_assertion_that_fails_writes_the_report_and_ends_with_7(run, three):
    done = run(
        "eval", "--qrels", "qrels.txt", "--baseline", "old.trec", "new.trec", "--fail-on-drop", "RR=0.1",
        "--fail-under", "RR=0.9",
    )  # fmt: skip
    assert done.code == 7
    assert "FAILED  --fail-under RR=0.9: RR of new.trec is 0.5000" in done.text
    assert "0.6667" in done.text
    assert done.err.splitlines()[-1] == (
        "rerank: error: --fail-under RR=0.9: RR of new.trec is 0.5000; "
        "--fail-on-drop RR=0.1: drop of new.trec is 0.1667"
    )
    kept = run("eval", "--qrels", "qrels.txt", "--baseline", "old.trec", "new.trec", "--fail-on-drop", "RR=0.2")
    assert kept.code == 0
    same = run("eval", "--qrels", "qrels.txt", "--baseline", "old.trec", "old.trec", "--fail-on-drop", "RR=0")
    assert same.code == 0


def test_labelled_requests_and_the_responses_of_batch(run, files):
    """The dev sets' form: requests with `relevance`, responses that name documents by index."""
    requests = [
        {"id": "1", "query": "why", "documents": ["x", "y"], "relevance": [0, 1]},
        {
            "id": "2",
            "query": "how",
            "documents": [{"id": "k", "text": "x"}, {"id": "l", "text": "y"}],
            "relevance": [1, 0],
        },
    ]
    responses = [
        {"id": "1", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},
        {"id": "2", "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]},
    ]
    files(labelled_jsonl="".join(json.dumps(r) + "\n" for r in requests))
    stdin = "".join(json.dumps(r) + "\n" for r in responses)
    done = run("eval", "--qrels", "labelled.jsonl", "--measure", "RR", "--worst", "1", "--json", stdin=stdin)
    assert done.code == 0, done.err
    assert done.json["runs"][0]["means"]["RR"]["mean"] == 0.75
    assert done.json["worst"][0]["text"] == "how"


def test_inline_labels_of_rank_output(run, files):
    rows = [
        {"id": "a", "text": "t", "relevance": 0, "index": 1, "rank": 1, "relevance_score": 0.5},
        {"id": "b", "text": "t", "relevance": 1, "index": 0, "rank": 2, "relevance_score": 0.5},
    ]
    files(ranked_jsonl="".join(json.dumps(r) + "\n" for r in rows))
    done = run("eval", "ranked.jsonl", "--measure", "RR", "--resamples", "0")
    assert done.text == "run           queries      RR\nranked.jsonl      1/1  0.5000\n"
    assert done.err == (
        "rerank: note: judged by the `relevance` in the runs: documents that they left out are not counted\n"
    )


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["--qrels", "qrels.txt", "old.trec", "--measure", "nDGC@10"], 2, "unknown measure `nDGC@10`\nhint: did you mean `nDCG@10`?"),
        (["--qrels", "qrels.txt", "old.trec", "--fail-on-drop", "AP=0.1"], 2, "--fail-on-drop needs a run to compare with"),
        (["--qrels", "qrels.txt", "old.trec", "--fail-under", "AP"], 2, "--fail-under: `AP` is not MEASURE=NUMBER"),
        (["--qrels", "qrels.txt", "old.trec", "-f", "yaml"], 2, "--format: unknown value `yaml`"),
        (["--qrels", "qrels.txt", "old.trec", "--json", "-f", "csv"], 2, "--json and -f csv exclude each other"),
        (["--qrels", "qrels.txt", "none.trec"], 3, "none.trec: no such file\nhint: did you mean `new.trec`?"),
        (["--qrels", "old.trec", "old.trec"], 3, "old.trec:1: qrels have 4 columns"),
        (["old.trec"], 3, "there are no judgements"),
        (["--qrels", "qrels.txt", "qrels.txt"], 3, "qrels.txt:1: a run has 6 columns"),
    ],
)  # fmt: skip
def test_errors_end_with_their_exit_code_and_no_output(run, three, argv, code, message):
    done = run("eval", *argv)
    assert (done.code, done.out) == (code, b"")
    assert message in done.err


def test_without_runs_on_a_terminal_the_missing_arguments_are_named(run, three):
    done = run("eval", "--qrels", "qrels.txt", tty={"stdin"})
    assert (done.code, done.out) == (2, b"")
    assert "there is no run to evaluate" in done.err


def test_without_the_extra_the_install_command_is_shown(run, three, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytrec_eval", None)
    done = run("eval", "--qrels", "qrels.txt", "old.trec")
    assert (done.code, done.out) == (4, b"")
    assert done.err.endswith("hint: pip install 'rerank-cli[eval]'\n")


# --- compare --------------------------------------------------------------------------------------------------------


def test_compare_as_a_table(run, three):
    done = run("compare", "old.trec", "new.trec")
    assert done.lines[0] == "old.trec → new.trec"
    assert done.lines[2].split() == ["3", "-1.0000", "0.4500", "3"]
    assert done.lines[4:] == [
        "most changed",
        "query  moves         common      tau     RBO  first changed",
        "q3     x 1→–, c 2→–       0        –  0.0000            yes",
        "q2     a 1→2              1        –  0.4500            yes",
        "q1     a 2→1, b 1→2       2  -1.0000  0.9000            yes",
    ]
    assert done.code == 0


def test_compare_as_json_lists_every_document(run, three):
    done = run("compare", "old.trec", "new.trec", "--json")
    assert done.json["runs"] == ["old.trec", "new.trec"]
    assert done.json["queries"][0] == {
        "query_id": "q1", "common": 2, "tau": -1.0, "rbo": pytest.approx(0.9), "top_changed": True,
        "documents": [{"document": "a", "before": 2, "after": 1}, {"document": "b", "before": 1, "after": 2}],
    }  # fmt: skip


def test_a_single_ranking_without_an_id_is_compared_with_the_only_query(run, files):
    files(a_jsonl='{"id": "x", "rank": 1, "relevance_score": 0.5, "index": 0}\n', b_trec="7 Q0 x 1 1 t\n")
    done = run("compare", "a.jsonl", "b.trec", "--json")
    assert [(q["query_id"], q["rbo"]) for q in done.json["queries"]] == [("7", 1.0)]


def test_compare_warns_of_two_id_spaces_and_checks_its_options(run, files):
    files(a_trec="1 Q0 x 1 1 t\n", b_trec="2 Q0 x 1 1 t\n")
    assert "no document in common" in run("compare", "a.trec", "b.trec").err
    assert run("compare", "a.trec", "b.trec", "--rbo-p", "1").code == 2
    assert run("compare", "-", "-").code == 2
    assert run("compare", "a.trec").code == 2
    assert run("compare", "a.trec", "b.trec", "--depth", "0").code == 2


LABELLED = (
    '{"id":"a","score":9.5,"text":"Bananas are rich in potassium.","relevance":0}\n'
    '{"id":"b","score":8.1,"text":"Washington, D.C. is the capital of the United States.","relevance":1}\n'
    '{"id":"c","score":1.4,"text":"Lunch is at noon.","relevance":0}\n'
)
CAPITAL = "capital of the United States"


@pytest.mark.parametrize("more", [(), ("--result-key", "rr")])
def test_eval_measures_the_ranking_and_not_the_retrievers_own_score(run, more) -> None:
    ranked = run("-q", CAPITAL, "-f", "jsonl", *more, stdin=LABELLED).out
    found = run("eval", "--measure", "RR", "-f", "json", "-", stdin=ranked)
    assert b"1.0" in found.out, found.out


def test_before_and_after_use_the_ranking_even_in_input_order(run) -> None:
    found = run("-q", CAPITAL, "--keep-order", "-f", "ids", stdin=LABELLED)
    assert "RR@10 0.5000 → 1.0000" in found.err


def test_eval_takes_the_same_labelled_requests_as_batch(run, tmp_path: Path) -> None:
    odd = '{"id":"q","query":"tea \\ud800","documents":[{"id":12345678901234567890123,"text":"tea pot"},{"id":true,"text":"sofa"}],"relevance":[1,0]}'
    (tmp_path / "l.jsonl").write_text(odd)
    ranked = run("batch", tmp_path / "l.jsonl").out
    found = run("eval", "--qrels", tmp_path / "l.jsonl", "--measure", "RR", "-f", "json", "-", stdin=ranked)
    assert found.code == 0, found.err
    assert b"1.0" in found.out
