"""What `rerank batch` costs beside scoring: many small requests, memory, known pairs, and workers of Ray.

    python benchmarks/batch.py throughput   # 1,000 small requests against one request of the same pairs (PAIRS=4000)
    python benchmarks/batch.py memory       # peak memory from 10^4 to 10^6 pairs, free scorer
    python benchmarks/batch.py cached       # 100,000 known pairs against reading and writing alone
    python benchmarks/batch.py ray          # 2 workers × 1 thread against 1 on the same parts (RAY_PAIRS=6000)

Each case is the real command in a process of its own; `memory` and the base of `cached` put a scorer that costs nothing
in the place of the model. Seconds are processor time of one thread (the machine may be shared); those of `ray` are wall
time and want an idle machine. Nothing is asserted but that results are equal.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
DEV = ROOT.parent / "shared" / "data" / "dev" / "wikiqa.jsonl.gz"
RAY_PAIRS = int(os.environ.get("RAY_PAIRS", "6000"))
RAY_FILES = 24
PAIRS = int(os.environ.get("PAIRS", "4000"))  # of `throughput`, at least 1,000
HEAVY = ("onnxruntime", "tokenizers", "torch", "numpy", "openvino")


def texts(count: int) -> list[str]:
    """Distinct passages of real lengths: the dev set's where it is at hand, else words by chance."""
    if DEV.exists():
        with gzip.open(DEV, "rt") as file:
            found = list(dict.fromkeys(text_of(one) for line in file for one in json.loads(line)["documents"]))
        return [f"{text} {number}" for number, text in zip(range(count), cycle(found), strict=False)]
    chance = random.Random(7)  # noqa: S311 not for secrets
    words = ["".join(chance.choices("abcdefghijklmnop", k=chance.randint(2, 9))) for _ in range(5000)]
    return [" ".join(chance.choices(words, k=chance.randint(8, 40))) for _ in range(count)]


def text_of(document: Any) -> str:
    """A document's text, bare or in an object."""
    return str(document if isinstance(document, str) else document["text"])


def write_requests(path: Path, documents: Iterable[str], each: int) -> None:
    """One request a line over the documents, `each` of them in a request, all with one query."""
    left = iter(documents)
    with path.open("w") as file:
        while part := list(islice(left, each)):
            file.write(json.dumps({"query": "how do the pieces fit together", "documents": part}) + "\n")


def child(mode: str, argv: list[str]) -> None:
    """One command line; seconds, peak memory and heavy modules go to the last line of stderr."""
    import gc

    from rerank_cli.cli.main import main
    from rerank_cli.scorers import registry
    from rerank_cli.terminal import Terminal

    if mode != "real":
        free = free_scorer()
        if mode == "fill":  # the cache, as the model would have filled it
            registry._open_cached.__globals__["open_scorer"] = _filling(registry.open_scorer, free)  # noqa: SLF001
        else:
            registry.open_scorer = lambda *_: free
    gc.disable()
    start, wall = time.process_time(), time.monotonic()
    code = main(argv, Terminal.of_process())
    record = {
        "code": int(code),
        "seconds": time.process_time() - start,
        "wall": time.monotonic() - wall,
        "peak_mb": peak_kilobytes() / 1024,
        "heavy": [name for name in HEAVY if name in sys.modules],
    }
    sys.stderr.write("\n" + json.dumps(record) + "\n")
    sys.stderr.flush()
    os._exit(0)


def peak_kilobytes() -> int:
    """This process's own peak: getrusage would count the parent that forked it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def free_scorer() -> Any:
    """A scorer that costs nothing under the built-in model's name."""
    from free_scorer import FreeScorer

    from rerank_cli.scorers.open_local import identify
    from rerank_cli.settings import ModelSettings

    scorer = FreeScorer()
    scorer.info = identify(ModelSettings(threads=1))
    return scorer


def _filling(original: Any, free: Any) -> Any:
    def opened(settings: Any, env: Any, report: Any, cache: Any = None) -> Any:
        return free if cache is None else original(settings, env, report, cache)

    return opened


def measure(mode: str, *argv: str | Path) -> dict[str, Any]:
    """Run `rerank batch` in a child."""
    command = [sys.executable, __file__, "--child", mode, "batch", "--quiet", "--no-config", *map(str, argv)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    assert found["code"] == 0, done.stderr.decode()
    return found


def throughput(folder: Path, pairs: int = PAIRS) -> None:
    """The same pairs as a thousand requests and as one."""
    documents = texts(pairs)
    many, one = folder / "many.jsonl", folder / "one.jsonl"
    write_requests(many, documents, pairs // 1000)
    write_requests(one, documents, pairs)
    best: dict[Path, float] = {}
    summary = folder / "summary.json"
    for path in (one, many, one, many):
        seconds = measure("real", path, "--threads", "1", "--summary", summary)["seconds"]
        best[path] = min(seconds, best.get(path, seconds))
    tokens = json.loads(summary.read_text())["tokens"]
    print(f"{tokens / pairs:.0f} tokens a document, {tokens / best[one]:,.0f} document tokens/s")
    print(f"{pairs} pairs in one request: {pairs / best[one]:.1f} pairs/s")
    print(f"{pairs} pairs in 1,000 requests: {pairs / best[many]:.1f} pairs/s ({best[one] / best[many]:.1%})")


def memory(folder: Path) -> None:
    """Peak memory with the free scorer as the input grows a hundredfold."""
    for pairs in (10_000, 100_000, 1_000_000):
        path = folder / f"{pairs}.jsonl"
        write_requests(path, (f"{number * 7919 % 1000003} words and words" for number in range(pairs)), 10)
        for how in (["-f", "responses"], ["-f", "rows"], ["-f", "trec"])[: 1 if pairs == 100_000 else 3]:
            found = measure("free", path, "-o", folder / "out", *how)
            print(f"{pairs:>9,} pairs {' '.join(how):13} {pairs / found['seconds']:9,.0f} pairs/s", end="")
            print(f"  peak {found['peak_mb']:.0f} MB")
        path.unlink()


def cached(folder: Path, pairs: int = 100_000) -> None:
    """Pairs that the cache knows, against reading and writing alone."""
    path, cache = folder / "known.jsonl", folder / "cache.db"
    write_requests(path, texts(pairs), 10)
    kept = ("--cache", "--cache-path", cache)
    filled = measure("fill", path, *kept)
    base = min(measure("free", path)["seconds"] for _ in range(3))
    for mode in ("rw", "ro"):
        found = min((measure("real", path, *kept, "--cache-mode", mode) for _ in range(3)), key=lambda r: r["seconds"])
        print(
            f"{pairs:,} known pairs, {mode}: {found['seconds']:.2f} s, of which reading and writing {base:.2f} s:",
            end="",
        )
        print(f" the cache costs {found['seconds'] - base:.2f} s; heavy modules: {found['heavy']}")
    print(f"(filling it: {filled['seconds'] - base:.2f} s; {cache.stat().st_size / pairs:.0f} bytes a pair)")


def ray(folder: Path, pairs: int = RAY_PAIRS) -> None:
    """The same files by one worker, by two and by the plain engine; wall seconds, Ray's start included and alone."""
    inputs = folder / "in"
    inputs.mkdir()
    write_requests(folder / "one.jsonl", texts(1), 1)
    left = iter(texts(pairs))
    for number in range(RAY_FILES):
        write_requests(inputs / f"{number:02}.jsonl", islice(left, pairs // RAY_FILES), 10)
    count = pairs // RAY_FILES * RAY_FILES
    plain = timed(folder / "plain", sorted(inputs.iterdir()))
    start = timed(folder / "start", [folder / "one.jsonl"], "--engine", "ray", "--workers", "1")
    one, two = (timed(folder / f"w{n}", [inputs], "--engine", "ray", "--workers", str(n)) for n in (1, 2))
    for path in (folder / "plain").iterdir():
        for other in ("w1", "w2"):
            assert (folder / other / path.name).read_bytes() == path.read_bytes(), (other, path.name)
    print(f"{count} pairs in {RAY_FILES} parts, 1 thread a worker; results equal to the plain engine's")
    print(f"plain engine {plain:.1f} s; Ray: start and one pair {start:.1f} s", end="")
    print(f", 1 worker {one:.1f} s, 2 workers {two:.1f} s")
    print(f"2 workers against 1: {one / two:.2f} x whole, {(one - start) / (two - start):.2f} x without the start")


def timed(out: Path, inputs: list[Path], *argv: str) -> float:
    """Wall seconds of one `rerank batch` on one thread."""
    command = [sys.executable, "-m", "rerank_cli", "batch", *map(str, inputs), "--out-dir", str(out), *argv]
    start = time.monotonic()
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    subprocess.run(
        [*command, "--threads", "1", "--quiet", "--no-config"], env=os.environ | {"PYTHONPATH": path}, check=True
    )
    return time.monotonic() - start


def main(wanted: list[str]) -> None:
    """The cases asked for, or all but `ray`."""
    for case in (throughput, memory, cached, ray):
        if case.__name__ in (wanted or ("throughput", "memory", "cached")):
            with tempfile.TemporaryDirectory() as folder:
                print(f"-- {case.__name__}", flush=True)
                case(Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        main(sys.argv[1:])
