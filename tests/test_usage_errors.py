"""Mistakes on the command line that would cost data, time or trust are refused, or reported, before scoring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from free_scorer import FreeScorer

ROWS = "".join(json.dumps({"id": name, "query": "q", "documents": ["1 a", "2 b"]}) + "\n" for name in ("x", "y"))
RUN = "q1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\n"


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current directory, with requests, a query and a document; scoring costs nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(ROWS)
    (tmp_path / "q.tsv").write_text("1\tq\n")
    (tmp_path / "docs.jsonl").write_text('{"id":"a","text":"1 a"}\n')


@pytest.mark.parametrize(
    "arguments",
    [
        ("in.jsonl", "-o", "in.jsonl"),
        ("in.jsonl", "-o", "./in.jsonl"),
        ("in.jsonl", "-o", "out", "--errors", "in.jsonl"),
        ("in.jsonl", "-o", "out", "--summary", "in.jsonl"),
        ("in.jsonl", "-o", "out", "--summary", "out"),
        ("in.jsonl", "-o", "out", "--errors", "out"),
        ("in.jsonl", "--errors", "out", "--summary", "out"),
        ("--queries", "q.tsv", "--documents", "docs.jsonl", "--errors", "docs.jsonl"),
        ("--queries", "q.tsv", "--documents", "docs.jsonl", "-o", "q.tsv"),
        ("in.jsonl", "-o", "hard.jsonl"),
        ("in.jsonl", "-o", "out", "--errors", "hard.jsonl"),
        ("in.jsonl", "-o", "out", "--errors", "out.partial"),
        ("in.jsonl", "-o", "out", "--errors", "out.state"),
        ("in.jsonl", "-o", "out", "--summary", "./out.state.new"),
        ("in.jsonl", "--out-dir", ".", "--errors", "in.responses.jsonl.partial"),
    ],
)
def test_no_file_is_read_and_written_or_written_twice(run, tmp_path: Path, arguments) -> None:
    (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "in.jsonl")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = run("batch", *arguments)
    assert result.code == 2
    assert "would lose what it holds" in result.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    assert not (tmp_path / "out").exists()


def test_a_device_may_take_two_outputs(run) -> None:
    assert run("batch", "in.jsonl", "-o", "/dev/null", "--errors", "/dev/null").code == 0


@pytest.mark.parametrize("rest", [(), ("-o", "out"), ("--out-dir", "outs")])
def test_bad_rows_do_not_go_to_stdout(run, free, tmp_path: Path, rest) -> None:
    result = run("batch", "in.jsonl", "--errors", "-", *rest)
    assert (result.code, result.out, free.calls) == (2, b"", 0)
    assert "hint: name a file" in result.err
    assert not (tmp_path / "-").exists()


def test_the_summary_does_not_mix_with_results(run, free, tmp_path: Path) -> None:
    result = run("batch", "in.jsonl", "--summary", "-")
    assert (result.code, result.out, free.calls) == (2, b"", 0)
    assert "hint: name a file, or send the results to -o" in result.err
    result = run("batch", "in.jsonl", "--summary", "-", "-o", "out")
    assert json.loads(result.out)["rows"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("batch", "in.jsonl", "-o", "out", "--summary"),
        ("batch", "in.jsonl", "--summary"),
        ("-q", "q", "docs.jsonl", "-o"),
    ],
)
@pytest.mark.parametrize(
    ("place", "why"), [("no/such", "No such file"), ("q.tsv/such", "Not a directory"), (".", "Is a directory")]
)
def test_an_unwritable_output_is_reported_before_anything_is_scored(
    run, free, tmp_path: Path, arguments, place: str, why: str
) -> None:
    result = run(*arguments, place)
    assert (result.code, result.out, free.calls) == (3, b"", 0)
    assert result.err.startswith(f"rerank: error: cannot write to {place}: {why}")
    assert not (tmp_path / "out").exists()


def test_a_repeated_request_id_is_reported_once_in_trec(run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(ROWS + ROWS)
    result = run("batch", "in.jsonl", "-f", "trec")
    assert (result.code, len(result.lines)) == (0, 8)
    assert [line for line in result.err.splitlines() if "came before" in line] == [
        "rerank: warning: in.jsonl:3: the id `x` came before: the TREC run makes one query of the two"
    ]
    assert "came before" not in run("batch", "in.jsonl", "-f", "rows").err
    assert "came before" not in run("batch", "in.jsonl", "-f", "trec", "--quiet").err


def test_an_id_may_repeat_in_another_output(run, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(ROWS)
    assert "came before" not in run("batch", "in.jsonl", "other.jsonl", "-f", "trec", "--out-dir", "outs").err
    assert "other.jsonl:1: the id `x`" in run("batch", "in.jsonl", "other.jsonl", "-f", "trec").err


def test_a_query_id_with_white_space_is_one_bad_row(run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(ROWS + '{"id":"z z","query":"q","documents":["1 a"]}\n')
    result = run("batch", "in.jsonl", "-f", "trec")
    assert result.code == 6
    assert "the query id 'z z'" in result.err
    assert len(result.out.splitlines()) == 4


@pytest.mark.parametrize("text", ["²/3", "1/²", "1/" + "9" * 5000, "0/2", "3/2"])
def test_shards_are_plain_numbers(run, text: str) -> None:
    assert run("batch", "in.jsonl", "--shard", text).code == 2


@pytest.mark.parametrize("text", ["a@²", "a@" + "9" * 5000, "a@0", "@1", "a"])
def test_an_invalid_expectation_is_refused_before_anything_is_scored(run, free, tmp_path: Path, text: str) -> None:
    result = run("-q", "q", "docs.jsonl", "--expect", text, "-o", "out.jsonl")
    assert (result.code, free.calls) == (2, 0)
    assert not (tmp_path / "out.jsonl").exists()


def test_an_expectation_uses_the_best_rank_of_equal_ids(run, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"id":"a","text":"1 a"}\n{"id":"b","text":"2 b"}\n{"id":"a","text":"3 a"}\n')
    assert run("-q", "q", "docs.jsonl", "--expect", "a@1", "--keep-order").code == 0


@pytest.mark.parametrize("name", ["docs.jsonl", "docs.csv", "docs.yaml", "docs.json"])
def test_null_separators_do_not_override_a_file_extension(run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"id":"a","text":"1 a"}\n')
    result = run("-q", "q", name, "-z", "-f", "ids")
    assert result.code == 2
    assert "by its name" in result.err
    assert run("-q", "q", name, "-z", "--input-format", "lines", "-f", "ids").out == b"0\0"


def test_null_separators_end_the_paths_of_files(run, tmp_path: Path) -> None:
    (tmp_path / "x y.txt").write_text("1 a")
    (tmp_path / "z.txt").write_text("2 b")
    found = run("-q", "q", "--input-format", "files", "x y.txt", "z.txt", "-z", "-f", "ids")
    assert (found.code, found.out) == (0, b"z.txt\0x y.txt\0")


def test_too_many_threads_are_refused(run) -> None:
    result = run("-q", "q", "docs.jsonl", "--threads", "100000")
    assert result.code == 2
    assert "is too large" in result.err


def test_resume_refuses_a_lost_errors_file(run, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{broken\n" + ROWS + "{broken\n")
    assert run("batch", "in.jsonl", "-o", "out", "--errors", "bad", "--strict").code == 6
    assert (tmp_path / "bad").stat().st_size  # what the state counts on
    (tmp_path / "bad").unlink()
    result = run("batch", "in.jsonl", "-o", "out", "--errors", "bad", "--resume")
    assert result.code == 2
    assert "does not match its state file" in result.err


@pytest.mark.parametrize("grade", ["2147483648", "99999999999999999999"])
def test_a_grade_beyond_32_bits_is_refused(run, tmp_path: Path, grade: str) -> None:
    (tmp_path / "qrels").write_text(f"q1 0 b -1\nq1 0 a {grade}\n")
    (tmp_path / "run.trec").write_text(RUN)
    result = run("eval", "--qrels", "qrels", "run.trec")
    assert result.code == 3
    assert "qrels:2: " in result.err
    assert "too large" in result.err


@pytest.mark.parametrize("text", ["", ",", " "])
def test_an_empty_list_of_measures_is_refused(run, tmp_path: Path, text: str) -> None:
    (tmp_path / "qrels").write_text("q1 0 a 1\n")
    (tmp_path / "run.trec").write_text(RUN)
    result = run("eval", "--qrels", "qrels", "run.trec", "--measure", text)
    assert result.code == 2
    assert "does not name a measure" in result.err


def test_standard_input_is_read_once(run) -> None:
    result = run("eval", "--qrels", "-", "-", stdin=RUN)
    assert result.code == 2
    assert "read once" in result.err


def test_an_empty_run_is_reported(run, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 a 1\n")
    (tmp_path / "run.trec").write_text("")
    result = run("eval", "--qrels", "qrels", "run.trec")
    assert (result.code, "ranks nothing" in result.err) == (0, True)


def test_errors_name_a_query_without_an_id(run, tmp_path: Path) -> None:
    ranking = '{"index":0,"rank":1,"relevance_score":0.5}\n'
    (tmp_path / "one.jsonl").write_text(ranking)
    (tmp_path / "two.jsonl").write_text(ranking * 2)
    found = run("compare", "one.jsonl", "two.jsonl")
    assert found.code == 3
    assert "two.jsonl:2: document `0` appears twice for the query without an id\nhint: are these several" in found.err
    alone = run("batch", "--run", "one.jsonl", "--queries", "q.tsv", "--corpus", "docs.jsonl")
    assert (alone.code, "the query without an id of the run is not among" in alone.err) == (6, True)


def test_the_first_of_several_runs_is_the_baseline_of_a_drop(run, tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("q1 0 a 1\n")
    (tmp_path / "run.trec").write_text(RUN)
    (tmp_path / "worse.trec").write_text("q1 Q0 b 1 2 t\nq1 Q0 a 2 1 t\n")
    drop = ("--fail-on-drop", "P@1=0.1")
    assert run("eval", "--qrels", "qrels", "run.trec", "worse.trec", *drop).code == 7
    assert run("eval", "--qrels", "qrels", "worse.trec", "run.trec", *drop).code == 0
    assert run("eval", "--qrels", "qrels", "run.trec", *drop).code == 2


def test_replaced_keys_of_a_record_are_named(run) -> None:
    result = run("-q", "q", "docs.jsonl", "--result-key", "text")
    assert "1 record already had a result key (`text`): replaced (--result-key chooses another name)" in result.err
    result = run("-q", "q", "-f", "csv", stdin='{"text":"1 a","rank":"private","index":"i"}\n')
    assert "(`rank`, `index`): replaced" in result.err


@pytest.mark.parametrize("key", ["document", "best_chunk", "query_id", ""])
@pytest.mark.parametrize("command", [("-q", "q", "docs.jsonl"), ("batch", "in.jsonl")], ids=["rank", "batch"])
def test_a_result_key_that_would_be_repeated_is_refused(run, free, command, key: str) -> None:
    result = run(*command, "--result-key", key)
    assert (result.code, result.out, free.calls) == (2, b"", 0)
    assert "--result-key" in result.err


def test_a_name_that_is_too_long_for_a_file_is_no_crash(run) -> None:
    found = run("-q", "x", "n" * 300)
    assert (found.code, "internal error" in found.err) == (3, False)
