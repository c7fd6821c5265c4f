"""Kills runs with SIGKILL at random points: what follows gives equal bytes, or a clean start does.

    python tests/fuzz/kills.py --count 100

Over batches with `-o` and with `--out-dir`, `rank -o`, the score cache, `models pull` from a local hub, and `models
convert` into a folder, over an older copy, and into the cache. Each run is a process that dies by `kill -9` at a random
time of what an undisturbed run takes. The same seed gives the same times, but not the same points.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]

from batch_support import rows  # noqa: E402
from campaign import in_own_folder, report  # noqa: E402
from free_scorer import FreeScorer  # noqa: E402

from rerank_cli import cache, hub  # noqa: E402
from rerank_cli.batch import journal, scoring  # noqa: E402
from rerank_cli.cli.main import main as command  # noqa: E402
from rerank_cli.records import Score  # noqa: E402
from rerank_cli.report import Report  # noqa: E402
from rerank_cli.scorers import registry  # noqa: E402
from rerank_cli.terminal import Terminal  # noqa: E402

ROWS, BLOCK = 60, 3
MORE = 1.15  # kills may also come just after the end
Files = dict[str, bytes]


class SlowScorer(FreeScorer):
    """Takes some time, so that kills meet every step."""

    def score(self, pairs: Any, limits: Any, advance: Any = None) -> list[Score]:
        time.sleep(0.002)
        return super().score(pairs, limits, advance)


def run(*argv: str) -> int:
    """Run a command in this process."""
    env = {"HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    return int(command(list(argv), Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), env)))


def forked(work: Callable[[], int], kill_after: float | None = None) -> int:
    """Run `work` in a process of its own; its exit code, -9 if it was killed before the end."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def read(folder: Path) -> Files:
    """The files of a folder; hidden temporary ones of killed runs do not count."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith((".rerank-", ".converting-")) for part in path.parts)
    }


def fresh(folder: Path) -> None:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


class Command:
    """A command that writes into the folder `w`: after a kill, `again` gives the same files."""

    def __init__(self, argv: tuple[str, ...], again: tuple[str, ...] = ()) -> None:
        self.argv, self.again = argv, again
        fresh(Path("w"))
        run(*argv)  # imports what the forked processes need: most of the time of a fresh one
        fresh(Path("w"))
        started = time.monotonic()
        self.code = forked(lambda: run(*argv))
        self.seconds = time.monotonic() - started
        self.whole = read(Path("w"))
        assert self.code in {0, 6}, self.code
        assert self.whole

    def attempt(self, chance: random.Random) -> str:
        fresh(Path("w"))
        code = forked(lambda: run(*self.argv), chance.uniform(0, self.seconds * MORE))
        left = read(Path("w"))
        code_again = forked(lambda: run(*self.argv, *self.again))
        assert code_again == self.code, f"{self.argv} {self.again} after a kill: {code_again}"
        assert read(Path("w")) == self.whole, f"{self.argv}: other files: {sorted(read(Path('w')))}"
        return "at the end" if code >= 0 else "with files" if left else "before any file"


class Cache:
    """Every score that `put` returned for is there; no row is damaged."""

    def __init__(self) -> None:
        self.seconds = 0.0
        fresh(Path("w"))
        self._fill(-1)
        fresh(Path("w"))
        started = time.monotonic()
        forked(lambda: self._fill(-1))
        self.seconds = time.monotonic() - started

    def _fill(self, pipe: int) -> int:
        store = cache.ScoreCache(Path("w/scores.sqlite"), Report(), max_bytes=64 * 2000)
        for number in range(60):
            store.put({self._key(number, i): Score(number + i / 7) for i in range(50)})
            if pipe >= 0:
                os.write(pipe, bytes([number]))
        store.close()
        return 0

    @staticmethod
    def _key(number: int, i: int) -> bytes:
        return random.Random(number * 1000 + i).randbytes(16)

    def attempt(self, chance: random.Random) -> str:
        fresh(Path("w"))
        reading, writing = os.pipe()
        forked(lambda: self._fill(writing), chance.uniform(0, self.seconds * MORE))
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            done = pipe.read()
        if not Path("w/scores.sqlite").exists():
            return "before any file"
        store = cache.ScoreCache(Path("w/scores.sqlite"), report := Report())
        keys = {self._key(number, i): number + i / 7 for number in done[-10:] for i in range(50)}
        found = store.get(list(keys))
        store.close()
        assert report.warnings() == (), report.warnings()
        assert all(found[key].value == keys[key] for key in found)
        # 2,000 rows fit; eviction takes the oldest day's rows at random, so only while nothing was evicted all are there
        assert len(done) * 50 >= 2000 or len(found) == len(keys), "a stored score is lost"
        verified = cache.verify(Path("w/scores.sqlite"))
        assert (verified.damaged, verified.problems) == (0, ()), verified
        return "with files"


class Pull:
    """A model from a local hub: a second pull completes the first."""

    def __init__(self) -> None:
        from test_models_hub import Hub

        self.server = Hub()
        self.server.handle_error = lambda *_: None  # clients die
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        folder = Path("repository").absolute()
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
        (folder / "tokenizer.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(random.Random(1).randbytes(3_000_000))
        self.server.repositories["acme/tiny"] = folder
        cache_folder, endpoint = Path("w/hub").absolute(), f"http://127.0.0.1:{self.server.server_port}"
        os.environ |= {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache_folder), "HF_HUB_DISABLE_XET": "1"}
        fresh(Path("w"))
        self._pull()
        fresh(Path("w"))
        started = time.monotonic()
        assert forked(self._pull) == 0
        self.seconds = time.monotonic() - started
        self.whole = self._snapshot()

    @staticmethod
    def _pull() -> int:
        hub.download("acme/tiny", None, hub.FileFilter())
        return 0

    @staticmethod
    def _snapshot() -> Files:
        return {path.name: path.read_bytes() for path in Path("w/hub").glob("models--*/snapshots/*/*")}

    def attempt(self, chance: random.Random) -> str:
        fresh(Path("w"))
        code = forked(self._pull, chance.uniform(0, self.seconds * MORE))
        left = read(Path("w"))
        assert forked(self._pull) == 0
        assert self._snapshot() == self.whole, "another snapshot"
        return "at the end" if code >= 0 else "with files" if left else "before any file"


class Convert:
    """A model is there whole, old or new, or not at all; each run is a new process, because torch cannot be forked."""

    def __init__(self, *target: str, over: bool = False) -> None:
        import tiny_models

        if not Path("tiny").exists():
            tiny_models.bert(Path("tiny"))
        self.target = target  # none: the cache
        fresh(Path("w"))
        started = time.monotonic()
        assert self._convert() == 0
        self.seconds = time.monotonic() - started
        self.whole = read(Path("w"))
        self.before = self.whole if over else {}

    def _convert(self, kill_after: float | None = None) -> int:
        argv = [sys.executable, "-m", "rerank_cli", "models", "convert", "./tiny", *self.target, "--quiet"]
        own = {"PYTHONPATH": str(HERE.parent.parent), "RERANK_CACHE_DIR": str(Path("w").absolute())}
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=os.environ | own)
        if kill_after is not None:
            time.sleep(kill_after)
            child.kill()
        return child.wait()

    def attempt(self, chance: random.Random) -> str:
        fresh(Path("w"))
        for name, data in self.before.items():
            (Path("w") / name).parent.mkdir(exist_ok=True)
            (Path("w") / name).write_bytes(data)
        code = self._convert(chance.uniform(self.seconds / 3, self.seconds * MORE))  # the first third imports
        left = read(Path("w"))
        assert left in ({}, self.before, self.whole), f"half a model: {sorted(left)}"
        assert self._convert() == 0
        assert read(Path("w")) == self.whole, f"other files: {sorted(read(Path('w')))}"
        assert self.target or not list(Path("w").rglob(".converting-*")), "something is left in the cache"
        return "at the end" if code >= 0 else "with files" if left else "before any file"


def targets() -> dict[str, Callable[[], Any]]:
    """Everything that is killed, by name; opening one runs it undisturbed."""
    batch = ("batch", "in.jsonl", "--quiet")
    return {
        "-o": lambda: Command((*batch, "-o", "w/out", "--errors", "w/errors"), ("--resume",)),
        "-o.gz": lambda: Command((*batch, "-o", "w/out.gz"), ("--resume",)),
        "-o again": lambda: Command((*batch, "-o", "w/out", "--errors", "w/errors")),
        "--out-dir": lambda: Command(
            ("batch", "in.jsonl", "b.jsonl", "c.jsonl", "--quiet", "--out-dir", "w", "--errors", "x"), ("--resume",)
        ),
        "rank -o": lambda: Command(("-q", "bread", "lines.txt", "-o", "w/out", "--quiet")),
        "cache": Cache,
        "pull": Pull,
        "convert": lambda: Convert("-o", "w/converted"),
        "convert over": lambda: Convert("-o", "w/converted", over=True),
        "convert, cached": Convert,
    }


def kill(count: int, seed: int, names: list[str]) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` kills, shared by the targets, and the failures."""
    scoring.BLOCK_ROWS, journal.CHECKPOINT_S = BLOCK, 0.02
    registry.open_scorer = lambda *_: SlowScorer()  # type: ignore[assignment]
    for name, seed_rows in (("in", ROWS), ("b", ROWS // 2), ("c", ROWS // 2)):
        Path(f"{name}.jsonl").write_text(rows(seed_rows, bad=frozenset({5, 20})))
    Path("lines.txt").write_text("".join(f"{i} bread\n" for i in range(2000)))
    chance, outcomes, failures = random.Random(seed), Counter[str](), list[str]()
    chosen = {name: opened for name, opened in targets().items() if not names or name in names}
    for place, (name, opened) in enumerate(chosen.items()):
        target = opened()
        for _ in range(count // len(chosen) + (place < count % len(chosen))):
            try:
                outcome = target.attempt(chance)
            except AssertionError as error:
                outcome = "FAILED"
                failures.append(f"{name}: {error}")
            outcomes[f"{name}: {outcome}"] += 1
    return outcomes, failures


def main() -> int:
    """Run --count kills and report; 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", default=[], choices=list(targets()))
    chosen = parser.parse_args()
    with in_own_folder():
        outcomes, failures = kill(chosen.count, chosen.seed, chosen.target)
    return report(outcomes, failures, "kills")


if __name__ == "__main__":
    sys.exit(main())
