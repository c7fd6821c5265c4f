"""Reading, ranking and writing with a scorer that costs nothing: records/s, MB/s, peak memory.

Run: python benchmarks/throughput.py [RECORDS]. Each case runs in a process of its own, as the command line does it
(garbage collector off, stdin to stdout); nothing is asserted.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def make(path: Path, records: int, size: int) -> None:
    """A JSONL file of records of about `size` bytes with distinct texts."""
    filler = "x" * max(0, size - 60)
    with path.open("w") as file:
        for number in range(records):
            file.write(json.dumps({"id": f"d{number}", "text": f"{number * 7919 % 1000003} {filler}", "n": 1}) + "\n")


def child(path: str, top_n: str) -> None:
    """Rank one file with the free scorer and write JSONL to stdout; figures go to stderr."""
    import gc

    from free_scorer import FreeScorer

    from rerank_cli import pipeline
    from rerank_cli.readers import open_documents
    from rerank_cli.report import Report
    from rerank_cli.settings import InputSettings, OutputSettings, RankSettings
    from rerank_cli.terminal import Terminal
    from rerank_cli.writers import write_ranking

    gc.disable()
    terminal, report = Terminal.of_process(), Report()
    start = time.process_time()  # one thread: on an idle machine this is the wall time
    stream = open_documents(InputSettings(files=(path,), input_format="jsonl"), terminal, report)
    settings = RankSettings(top_n=int(top_n) or None)
    ranking = pipeline.rank("q", stream.chunks, FreeScorer(), settings, report)
    write_ranking(ranking, OutputSettings(format="jsonl"), terminal, report)
    spent = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stderr.write(json.dumps({"seconds": spent, "peak_mb": peak}))
    sys.stderr.flush()
    os._exit(0)


def main(records: int) -> None:
    """Both record sizes, all hits and the ten best; the best of three runs."""
    with tempfile.TemporaryDirectory() as folder:
        for size, count in ((100, records), (1000, records // 4)):
            path = Path(folder, f"{size}.jsonl")
            make(path, count, size)
            megabytes = path.stat().st_size / 1e6
            for top_n in (0, 10):
                found = []
                for _ in range(3):
                    argv = [sys.executable, __file__, "--child", str(path), str(top_n)]
                    done = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
                    found.append(json.loads(done.stderr))
                best = min(found, key=lambda row: row["seconds"])
                print(
                    f"{size:5} B  top_n {top_n or 'all':>3}  {count / best['seconds']:10,.0f} records/s  "
                    f"{megabytes / best['seconds']:7.1f} MB/s  peak {best['peak_mb']:6.0f} MB  ({megabytes:.0f} MB in)"
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
