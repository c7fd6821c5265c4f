"""`rerank batch` at scale: small requests share batches, processes share a cache, memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_support import BATCH, rows
from conftest import ROOT

from rerank_cli.batch.scoring import BLOCK_ROWS


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
        subprocess.Popen([*BATCH, str(path), *cache, "--quiet"], env=env, stdout=subprocess.PIPE) for path in sources
    ]
    outputs = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    for path, output in zip(sources, outputs, strict=True):
        assert output == run("batch", path).out
    (tmp_path / "all.jsonl").write_text("".join(lines))
    assert "180 pairs known, 0 scored" in run("batch", tmp_path / "all.jsonl", *cache, "-v").err


def test_progress_shows_a_rate_and_bad_rows_appear_above_it(run, free, monkeypatch) -> None:
    """On a terminal; the rows of a file are counted, so that there is an end to see."""
    original = free.score

    def slow(pairs, limits, advance=None):
        while advance.bar is None:
            time.sleep(0.01)
        advance(len(pairs) // 2)
        time.sleep(0.2)
        advance(len(pairs) - len(pairs) // 2)
        return original(pairs, limits, advance)

    monkeypatch.setattr(free, "score", slow)
    monkeypatch.setattr("rerank_cli.terminal.PROGRESS_AFTER_S", 0)
    found = run("batch", stdin=rows(BLOCK_ROWS + 2, bad=frozenset({1})), tty={"stderr"}, columns=100)
    assert found.code == 6
    assert "pairs/s" in found.err
    assert "\n<stdin>:2: " in found.err.replace("\x1b[2K", "").replace("\r", "\n")


def test_the_rows_of_an_input_are_counted_where_that_is_cheap(tmp_path: Path) -> None:
    import gzip

    from rerank_cli.batch.inputs import rows_in

    (tmp_path / "in.jsonl").write_text(rows(7))
    assert rows_in(str(tmp_path / "in.jsonl")) == 8, "the blank after the last line end counts"
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
