"""All figures that have a goal, in one run: `python -m benchmarks all` prints one table and keeps it in results.md.

    python -m benchmarks all [--peers FOLDER]
    python -m benchmarks peers [--peers FOLDER] [--documents 200] [--rounds 5] [--threads N]

Ratios are measured side by side; read them rather than the absolute figures. `all` takes about ten minutes on two idle
cores. `peers` compares with other rerankers and keeps its table in peers.md; `all` does so too if FOLDER says where
their environments are (peers.py explains). Each program of this folder also runs by itself and shows more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
RESULTS, PEERS = Path(__file__).with_name("results.md"), Path(__file__).with_name("peers.md")


class Row(NamedTuple):
    """One figure beside its goal."""

    what: str
    found: str
    goal: str


def of_threads() -> list[Row]:
    """The embedded model on two threads and on one; then the same beside a process that computes."""
    from benchmarks import threads

    rows = []
    for busy, goal in ((False, "1.9"), (True, "1")):
        other = subprocess.Popen([sys.executable, "-c", threads.NEIGHBOUR]) if busy else None
        try:
            found = threads.measure(2, 7)
        finally:
            if other:
                other.kill()
        for name, (one, two) in found.items():
            where = "busy" if busy else "idle"
            rows.append(
                Row(f"2 threads / 1, {name}, {where} machine", f"{two / one:.2f} ({one:.0f} : {two:.0f} pairs/s)", goal)
            )
    rows.append(Row("two processes / one, 200 × 60, idle machine: what it allows", f"{threads.ceiling(7):.2f}", ""))
    return rows


def of_start() -> list[Row]:
    """Ten documents against the import line."""
    from benchmarks import startup

    found = startup.measure(15)
    base, ours = found["import line"], found["rerank 10 documents"]
    return [
        Row("ten documents / import line, wall", f"{ours / base:.2f} ({ours * 1000:.0f} : {base * 1000:.0f} ms)", "1.5")
    ]


def of_backends(documents: int = 400) -> list[Row]:
    """Our backends and sentence-transformers' default on a model of the shape of MiniLM-L6."""
    from benchmarks import backends
    from rerank_cli import models
    from rerank_cli.convert.model import convert

    folder = Path(tempfile.mkdtemp())
    os.environ["RERANK_CACHE_DIR"] = str(folder / "cache")
    model = backends.make_model("minilm-l6", folder / "model")
    copy = convert(models.resolve(str(model)), ("fp32", "int8"), folder / "copy", 2).folder
    medians = backends.compare(backends.backends(model, copy, 2), backends.documents(documents), 3)
    base = medians.pop("sentence-transformers torch")
    goals = {"onnx fp32": "1.8", "onnx int8": "3.2", "openvino fp32": "2.2", "openvino bf16": "4.5"}
    rows = [
        Row(f"{name} / sentence-transformers", f"{base / median:.2f}", goals.get(name, ""))
        for name, median in medians.items()
    ]
    for dtype, goal in (("fp32", "85 %"), ("bf16", "80 %")) if backends.has_bf16() else (("fp32", "85 %"),):
        share = backends.share_of_rate("minilm-l6", copy, 2, dtype)
        rows.append(Row(f"share of the {dtype} matrix rate, OpenVINO", f"{share:.0%}", goal))
    shutil.rmtree(folder)
    return rows


def of_records(records: int = 1_000_000) -> list[Row]:
    """Records of 100 bytes with a free scorer, all kept."""
    from benchmarks import throughput

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "records.jsonl")
        throughput.make(path, records, 100)
        size = path.stat().st_size / 1e6
        argv = [sys.executable, throughput.__file__, "--child", str(path), "0"]
        runs = [subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True) for _ in range(3)]
    best = min((json.loads(run.stderr) for run in runs), key=lambda row: row["seconds"])
    return [
        Row("records of 100 bytes, all kept", f"{records / best['seconds']:,.0f}/s", "250,000/s"),
        Row("memory / input", f"{best['peak_mb'] / size:.1f} ({best['peak_mb']:.0f} MB)", "4"),
    ]


def of_prefilter() -> list[Row]:
    """A million lines on stdin, cut to a thousand."""
    from benchmarks import prefilter

    return [Row("--prefilter 1000", prefilter.a_million_lines(), "15 s, 400 MB")]


def facts() -> list[str]:
    """The machine, the versions and the load."""
    from rerank_cli import cpu
    from rerank_cli.scorers.selection import installed

    packages = ("onnxruntime", "openvino", "torch", "tokenizers", "sentence_transformers")
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if "model name" in line), "?")  # noqa: PTH123, SIM115
    return [
        f"- {model}, {cpu.available_threads()} threads, {', '.join(sorted(cpu.features()))}",
        f"- Python {platform.python_version()}, " + ", ".join(f"{name} {installed(name)}" for name in packages),
        f"- load average at the start {os.getloadavg()[0]:.1f}",
    ]


def measure_all() -> None:
    """Everything of ours: results.md."""
    head = facts()
    rows = [*of_threads(), *of_start(), *of_records(), *of_prefilter(), *of_backends()]
    table = [f"| {row.what} | {row.found} | {row.goal} |" for row in rows]
    keep(RESULTS, "all", [*head, "", "| figure | found | goal |", "|---|---|---|", *table])


def measure_peers(asked: argparse.Namespace) -> None:
    """Other rerankers beside ours: peers.md."""
    from benchmarks import peers
    from rerank_cli import cpu

    head = [*facts(), f"- {asked.documents} documents, medians of {asked.rounds} rounds"]
    folder = asked.peers or Path(tempfile.mkdtemp())
    try:
        table = peers.table(folder, asked.documents, asked.rounds, asked.threads or cpu.available_threads())
        keep(PEERS, "peers", [*head, f"- {peers.versions()}", "", *table, "", peers.NOTES])
    finally:
        if not asked.peers:
            shutil.rmtree(folder)


def keep(path: Path, what: str, lines: list[str]) -> None:
    """Print a report and keep it."""
    text = "\n".join([f"# Results of `python -m benchmarks {what}`", "", *lines]) + "\n"
    path.write_text(text, "utf-8")
    print(text)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("all", "peers"))
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where the environments of other rerankers are")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: all (peers only, like the two above)")
    asked = parser.parse_args()
    if asked.what == "all":
        measure_all()
    if asked.what == "peers" or asked.peers:
        measure_peers(asked)


if __name__ == "__main__":
    main()
