"""Mutates what rerank keeps on disk and reads again: caches, state files, partial outputs, runs, configuration files.

    python tests/fuzz/state.py --seconds 60

No command may end with exit code 1 or take long, and nothing may be lost: a score from a damaged cache is the score, a
resumed output is the output byte for byte, a refusal changes nothing and leaves a new start to succeed. The same seed
gives the same inputs. A failing input is printed and kept in `tests/fuzz/failing/`; once mended it goes to
`corpus_state/TARGET/`, which tests/test_fuzz_kept.py tries again in every run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]

from batch_support import rows  # noqa: E402
from cache_support import VALUES  # noqa: E402
from campaign import in_own_folder, report  # noqa: E402
from free_scorer import FreeScorer  # noqa: E402

from rerank_cli.batch import journal, parts, scoring  # noqa: E402
from rerank_cli.batch.plan import BatchSettings  # noqa: E402
from rerank_cli.cache import ScoreCache  # noqa: E402
from rerank_cli.cli import app  # noqa: E402
from rerank_cli.cli.main import main as command  # noqa: E402
from rerank_cli.errors import UsageError  # noqa: E402
from rerank_cli.records import Score  # noqa: E402
from rerank_cli.report import Report  # noqa: E402
from rerank_cli.scorers import registry  # noqa: E402
from rerank_cli.settings import RankSettings  # noqa: E402
from rerank_cli.terminal import Terminal  # noqa: E402

Files = dict[str, bytes]
SLOW_S = 20  # for one input
ROWS, BLOCK = 24, 4
ACTIONS = ("info", "verify", "clear")
KEPT = HERE / "corpus_state"  # one folder of files per input, by target
TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 25, b"NaN", b"\0", b"\n", b"\xff",
    b"[" * 3000, b'{"a":' * 300, b"\\ud800", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1f\x8b", b'"version": 2', b"Q0", b"\t", b"=",
]  # fmt: skip


class Lost(AssertionError):
    """Something that was promised does not hold."""


def run(*argv: str, codes: set[int]) -> tuple[int, bytes, str]:
    """Run a command in this process: exit code, output, messages. Raises Lost for another code or a traceback."""
    out, err = io.BytesIO(), io.StringIO()
    env = {"HOME": os.environ["HOME"], "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    code = int(command(list(argv), Terminal(io.BytesIO(), out, err, env)))
    if code not in codes or "Traceback" in err.getvalue() or "internal error" in err.getvalue():
        raise Lost(f"{argv} ended with {code}: {err.getvalue()[:2000]}")
    return code, out.getvalue(), err.getvalue()


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to six changes: bits, tokens, cuts, zeros, parts twice or elsewhere."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((1, 2, 8, 64, 4096)))
        start = chance.randint(0, len(data))
        data = chance.choice(
            (
                data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :] if at < len(data) else data,
                data[:at] + chance.choice(TOKENS) + data[at:],
                data[:at] + chance.choice(TOKENS) + data[end:],
                data[:at] + data[end:],
                data[:at],
                data[:at] + bytes(end - at) + data[end:],
                data[:at] + data[at:end] * 2 + data[end:],
                data[:at] + data[start : start + end - at] + data[end:],
                data[:at] + chance.randbytes(end - at) + data[end:],
            )
        )
    return data


def write(files: Files) -> None:
    """Make the working folder hold these files and nothing else."""
    for path in Path().iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, data in files.items():
        Path(name).write_bytes(data)


def read() -> Files:
    """The files of the working folder that are not empty."""
    return {path.name: data for path in Path().iterdir() if path.is_file() and (data := path.read_bytes())}


# ---------------------------------------------------------------- the targets: each makes files, mutates and checks


class Caches:
    """Damaged databases and rows: a score is the score or a miss, and every `cache` command ends well."""

    def __init__(self, _: random.Random) -> None:
        keys = random.Random(1)  # the same in every campaign, for the kept inputs
        self.known = {keys.randbytes(16): Score(i / 7, i, 1, (0, i), False) for i in range(300)}
        write({})
        store = ScoreCache(Path("scores.sqlite"), Report())
        store.put(self.known)
        store.close()
        self.files = read()

    def make(self, chance: random.Random) -> Files:
        if chance.random() < 0.7:
            data = self.files["scores.sqlite"]
            head = chance.random() < 0.3  # the header and the schema are small, and all depends on them
            return {"scores.sqlite": mutate(data[:4096], chance) + data[4096:] if head else mutate(data, chance)}
        write(self.files)
        with contextlib.closing(sqlite3.connect("scores.sqlite")) as connection:
            for _ in range(chance.randint(1, 5)):
                column, value = chance.choice(("key", "row", "used", "value")), chance.choice(VALUES)
                table = "meta" if column == "value" else "scores"
                where = f"WHERE key = X'{chance.choice(list(self.known)).hex()}'" if table == "scores" else ""
                with contextlib.suppress(sqlite3.Error):
                    connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} {where}")
            connection.commit()
        return read()

    def check(self, chance: random.Random) -> str:
        path, report = Path("scores.sqlite"), Report()
        store = ScoreCache(path, report, busy_s=0.1)
        found = store.get(list(self.known))
        if any(self.known[key] != score for key, score in found.items()):
            raise Lost("a wrong score")
        store.put({key: score for key, score in self.known.items() if key not in found})
        if any(self.known[key] != score for key, score in store.get(list(self.known)).items()):
            raise Lost("a wrong score after scoring again")
        store.close()
        run("cache", chance.choice(ACTIONS), "--cache-path", "scores.sqlite", "--json", codes={0, 3})
        return "all" if len(found) == len(self.known) else "some" if found else "none"


class States:
    """Interrupted batches whose state, partial output or errors are damaged."""

    argv = ("batch", "in.jsonl", "-o", "out", "--errors", "errors", "--quiet")

    def __init__(self, _: random.Random) -> None:
        scoring.BLOCK_ROWS, journal.CHECKPOINT_S = BLOCK, 0.0
        source = {"in.jsonl": rows(ROWS, bad=frozenset({2, 9, 13})).encode()}
        self.images: list[Files] = []
        add, finish = journal.Journal.add, journal.Journal.finish

        def watched(self_: Any, *given: Any) -> None:
            add(self_, *given)
            self.images.append(read())

        def watched_end(self_: Any) -> None:
            finish(self_)
            self.images.append(read())

        journal.Journal.add, journal.Journal.finish = watched, watched_end  # type: ignore[method-assign]
        write(source)
        run(*self.argv, codes={6})
        journal.Journal.add, journal.Journal.finish = add, finish  # type: ignore[method-assign]
        self.whole = read()

    def make(self, chance: random.Random) -> Files:
        files = dict(chance.choice(self.images))
        for name in chance.sample(sorted(set(files) - {"in.jsonl"}), chance.choice((1, 1, 2))):
            if chance.random() < 0.1:
                del files[name]
            elif name == "out.state" and chance.random() < 0.5:
                files[name] = _other_values(files[name], chance)
            else:
                files[name] = mutate(files[name], chance)
        return files

    def check(self, _: random.Random) -> str:
        before = read()
        code, _out, err = run(*self.argv, "--resume", codes={6, 2, 3})
        if code != 6:
            if read() != before or "--resume" not in err:
                raise Lost(f"a refusal changed something: {err}")
            run(*self.argv, codes={6})
        after = read()
        if any(after.get(name) != data for name, data in self.whole.items()):
            raise Lost("the output is not the output")
        extra = {name: data for name, data in after.items() if name not in self.whole}
        if not all(name.endswith(".kept") and data in before.values() for name, data in extra.items()):
            raise Lost(f"left behind: {sorted(extra)}")
        return "resumed" if code == 6 else "refused"


class Markers:
    """Markers of parts that are done, and their results, of the Ray engine."""

    def __init__(self, _: random.Random) -> None:
        write({"in.jsonl": rows(6, bad=frozenset({2})).encode()})
        (self.part,) = parts.cut([(str(Path("in.jsonl").absolute()), "in", ".out")])
        settings = BatchSettings(settings_of=lambda _: RankSettings())
        self.config = parts.RankingJobConfig(str(Path.cwd()), settings, errors=True, identity="same")
        self.done = parts.rank_part(self.part, FreeScorer(), self.config)
        self.times = Path("in.jsonl").stat()
        self.files = read()

    def make(self, chance: random.Random) -> Files:
        name = chance.choice((".in.out.done", ".in.out.done", "in.out"))
        other = _other_values if name != "in.out" and chance.random() < 0.5 else mutate
        return self.files | {name: other(self.files[name], chance)}

    def check(self, _: random.Random) -> str:
        os.utime("in.jsonl", ns=(self.times.st_atime_ns, self.times.st_mtime_ns))
        try:
            done = parts.done_before(self.part, self.config)
        except UsageError:
            return "refused"
        if done is None:
            return "again"
        if Path("in.out").read_bytes() != self.files["in.out"]:
            raise Lost("a damaged result counts as done")
        json.dumps([done.counts, [text.encode("utf-8", "replace").decode() for text in done.failures]])
        return "done"


class Runs:
    """Runs and judgements of any kind, for `eval`, `compare` and `batch --run`."""

    def __init__(self, _: random.Random) -> None:
        trec = "".join(f"q{q} Q0 d{d} {d + 1} {9 - d} tag\n" for q in range(3) for d in range(5)).encode()
        qrels = "".join(f"q{q} 0 d{d} {(q + d) % 3}\n" for q in range(3) for d in range(5)).encode()
        as_json = json.dumps({f"q{q}": {f"d{d}": 1.5 * d for d in range(5)} for q in range(3)}).encode()
        answers = b"".join(
            json.dumps({"id": f"q{q}", "results": [{"index": d, "relevance_score": d / 9, "document": {"id": f"d{d}"}}
                        for d in range(5)]}).encode() + b"\n" for q in range(3)
        )  # fmt: skip
        self.runs = [
            trec,
            as_json,
            answers,
            b"query_id,doc_id,score\nq1,d1,0.5\nq1,d2,0.25\n",
            b"q1\td1\t1\nq1\td2\t2\n",
        ]
        self.sure = {
            "qrels": qrels,
            "queries.tsv": b"q0\tbread\nq1\tbutter\nq2\twater\n",
            "corpus.jsonl": b"".join(
                json.dumps({"_id": f"d{d}", "text": f"{d} text"}).encode() + b"\n" for d in range(5)
            ),
        }

    def make(self, chance: random.Random) -> Files:
        files = self.sure | {"run": chance.choice(self.runs)}
        for name in chance.sample(sorted(files), chance.choice((1, 1, 2))):
            files[name] = mutate(files[name], chance)
        return files

    def check(self, chance: random.Random) -> str:
        argv = chance.choice(
            (
                ("eval", "--qrels", "qrels", "run", "--resamples", "10", "--queries", "queries.tsv", "--worst", "2"),
                ("compare", "run", "qrels"),
                ("batch", "--run", "run", "--queries", "queries.tsv", "--corpus", "corpus.jsonl", "--qrels", "qrels"),
            )
        )
        code, _, _ = run(*argv, codes={0, 2, 3, 6})
        return f"{argv[0]} {code}"


class Configurations:
    """Configuration files of all roles, for the commands that read them."""

    def __init__(self, _: random.Random) -> None:
        self.seeds = [path.read_bytes() for path in sorted((HERE / "corpus_config").iterdir())]

    def make(self, chance: random.Random) -> Files:
        return {"rerank.toml": mutate(chance.choice(self.seeds), chance)}

    def check(self, chance: random.Random) -> str:
        argv = chance.choice((("config", "--json"), ("config", "batch"), ("cache", "info"), ("models", "list")))
        files = chance.choice(((), ("--config", "rerank.toml")))
        code, _, _ = run(*argv, *files, codes={0, 2, 3})
        return f"{argv[0]} {code}"


TARGETS: list[Callable[[random.Random], Any]] = [Caches, States, Markers, Runs, Configurations]


def _other_values(data: bytes, chance: random.Random) -> bytes:
    """A JSON object with one or two members of another type or value; damaged otherwise if it is not one."""
    record = json.loads(data)
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(record)) if record else "version"
        values = [None, True, -1, 1.5, 10**30, "", "text", [], {}, {"rows": None}, [1], {"a": {"b": []}}, ["x"]]
        record[name] = chance.choice(values)
        if chance.random() < 0.2:
            del record[name]
    return json.dumps(record).encode()


def attempt(target: Any, chance: random.Random) -> tuple[str, Files]:
    """One input of a target: its outcome, and the files it was made of. Whatever fails is raised with them."""
    files = target.make(chance)
    write(files)
    signal.alarm(SLOW_S)
    try:
        return target.check(chance), files
    except BaseException as error:
        error.files = files  # type: ignore[attr-defined]
        raise
    finally:
        signal.alarm(0)


def prepare() -> None:
    """Scores cost nothing, the options are built once, no file waits for a disk, and what is too slow raises."""

    def slow(*_: object) -> None:
        raise Lost(f"longer than {SLOW_S} s")

    signal.signal(signal.SIGALRM, slow)
    registry.open_scorer = lambda *_: FreeScorer()  # type: ignore[assignment]
    app.root = functools.cache(app.root)


def fuzz(seconds: float, seed: int, names: list[str]) -> tuple[Counter[str], list[str]]:
    """Outcomes by target, and the failures; the working folder is one of its own."""
    prepare()
    chance, outcomes, failures = random.Random(seed), Counter[str](), list[str]()
    targets = [made(chance) for made in TARGETS if not names or made.__name__ in names]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        target, one = chance.choice(targets), chance.randrange(1 << 62)
        try:
            outcome, _ = attempt(target, random.Random(one))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            outcome = "FAILED"
            failures.append(_keep(type(target).__name__, one, getattr(error, "files", {})))
        outcomes[f"{type(target).__name__}: {outcome}"] += 1
    return outcomes, failures


def replay() -> Counter[str]:
    """The outcomes of the kept inputs. Raises what failed. The working folder is one of its own."""
    prepare()
    outcomes = Counter[str]()
    for made in TARGETS:
        target = made(random.Random(1))
        for folder in sorted((KEPT / made.__name__).glob("*")):
            write({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
            try:
                outcomes[f"{made.__name__}: {target.check(random.Random(folder.name))}"] += 1
            except BaseException as error:
                error.add_note(str(folder))
                raise
    return outcomes


def _keep(name: str, number: int, files: Files) -> str:
    folder = HERE / "failing" / f"{name}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for each, data in files.items():
        (folder / each).write_bytes(data)
    return f"{folder}\n{traceback.format_exc()}"


def main() -> int:
    """Run for --seconds and report; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", default=[], choices=[made.__name__ for made in TARGETS])
    parser.add_argument("--kept", action="store_true", help="try the kept inputs only")
    chosen = parser.parse_args()
    with in_own_folder():
        if chosen.kept:
            return report(replay(), [], "kept inputs")
        outcomes, failures = fuzz(chosen.seconds, chosen.seed, chosen.target)
    return report(outcomes, failures, "inputs")


if __name__ == "__main__":
    sys.exit(main())
