"""Other rerankers beside ours: the same model, pairs and threads, in turn in one run.

    python -m benchmarks peers [--peers FOLDER] [--documents 200] [--rounds 5] [--threads N]

Each peer has a virtual environment in FOLDER with the versions below; it is made when it is missing (about five minutes
and 8 GB for all). Without --peers a temporary folder is used and removed. A model of the shape of MiniLM-L6 is made and
exported; a peer and our backend of the same kind load it in processes of their own and score all pairs in turn. The
table has medians, ratios (ours / theirs for pairs/s), seconds from the start of the process to the scores of ten
documents, peak memory, and how far the logits agree. A peer that cannot be installed or run is a row with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from benchmarks import backends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROCESS = Path(__file__).with_name("peer_process.py")
LIMIT = 900  # seconds for one answer of a process
STARTS = 3
TORCH = "torch==2.13.0"
ENVIRONMENTS = {
    "flashrank": ("FlashRank==0.2.10",),
    "fastembed": ("fastembed==0.9.1",),
    "rerankers": ("rerankers[transformers]==0.10.0", TORCH),
    "sentence-transformers": ("sentence-transformers==6.2.0", TORCH),
    # the newest that optimum-onnx can be installed with
    "sentence-transformers-onnx": ("sentence-transformers[onnx]==5.7.0", TORCH),
    "sentence-transformers-openvino": ("sentence-transformers[openvino]==6.2.0", TORCH),
    "infinity": ("infinity-emb[torch,optimum]==0.0.78", TORCH),
}
HEAD = """| peer | pairs/s, ours / theirs | start, s (ours : theirs) | peak memory, MB (ours : theirs) | logits |
|---|---|---|---|---|"""
NOTES = """Each peer is compared with our backend of the same kind: FlashRank, fastembed, ONNX and optimum with ours on
ONNX Runtime, OpenVINO with OpenVINO, the others with torch. Libraries run with their own defaults, batch size included.

- start: from the start of a Python process to the scores of the first ten documents, through the Python API.
- logits: the largest difference, and Kendall's tau of the two orders. The weights are random, so 8 bits and bf16 change
  more than in a trained model, and two 8-bit forms differ from each other as they do from fp32. Infinity with optimum
  passes no segment ids, so it scores BERT models differently."""


class Peer(NamedTuple):
    """A reranker, the function of peer_process.py that opens it, and what of ours it is compared with."""

    name: str
    environment: str
    function: str
    settings: dict[str, Any]
    backend: str
    dtype: str = "auto"


def _openvino(precision: str) -> dict[str, Any]:
    return {"backend": "openvino", "ov_config": {"INFERENCE_PRECISION_HINT": precision}}


ONNX, INT8 = "onnx/model.onnx", "onnx/model_int8.onnx"
PEERS = (
    Peer("FlashRank, fp32", "flashrank", "flashrank", {"file": ONNX}, "onnx", "fp32"),
    Peer("FlashRank, int8", "flashrank", "flashrank", {"file": INT8}, "onnx", "int8"),
    Peer("fastembed", "fastembed", "fastembed", {}, "onnx", "fp32"),
    Peer("rerankers", "rerankers", "rerankers", {}, "torch"),
    Peer("sentence-transformers, torch", "sentence-transformers", "sentence_transformers", {}, "torch"),
    Peer("sentence-transformers, ONNX fp32", "sentence-transformers-onnx", "sentence_transformers",
         {"backend": "onnx", "file_name": ONNX}, "onnx", "fp32"),
    Peer("sentence-transformers, ONNX int8", "sentence-transformers-onnx", "sentence_transformers",
         {"backend": "onnx", "file_name": INT8}, "onnx", "int8"),
    Peer("sentence-transformers, OpenVINO fp32", "sentence-transformers-openvino", "sentence_transformers",
         _openvino("f32"), "openvino", "fp32"),
    Peer("sentence-transformers, OpenVINO bf16", "sentence-transformers-openvino", "sentence_transformers",
         _openvino("bf16"), "openvino", "bf16"),
    Peer("Infinity, torch", "infinity", "infinity", {"engine": "torch"}, "torch"),
    Peer("Infinity, optimum fp32", "infinity", "infinity",
         {"engine": "optimum", "onnx_do_not_prefer_quantized": True}, "onnx", "fp32"),
)  # fmt: skip


class Side(NamedTuple):
    """A command line of peer_process.py without its pairs."""

    python: str
    function: str
    folder: Path
    settings: dict[str, Any]


class Figures(NamedTuple):
    """What one side of a comparison took: median seconds, MB, and its logits."""

    start: float
    score: float
    peak_mb: float
    logits: list[float]


class Failed(Exception):
    """A peer that cannot be installed or run; the text says why."""


def versions() -> str:
    """What the environments are made of."""
    return ", ".join(dict.fromkeys(package for packages in ENVIRONMENTS.values() for package in packages))


def _reason(text: str) -> str:
    """The last line of an error output, without paths and addresses."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no output"]
    return re.sub(r"\S*/\S*/\S*", "…", errors[-1])[:120].replace("|", "/")


def environment(name: str, folder: Path) -> str:
    """The interpreter of an environment, which is made if its packages are not there. Raises Failed."""
    place, packages = folder / name, ENVIRONMENTS[name]
    python, note = place / "bin" / "python", place / "packages.txt"
    if not note.exists() or note.read_text("utf-8").split() != list(packages):
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *packages], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise Failed(f"not installed: {_reason(done.stderr)}")
        # for images only, and the one of PyPI cannot be imported beside a torch for CPUs
        subprocess.run([python, "-m", "pip", "uninstall", "-qqq", "--yes", "torchvision"], check=True)
        note.write_text("\n".join(packages), "utf-8")
    return str(python)


class Job(NamedTuple):
    """What is the same for all: a file of pairs, threads, how often, the model and our converted copy of it."""

    pairs: Path
    threads: int
    rounds: int
    model: Path
    copy: Path


def make_job(folder: Path, documents: int, threads: int, rounds: int) -> Job:
    """The pairs, a model of the shape of MiniLM-L6, and our copy of it."""
    from rerank_cli import models
    from rerank_cli.convert.model import convert

    model = backends.make_model("minilm-l6", folder / "model")
    copy = convert(models.resolve(str(model)), ("fp32", "int8"), folder / "copy", threads).folder
    pairs = folder / "pairs.json"
    pairs.write_text(json.dumps([backends.QUERY, backends.documents(documents)]), "utf-8")
    return Job(pairs, threads, rounds, model, copy)


def _start(side: Side, job: Job, log: IO[str]) -> subprocess.Popen[str]:
    """The process, with as many threads for torch and tokenizers as for the others, and without a network."""
    threads = str(job.threads)
    argv = [side.python, "-P", PROCESS, side.function, side.folder, job.pairs, threads, json.dumps(side.settings)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    env |= {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "HF_HOME": str(job.pairs.with_name("hub"))}
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=env)


def _ask(process: subprocess.Popen[str], word: str, log: IO[str]) -> Any:
    """Send a word, if any, and read the answer. Raises Failed: the process ended, or had no answer within LIMIT."""
    timer = threading.Timer(LIMIT, process.kill)
    timer.start()
    try:
        if word and process.stdin:
            os.write(process.stdin.fileno(), f"{word}\n".encode())
        answer = process.stdout.readline() if process.stdout else ""
    except BrokenPipeError:
        answer = ""
    finally:
        timer.cancel()
    if not answer:
        raise Failed(_reason(Path(log.name).read_text("utf-8", "replace")))
    return json.loads(answer)


def compare(sides: Sequence[Side], job: Job) -> list[Figures]:
    """Start each side STARTS times and score `rounds` times, in turn. Raises Failed."""
    starts: list[list[float]] = [[] for _ in sides]
    times: list[list[float]] = [[] for _ in sides]
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.NamedTemporaryFile("w")) for _ in sides]
        running: list[subprocess.Popen[str]] = []
        for _ in range(STARTS):
            for process in running:
                process.kill()
            running = []
            for side, log, found in zip(sides, logs, starts, strict=True):
                start = time.perf_counter()
                process = stack.enter_context(_start(side, job, log))
                stack.callback(process.kill)
                running.append(process)
                _ask(process, "", log)
                found.append(time.perf_counter() - start)
        for _ in range(job.rounds):
            for process, log, found in zip(running, logs, times, strict=True):
                found.append(_ask(process, "score", log))
        ends = [_ask(process, "end", log) for process, log in zip(running, logs, strict=True)]
    return [
        Figures(statistics.median(start), statistics.median(time_), end["peak_mb"], end["logits"])
        for start, time_, end in zip(starts, times, ends, strict=True)
    ]


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's rank correlation (tau-a): 1 is the same order."""
    signs = [((a[i] > a[j]) - (a[i] < a[j])) * ((b[i] > b[j]) - (b[i] < b[j])) for i in range(len(a)) for j in range(i)]
    return sum(signs) / len(signs)


def row(peer: Peer, theirs: Figures, ours: Figures) -> str:
    """A line of the table."""
    count = len(ours.logits)
    largest = max(abs(a - b) for a, b in zip(theirs.logits, ours.logits, strict=True))
    cells = (
        peer.name,
        f"{theirs.score / ours.score:.2f} ({count / ours.score:.0f} : {count / theirs.score:.0f})",
        f"{ours.start:.1f} : {theirs.start:.1f}",
        f"{ours.peak_mb:.0f} : {theirs.peak_mb:.0f}",
        f"{largest:.1g}, {kendall_tau(theirs.logits, ours.logits):.3f}",
    )
    return f"| {' | '.join(cells)} |"


def export(job: Job, folder: Path) -> None:
    """Add the ONNX and OpenVINO files that peers load to the model. Raises Failed."""
    from rerank_cli import cpu

    arch = "avx512_vnni" if "avx512_vnni" in cpu.features() else "avx2"
    for name, function, settings in (
        ("sentence-transformers-onnx", "export_onnx", {"arch": arch}),
        ("sentence-transformers-openvino", "export_openvino", {}),
    ):
        with tempfile.NamedTemporaryFile("w") as log:
            process = _start(Side(environment(name, folder), function, job.model, settings), job, log)
            process.communicate()
            if process.returncode:
                raise Failed(f"{function}: {_reason(Path(log.name).read_text('utf-8', 'replace'))}")


def measure(peer: Peer, job: Job, folder: Path) -> str:
    """The line of a peer, or the reason why it has no figures."""
    ours = {"backend": peer.backend, "dtype": peer.dtype}
    model = job.model.with_name("theirs")  # some peers write into the folder
    shutil.copytree(job.model, model)
    try:
        theirs = Side(environment(peer.environment, folder), peer.function, model, peer.settings)
        mine = Side(sys.executable, "ours", job.model if peer.backend == "torch" else job.copy, ours)
        return row(peer, *compare((theirs, mine), job))
    except Failed as failed:
        return f"| {peer.name} | {failed} | | | |"
    finally:
        shutil.rmtree(model)


def table(folder: Path, documents: int, rounds: int, threads: int) -> Iterator[str]:
    """The lines of the table, one by one; environments are in `folder`."""
    folder = folder.absolute()
    yield HEAD
    with tempfile.TemporaryDirectory() as made:
        os.environ["RERANK_CACHE_DIR"] = str(Path(made, "cache"))
        job = make_job(Path(made), documents, threads, rounds)
        try:
            export(job, folder)
        except Failed as failed:
            yield f"| (export) | {failed} | | | |"
        for peer in PEERS:
            if peer.dtype != "bf16" or backends.has_bf16():
                print(f"{peer.name} …", file=sys.stderr)
                yield measure(peer, job, folder)
