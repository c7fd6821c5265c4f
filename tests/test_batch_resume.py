"""What may go wrong around `rerank batch`: signals, disks, pipes, locks, many outputs, a warm cache, progress."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from free_scorer import FreeScorer

from rerank_cli.batch.journal import Journal, State
from rerank_cli.batch.scoring import BLOCK_JOBS
from rerank_cli.errors import OutputError, UsageError
from rerank_cli.scorers import registry

PROGRAM = [sys.executable, "-m", "rerank_cli", "batch"]
WORDS = "capital city bread butter state river bank water loan money".split()


def rows(count: int, documents: int = 3, bad: frozenset[int] = frozenset()) -> str:
    lines = []
    for number in range(count):
        texts = [f"{number * 31 + i} {WORDS[(number + i) % 10]}" for i in range(documents)]
        lines.append("{broken" if number in bad else json.dumps({"query": WORDS[number % 10], "documents": texts}))
    return "\n".join(lines) + "\n"


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> FreeScorer:
    """A scorer that costs nothing, for what is not about scores."""
    scorer = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: scorer)
    return scorer


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


class Stopping(FreeScorer):
    """Scores until its nth call, which the user interrupts."""

    def __init__(self, calls: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        super().__init__()
        self.left, self.error = calls, error

    def score(self, pairs, limits, advance=None):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().score(pairs, limits, advance)


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(run, tmp_path: Path, monkeypatch) -> None:
    source, whole, target = tmp_path / "in.jsonl", tmp_path / "whole", tmp_path / "out.jsonl"
    source.write_text(rows(3 * BLOCK_JOBS, bad=frozenset({3, 700})))
    monkeypatch.setattr(registry, "open_scorer", lambda *_: FreeScorer())
    assert run("batch", source, "-o", whole, "--errors", tmp_path / "whole.errors").code == 6
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    argv = ("batch", source, "-o", target, "--errors", tmp_path / "out.errors", "--summary", tmp_path / "s.json")
    stopped = run(*argv)
    assert stopped.code == 130
    assert f"the first {BLOCK_JOBS} rows are in" in stopped.err
    assert "--resume goes on" in stopped.err
    assert json.loads((tmp_path / "s.json").read_text())["complete"] is False
    assert not target.exists()
    second = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: second)
    found = run(*argv, "--resume")
    assert found.code == 6
    assert f"going on after row {BLOCK_JOBS}" in found.err
    assert second.seen == 3 * (2 * BLOCK_JOBS - 1), "no pair of a finished block is scored again"
    assert target.read_bytes() == whole.read_bytes()
    assert (tmp_path / "out.errors").read_bytes() == (tmp_path / "whole.errors").read_bytes()
    assert json.loads((tmp_path / "s.json").read_text())["rows"] == 3 * BLOCK_JOBS
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.jsonl", "out.errors", "out.jsonl", "s.json", "whole", "whole.errors",
    ]  # fmt: skip


def test_a_run_begun_anew_says_what_it_drops(run, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "in.jsonl").write_text(rows(2 * BLOCK_JOBS))
    argv = ("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    assert run(*argv).code == 130
    monkeypatch.setattr(registry, "open_scorer", lambda *_: FreeScorer())
    found = run(*argv)
    assert (found.code, f"dropping {BLOCK_JOBS} rows" in found.err) == (0, True)


def test_before_and_after_speaks_of_a_resumed_run_only_if_there_was_one(run, free, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "query": "q", "documents": ["1", "2"]}\n')
    (tmp_path / "qrels").write_text("a 0 1 1\n")
    found = run("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--qrels", tmp_path / "qrels")
    assert "RR@10 0.5000 → 1.0000" in found.err
    assert "run before it" not in found.err


def test_an_error_line_has_the_id_of_its_row(run, free, tmp_path: Path) -> None:
    rows = ['{"id": "a", "query": "q"}', '{"query_id": 7, "query": "", "documents": []}', '{"id": "b", "qu', "[1]"]
    assert run("batch", "--errors", tmp_path / "e", stdin="\n".join(rows)).code == 6
    assert [json.loads(line)["id"] for line in (tmp_path / "e").read_text().splitlines()] == ["a", "7", None, None]


def test_another_script_is_warned_of_once(run) -> None:
    rows = [json.dumps({"query": "首都", "documents": ["北京是中国的首都", "面包"]})] * 3
    assert run("batch", stdin="\n".join(rows)).err.count("Latin") == 1


def test_strict_keeps_the_rows_before_and_resumes_after_the_bad_one(run, free, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(rows(6, bad=frozenset({2})))
    argv = ("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    stopped = run(*argv, "--strict")
    assert stopped.code == 6
    assert "in.jsonl:3" in stopped.err
    assert (tmp_path / "out.jsonl.partial").read_bytes().count(b"\n") == 2
    assert run(*argv, "--resume").code == 6
    assert [r["id"] for r in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())] == [1, 2, 4, 5, 6]


def test_resume_skips_outputs_that_stand(run, tmp_path: Path, monkeypatch) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(rows(5))
    argv = ("batch", *(tmp_path / f"{name}.jsonl" for name in "abc"), "--out-dir", tmp_path / "out")
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    assert run(*argv).code == 130
    rest = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: rest)
    found = run(*argv, "--resume")
    assert (found.code, "already whole" in found.err, rest.seen) == (0, True, 30)
    assert "15 rows" in found.err
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == [f"{name}.responses.jsonl" for name in "abc"]


def test_two_inputs_of_one_name_are_refused(run, free, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text(rows(1))
    found = run("batch", tmp_path / "a/x.jsonl", tmp_path / "b/x.jsonl", "--out-dir", tmp_path / "out")
    assert found.code == 2
    assert "would both become" in found.err


def test_faults_before_a_model_is_opened(run, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text(rows(1))
    missing = run("batch", tmp_path / "request.jsonl", "-o", tmp_path / "o")
    assert (missing.code, "did you mean" in missing.err) == (3, True)
    assert run("batch", tty={"stdin"}).code == 2
    assert run("batch", "-", "-", stdin="").code == 2
    assert run("batch", "--workers", "2", stdin="").code == 2


def test_results_may_go_to_devices_and_pipes(run, free, tmp_path: Path) -> None:
    assert len(run("batch", "-o", "-", stdin=rows(2)).records) == 2
    assert run("batch", "-o", "/dev/null", stdin=rows(2)).code == 0
    full = run("batch", "-o", "/dev/full", stdin=rows(2))
    assert (full.code, "No space left" in full.err) == (3, True)
    assert run("batch", "-o", "/dev/null", "--resume", stdin=rows(2)).code == 2


def test_a_full_disk_is_told_and_can_be_gone_on_with(tmp_path: Path, env: dict[str, str]) -> None:
    """A limit on file size stands for the disk; the state never vouches for more than was written."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(rows(3 * BLOCK_JOBS, 1))
    limit = 100_000
    argv = [*PROGRAM, str(source), "-o", str(target), "--quiet"]
    done = subprocess.run(
        argv, env=env, capture_output=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert b"cannot write: File too large" in done.stderr
    assert b"Traceback" not in done.stderr
    state = json.loads(Path(f"{target}.state").read_text())
    assert 0 < state["output_bytes"] <= limit
    assert subprocess.run([*argv, "--resume"], env=env, check=False).returncode == 0
    assert target.read_bytes().count(b"\n") == 3 * BLOCK_JOBS


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "in.jsonl").write_text(rows(3000, 1))
    script = f'"{sys.executable}" -m rerank_cli batch {tmp_path}/in.jsonl | head -1 >&2; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, check=False)
    assert done.stdout == b"0\n"
    assert done.stderr.count(b"\n") == 1


def test_one_output_has_one_writer(tmp_path: Path) -> None:
    first = Journal(tmp_path / "out", None, {}, resume=False)
    first.add(b"{}\n", b"", 1, {"rows": 1})
    with pytest.raises(OutputError, match="another rerank"):
        Journal(tmp_path / "out", None, {}, resume=True)
    first.close()
    again = Journal(tmp_path / "out", None, {}, resume=True)
    assert again.state == State(1, 3, 0, (("rows", 1),))
    again.close()


@pytest.mark.parametrize("damage", ["truncated output", "no line end", "broken state", "state of another kind"])
def test_a_state_that_does_not_fit_its_output_is_refused(tmp_path: Path, damage: str) -> None:
    journal = Journal(tmp_path / "out", None, {}, resume=False)
    journal.add(b"{}\n{}\n", b"", 2, {"rows": 2})
    journal.close()
    partial, state = tmp_path / "out.partial", tmp_path / "out.state"
    if damage == "truncated output":
        partial.write_bytes(b"{}\n")
    elif damage == "no line end":
        partial.write_bytes(b"\0" * 6)
    else:
        state.write_text("{" if damage == "broken state" else "[]")
    with pytest.raises(UsageError, match="--resume"):
        Journal(tmp_path / "out", None, {}, resume=True)
    assert partial.exists()


def test_a_thousand_small_requests_share_batches(run, free) -> None:
    """Few calls of the scorer, whatever the size of the requests: what makes small requests as fast as large ones."""
    assert run("batch", stdin=rows(1000, 2)).code == 0
    assert free.calls == 2
    assert free.seen == 2000


def test_a_warm_cache_needs_no_engine(run, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "in.jsonl").write_text(rows(20))
    argv = ["batch", str(tmp_path / "in.jsonl"), "--cache", "--cache-path", str(tmp_path / "c.db")]
    first = run(*argv)
    script = (
        "import sys; from rerank_cli.cli.main import main; from rerank_cli.terminal import Terminal\n"
        "assert main(sys.argv[1:], Terminal.of_process()) == 0\n"
        "print(sorted({'onnxruntime', 'tokenizers', 'torch', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *argv, "--quiet"], env=env, capture_output=True, check=True)
    assert done.stdout == first.out
    assert done.stderr == b"[]\n"


def test_four_processes_share_one_cache(run, tmp_path: Path, env: dict[str, str]) -> None:
    """Overlapping inputs at once: every process gets the scores that it would get alone, and none is lost."""
    lines = rows(60).splitlines(keepends=True)
    cache = ["--cache", "--cache-path", str(tmp_path / "c.db")]
    sources = []
    for number in range(4):
        sources.append(tmp_path / f"{number}.jsonl")
        sources[-1].write_text("".join(lines[10 * number : 10 * number + 30]))
    running = [
        subprocess.Popen([*PROGRAM, str(path), *cache, "--quiet"], env=env, stdout=subprocess.PIPE) for path in sources
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    for path, output in zip(sources, outputs, strict=True):
        assert output == run("batch", path).out
    (tmp_path / "all.jsonl").write_text("".join(lines))
    assert "180 pairs known, 0 scored" in run("batch", tmp_path / "all.jsonl", *cache, "-v").err


def test_progress_has_a_rate_and_bad_rows_stand_above_it(run, free, monkeypatch) -> None:
    """On a terminal; the rows of a file are counted, so that there is an end to see."""
    original = free.score

    def slow(pairs, limits, advance=None):
        advance(len(pairs) // 2)
        time.sleep(0.2)
        advance(len(pairs) - len(pairs) // 2)
        return original(pairs, limits, advance)

    monkeypatch.setattr(free, "score", slow)
    found = run("batch", stdin=rows(BLOCK_JOBS + 2, bad=frozenset({1})), tty={"stderr"}, columns=100)
    assert found.code == 6
    assert "pairs/s" in found.err
    assert "\n<stdin>:2: " in found.err.replace("\x1b[2K", "").replace("\r", "\n")


def test_the_rows_of_an_input_are_counted_where_that_is_cheap(tmp_path: Path) -> None:
    import gzip

    from rerank_cli.cli.batch_inputs import rows_in

    (tmp_path / "in.jsonl").write_text(rows(7))
    assert rows_in(str(tmp_path / "in.jsonl")) in {7, 8}
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(rows(7).encode()))
    assert rows_in(str(tmp_path / "in.jsonl.gz")) is None
    assert rows_in("-") is None


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from batch import measure, write_requests
    finally:
        sys.path.pop(0)
    peaks = []
    for pairs in (10_000, 1_000_000):
        path = tmp_path / f"{pairs}.jsonl"
        write_requests(path, (f"{number * 7919 % 1000003} words" for number in range(pairs)), 10)
        peaks.append(measure("free", path, "-o", tmp_path / "out")["peak_mb"])
    assert peaks[1] < peaks[0] + 16


def test_sigterm_leaves_a_run_that_can_be_gone_on_with(tmp_path: Path, env: dict[str, str]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(rows(3 * BLOCK_JOBS, 1))
    argv = [*PROGRAM, str(source), "-o", str(target)]
    process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE)
    state = Path(f"{target}.state")
    while process.poll() is None and (not state.exists() or json.loads(state.read_text())["next_row"] == 0):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode in {143, 0}
    if process.returncode == 143:
        assert b"--resume goes on" in err
        assert subprocess.run([*argv, "--resume", "--quiet"], env=env, check=False).returncode == 0
    assert target.read_bytes().count(b"\n") == 3 * BLOCK_JOBS
