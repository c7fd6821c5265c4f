"""An interrupted or failed `rerank batch` (signals, full disks, locks, bad state) keeps its rows and can be resumed."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_support import BATCH, rows
from free_scorer import FreeScorer

from rerank_cli.batch.journal import Journal, State
from rerank_cli.batch.scoring import BLOCK_ROWS
from rerank_cli.errors import OutputError, UsageError
from rerank_cli.scorers import registry


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


def test_ctrl_c_keeps_finished_rows_and_says_how_to_resume(run, tmp_path: Path, monkeypatch) -> None:
    source, whole, target = tmp_path / "in.jsonl", tmp_path / "whole", tmp_path / "out.jsonl"
    source.write_text(rows(3 * BLOCK_ROWS, bad=frozenset({3, 700})))
    monkeypatch.setattr(registry, "open_scorer", lambda *_: FreeScorer())
    assert run("batch", source, "-o", whole, "--errors", tmp_path / "whole.errors").code == 6
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    argv = ("batch", source, "-o", target, "--errors", tmp_path / "out.errors", "--summary", tmp_path / "s.json")
    stopped = run(*argv)
    assert stopped.code == 130
    assert f"the first {BLOCK_ROWS} rows are in" in stopped.err
    assert "--resume continues" in stopped.err
    assert json.loads((tmp_path / "s.json").read_text())["complete"] is False
    assert not target.exists()
    second = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: second)
    found = run(*argv, "--resume")
    assert found.code == 6
    assert f"resuming after row {BLOCK_ROWS}" in found.err
    assert second.seen == 3 * (2 * BLOCK_ROWS - 1), "no pair of a finished block is scored again"
    assert target.read_bytes() == whole.read_bytes()
    assert (tmp_path / "out.errors").read_bytes() == (tmp_path / "whole.errors").read_bytes()
    assert json.loads((tmp_path / "s.json").read_text())["rows"] == 3 * BLOCK_ROWS
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "in.jsonl", "out.errors", "out.jsonl", "s.json", "whole", "whole.errors",
    ]  # fmt: skip


def test_starting_over_reports_the_dropped_rows(run, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "in.jsonl").write_text(rows(2 * BLOCK_ROWS))
    argv = ("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    assert run(*argv).code == 130
    monkeypatch.setattr(registry, "open_scorer", lambda *_: FreeScorer())
    found = run(*argv)
    assert (found.code, f"dropping {BLOCK_ROWS} rows" in found.err) == (0, True)


def test_before_and_after_mentions_a_resumed_run_only_if_there_was_one(run, free, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "a", "query": "q", "documents": ["1", "2"]}\n')
    (tmp_path / "qrels").write_text("a 0 1 1\n")
    found = run("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--qrels", tmp_path / "qrels")
    assert "RR@10 0.5000 → 1.0000" in found.err
    assert "run before it" not in found.err


def test_strict_keeps_the_rows_before_the_bad_one_and_resumes_after_it(run, free, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(rows(6, bad=frozenset({2})))
    argv = ("batch", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl")
    stopped = run(*argv, "--strict")
    assert stopped.code == 6
    assert "in.jsonl:3" in stopped.err
    assert (tmp_path / "out.jsonl.partial").read_bytes().count(b"\n") == 2
    assert run(*argv, "--resume").code == 6
    assert [r["id"] for r in map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())] == [1, 2, 4, 5, 6]


def test_resume_skips_complete_outputs(run, tmp_path: Path, monkeypatch) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(rows(5))
    argv = ("batch", *(tmp_path / f"{name}.jsonl" for name in "abc"), "--out-dir", tmp_path / "out")
    monkeypatch.setattr(registry, "open_scorer", lambda *_: Stopping(1))
    assert run(*argv).code == 130
    rest = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: rest)
    found = run(*argv, "--resume")
    assert (found.code, "already complete" in found.err, rest.seen) == (0, True, 30)
    assert "15 rows" in found.err
    assert [p.name for p in sorted((tmp_path / "out").iterdir())] == [f"{name}.responses.jsonl" for name in "abc"]


def test_results_may_go_to_devices_and_pipes(run, free, tmp_path: Path) -> None:
    assert len(run("batch", "-o", "-", stdin=rows(2)).records) == 2
    assert run("batch", "-o", "/dev/null", stdin=rows(2)).code == 0
    full = run("batch", "-o", "/dev/full", stdin=rows(2))
    assert (full.code, "No space left" in full.err) == (3, True)
    assert run("batch", "-o", "/dev/null", "--resume", stdin=rows(2)).code == 2


def test_a_full_disk_is_reported_and_the_run_can_be_resumed(tmp_path: Path, env: dict[str, str]) -> None:
    """A limit on file size takes the place of a full disk; the state never counts more than was written."""
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(rows(3 * BLOCK_ROWS, 1))
    limit = 100_000
    argv = [*BATCH, str(source), "-o", str(target), "--quiet"]
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
    assert target.read_bytes().count(b"\n") == 3 * BLOCK_ROWS


def test_a_closed_pipe_ends_the_run_quietly(tmp_path: Path, env: dict[str, str]) -> None:
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
def test_a_state_that_does_not_match_its_output_is_refused(tmp_path: Path, damage: str) -> None:
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


def test_a_run_ended_by_sigterm_can_be_resumed(tmp_path: Path, env: dict[str, str]) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(rows(6 * BLOCK_ROWS, 1))
    argv = [*BATCH, str(source), "-o", str(target)]
    process = subprocess.Popen(argv, env=env, stderr=subprocess.PIPE)
    state = Path(f"{target}.state")
    while process.poll() is None and (not state.exists() or json.loads(state.read_text())["next_row"] == 0):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143
    assert b"--resume continues" in err
    assert subprocess.run([*argv, "--resume", "--quiet"], env=env, check=False).returncode == 0
    assert target.read_bytes().count(b"\n") == 6 * BLOCK_ROWS
