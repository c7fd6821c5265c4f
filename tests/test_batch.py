"""`rerank batch` reads every shape of input, reports bad rows, keeps the order and gives the scores of `rank`."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from batch_support import BATCH, many, rows
from conftest import CAPITAL, ROOT, SAMPLES

from rerank_cli.batch.scoring import BLOCK_ROWS

DOCS = ["Washington, D.C. is the capital of the United States.", "Bread and butter.", "Carson City is in Nevada."]


def request(query: str = CAPITAL, **more) -> str:
    return json.dumps({"query": query, "documents": DOCS, **more})


def test_requests_become_responses_in_order_with_their_ids_or_lines(run) -> None:
    found = run(
        "batch", stdin="\n".join([request(id="a", top_n=1), "", request("bread", id=7), request("Nevada city")])
    )
    assert found.code == 0, found.err
    assert [r["id"] for r in found.records] == ["a", "7", 4]
    assert [r["results"][0]["index"] for r in found.records] == [0, 1, 2]
    assert len(found.records[0]["results"]) == 1
    assert found.records[0]["results"][0]["document"] == DOCS[0]
    assert "3 rows" in found.err


def test_batch_equals_rank_bitwise(run, tmp_path: Path) -> None:
    rows = many(40)
    (tmp_path / "r.jsonl").write_text(rows)
    found = run("batch", tmp_path / "r.jsonl")
    for line, row in list(zip(rows.splitlines(), found.records, strict=True))[::8]:
        alone = run("--json", stdin=line).json["results"]
        assert row["results"] == alone


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["wikiqa", "trecqa", "mediqa"])
def test_batch_equals_rank_bitwise_on_the_dev_sets(run, tmp_path: Path, name: str) -> None:
    """Every document of the set; runs where the project's data lies beside the repository."""
    path = ROOT.parent / "shared" / "data" / "dev" / f"{name}.jsonl.gz"
    if not path.exists():
        return  # the same check runs on made data above
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    found = run("batch", path).records
    assert len(found) == len(rows)
    for line, row in zip(rows, found, strict=True):
        request = json.loads(line)
        assert row["id"] == request["id"]
        body = json.dumps({"query": request["query"], "documents": request["documents"]})
        assert row["results"] == run("--json", stdin=body).json["results"]


def test_a_bad_row_is_reported_with_its_line_and_the_rest_continues(run, tmp_path: Path) -> None:
    rows = [
        request(id="good"),
        '{"query": "x"}',
        "{broken",
        request(id="also good"),
        json.dumps({"query": "x", "documents": [{"body": 1}]}),
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    found = run("batch", tmp_path / "in.jsonl", "--errors", tmp_path / "errors.jsonl", "--summary", tmp_path / "s.json")
    assert found.code == 6
    assert [r["id"] for r in found.records] == ["good", "also good"]
    for line in (2, 3, 5):
        assert f"in.jsonl:{line}" in found.err
    errors = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert [e["where"].rpartition(":")[2] for e in errors] == ["2", "3", "5"]
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["rows"], summary["failed"], summary["documents"]) == (5, 3, 6)
    strict = run("batch", tmp_path / "in.jsonl", "--strict")
    assert strict.code == 6
    assert [r["id"] for r in strict.records] == ["good"]


def test_one_document_too_long_fails_its_row_only(run) -> None:
    long = json.dumps({"id": "long", "query": "x", "documents": ["word " * 3000]})
    found = run("batch", "--long-documents", "error", stdin=f"{request(id='a')}\n{long}\n{request(id='b')}\n")
    assert found.code == 6
    assert [r["id"] for r in found.records] == ["a", "b"]
    assert "<stdin>:2" in found.err
    assert "3000 tokens" in found.err


def test_each_query_ranks_all_documents(run, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("q1\tcapital of the United States\nq2\tsalt lake city\n")
    found = run(
        "batch", "--queries", tmp_path / "q.tsv", "--documents", SAMPLES / "capital.jsonl", "-f", "rows", "-n", "2"
    )
    assert found.code == 0, found.err
    assert [r["query_id"] for r in found.records] == ["q1", "q1", "q2", "q2"]
    assert "Salt Lake" in found.records[2]["text"]
    assert [r["rank"] for r in found.records] == [1, 2, 1, 2]


def test_a_trec_run_with_queries_and_corpus(run, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"_id": "7", "text": "capital of the United States"}\n')
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(DOCS)]
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps(row) for row in corpus))
    (tmp_path / "run.trec").write_text("7 Q0 d1 1 3.0 bm25\n7 Q0 d2 2 2.0 bm25\n7 Q0 d0 3 1.0 bm25\n")
    argv = (
        "batch",
        "--run",
        tmp_path / "run.trec",
        "--queries",
        tmp_path / "q.jsonl",
        "--corpus",
        tmp_path / "c.jsonl.gz",
        "-f",
        "trec",
    )
    found = run(*argv)
    assert found.code == 0, found.err
    assert found.lines[0].startswith("7 Q0 d0 1 ")
    fused = run(*argv, "--prior-field", "score", "--fusion", "rrf", "--weight", "100")
    assert [line.split()[2] for line in fused.lines] == ["d1", "d2", "d0"], "the run's own score is the prior"
    shallow = run(*argv, "--depth", "2").lines
    assert sorted(line.split()[2] for line in shallow) == ["d1", "d2"]
    (tmp_path / "run.trec").write_text("7 Q0 nowhere 1 3.0 bm25\n")
    missing = run(*argv)
    assert missing.code == 6
    assert "nowhere" in missing.err


def test_several_files_go_to_one_output_or_to_a_folder(run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(request(id="a"))
    (tmp_path / "b.jsonl").write_text(request(id="b"))
    assert [r["id"] for r in run("batch", tmp_path / "a.jsonl", tmp_path / "b.jsonl").records] == ["a", "b"]
    assert run("batch", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--out-dir", tmp_path / "out").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.responses.jsonl", "b.responses.jsonl"]


def test_shards_together_give_the_whole_output(run, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(many(11))
    whole = run("batch", tmp_path / "r.jsonl").lines
    parts = [run("batch", tmp_path / "r.jsonl", "--shard", f"{i}/3").lines for i in (1, 2, 3)]
    assert sorted(line for part in parts for line in part) == sorted(whole)
    assert parts[0] == whole[0::3]
    assert run("batch", tmp_path / "r.jsonl", "--shard", "4/3").code == 2


def test_limits_in_a_request_apply_and_flags_override_them(run) -> None:
    long = json.dumps({"query": "x", "documents": ["word " * 500], "max_tokens_per_doc": 50})
    found = run("batch", stdin=long + "\n" + request()).records
    assert found[0]["results"][0]["truncated"] is True
    assert "truncated" not in found[1]["results"][0]


def test_resume_after_changes_is_refused_and_a_partial_row_is_dropped(run, tmp_path: Path) -> None:
    source, target = tmp_path / "r.jsonl", tmp_path / "out.jsonl"
    source.write_text(many(5))
    assert run("batch", source, "-o", target, "--resume").code == 0
    whole = target.read_bytes()
    state = {
        "version": 1, "next_row": 2, "output_bytes": sum(len(x) + 1 for x in whole.split(b"\n")[:2]), "errors_bytes": 0,
        "counts": {"rows": 2}, "identity": {},
    }  # fmt: skip
    partial, state_path = Path(f"{target}.partial"), Path(f"{target}.state")
    from rerank_cli.batch import local

    seen = {}
    original = local.identity_of

    def remember(*args):
        seen.update(original(*args))
        return seen

    local.identity_of = remember
    try:
        run("batch", source, "-o", tmp_path / "other.jsonl")
    finally:
        local.identity_of = original
    state["identity"] = seen
    partial.write_bytes(whole[: state["output_bytes"] + 13])
    state_path.write_text(json.dumps(state))
    target.unlink()
    found = run("batch", source, "-o", target, "--resume")
    assert found.code == 0, found.err
    assert "resuming after row 2" in found.err
    assert target.read_bytes() == whole
    assert not partial.exists()
    partial.write_bytes(whole)
    state_path.write_text(json.dumps(state))
    assert "an option changed" in run("batch", source, "-o", target, "--resume", "-n", "1").err
    source.write_text(many(4))
    found = run("batch", source, "-o", target, "--resume")
    assert found.code == 2
    assert "the input changed" in found.err


# A process whose free scorer writes down what it scores, 64 pairs at a time.
LOGGING = """
import os, sys, time
from free_scorer import FreeScorer
from rerank_cli.cli.main import main
from rerank_cli.scorers import registry
from rerank_cli.terminal import Terminal

log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

class Logging(FreeScorer):
    def score(self, pairs, limits, advance=None):
        found = []
        for start in range(0, len(pairs), 64):
            time.sleep(0.01)
            part = pairs[start : start + 64]
            os.write(log, b"".join(text.split()[0].encode() + b"\\n" for _, text, _ in part))
            found += super().score(part, limits)
        return found

registry.open_scorer = lambda *_: Logging()
sys.exit(main(sys.argv[1:], Terminal.of_process()))
"""


def logged(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_at_twenty_random_points_then_resume_scores_nothing_twice(tmp_path: Path) -> None:
    """Equal bytes; only pairs of a block that was open at a kill are scored again."""
    rows = 60 * BLOCK_ROWS
    source, target, log = tmp_path / "r.jsonl", tmp_path / "out.jsonl", tmp_path / "log"
    source.write_text("".join(f'{{"query": "q", "documents": ["{row} words"]}}\n' for row in range(rows)))
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "HOME": str(tmp_path)}
    whole = [sys.executable, "-c", LOGGING, str(tmp_path / "whole.log"), "batch", str(source), "-o", f"{target}.whole"]
    subprocess.run([*whole, "--quiet"], env=env, check=True)
    argv = [sys.executable, "-c", LOGGING, str(log), "batch", str(source), "-o", str(target), "--quiet", "--resume"]
    chance, opened = random.Random(3), []
    for kill in range(20):
        process = subprocess.Popen(argv, env=env)
        if kill % 5:
            wanted = logged(log) + chance.randrange(2 * BLOCK_ROWS)
            while logged(log) < wanted:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
        else:  # each fifth kill hits the start
            time.sleep(chance.uniform(0, 0.5))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        state = Path(f"{target}.state")
        opened.append(json.loads(state.read_text())["next_row"] if state.exists() else 0)
    assert 0 < opened[-1] < rows
    subprocess.run(argv, env=env, check=True)
    assert target.read_bytes() == Path(f"{target}.whole").read_bytes()
    times = Counter(map(int, log.read_text().split()))
    assert sorted(times) == list(range(rows))
    again = Counter(row for first in opened for row in range(first, first + BLOCK_ROWS))
    assert all(count <= 1 + again[row] for row, count in times.items())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_with_the_model_gives_equal_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "r.jsonl", tmp_path / "out.jsonl"
    source.write_text(many(2000))
    argv = [*BATCH, str(source), "-o", str(target), "--quiet"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    subprocess.run(argv, env=env, check=True)
    whole = target.read_bytes()
    target.unlink()
    chance = random.Random(3)
    for kill in range(4):
        process = subprocess.Popen([*argv, "--resume"], env=env)
        partial = Path(f"{target}.partial")
        before = partial.stat().st_size if partial.exists() else 0
        while process.poll() is None and kill and not (partial.exists() and partial.stat().st_size > before):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        process.wait()
    assert not target.exists()
    subprocess.run([*argv, "--resume"], env=env, check=True)
    assert target.read_bytes() == whole


def test_contradictory_options_are_usage_errors(run, tmp_path: Path) -> None:
    assert run("batch", "--queries", "q", stdin="").code == 2
    assert run("batch", "--run", "r", "--queries", "q", stdin="").code == 2
    assert run("batch", "-o", "a", "--out-dir", "b", stdin="").code == 2
    assert run("batch", "--resume", stdin="").code == 2
    found = run("batch", "-f", "row", stdin="")
    assert found.code == 2
    assert "did you mean `rows`" in found.err


def test_the_score_cache_serves_a_second_run(run, tmp_path: Path) -> None:
    rows = many(10)
    argv = ("batch", "--cache", "--cache-path", tmp_path / "c.db", "-v")
    first = run(*argv, stdin=rows)
    second = run(*argv, stdin=rows)
    assert first.out == second.out
    assert "0 scored" in second.err


def test_an_error_line_has_the_id_of_its_row(run, free, tmp_path: Path) -> None:
    rows = ['{"id": "a", "query": "q"}', '{"query_id": 7, "query": "", "documents": []}', '{"id": "b", "qu', "[1]"]
    assert run("batch", "--errors", tmp_path / "e", stdin="\n".join(rows)).code == 6
    assert [json.loads(line)["id"] for line in (tmp_path / "e").read_text().splitlines()] == ["a", "7", None, None]


def test_a_non_latin_script_gives_one_warning(run) -> None:
    rows = [json.dumps({"query": "首都", "documents": ["北京是中国的首都", "面包"]})] * 3
    assert run("batch", stdin="\n".join(rows)).err.count("Latin") == 1


def test_two_inputs_with_the_same_name_are_refused(run, free, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text(rows(1))
    found = run("batch", tmp_path / "a/x.jsonl", tmp_path / "b/x.jsonl", "--out-dir", tmp_path / "out")
    assert found.code == 2
    assert "would both be written to" in found.err


def test_missing_inputs_and_wrong_options_fail_before_a_model_is_opened(run, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text(rows(1))
    missing = run("batch", tmp_path / "request.jsonl", "-o", tmp_path / "o")
    assert (missing.code, "did you mean" in missing.err) == (3, True)
    assert run("batch", tty={"stdin"}).code == 2
    assert run("batch", "-", "-", stdin="").code == 2
    assert run("batch", "--workers", "2", stdin="").code == 2


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
