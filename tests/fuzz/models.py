"""Mutates model folders, manifests, tokenizers and ONNX files and scores with them: only RerankError may be raised.

    python tests/fuzz/models.py --seconds 600

The same seed gives the same inputs. A failing folder is kept in `tests/fuzz/failing/`. They are used in child processes,
so that an engine which aborts is a find and not the end. Also checked: a score that comes out is finite or
reported, no file outside the folder is read, and what was next to the folder is still there. Aborts of an engine in a
graph that the engine itself cannot check are counted (`engine aborted`), not failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]

import campaign  # noqa: E402
import onnxruntime  # noqa: E402, F401 before the children are forked: most of the time of a fresh one
import tokenizers  # noqa: E402, F401
from readers import mutate  # noqa: E402
from tiny_graphs import model_folder  # noqa: E402

from rerank_cli.convert.model import _removable  # noqa: E402
from rerank_cli.errors import RerankError  # noqa: E402
from rerank_cli.models import resolve  # noqa: E402
from rerank_cli.models.inventory import described  # noqa: E402
from rerank_cli.records import Pair  # noqa: E402
from rerank_cli.report import Report  # noqa: E402
from rerank_cli.scorers.open_local import identify, open_local  # noqa: E402
from rerank_cli.settings import Limits, ModelSettings  # noqa: E402

TEXTS = [
    "the capital of Nevada",
    "a" * 5000,
    "北京 é\u0301 ﷺ \u200b",
    "[SEP] <think>",
    "x",
    "\x00",
    " ".join("words" for _ in range(900)),
]
SECRET = "secret-outside-the-folder"
SECONDS = 60  # for one folder
PER_CHILD = 200  # folders that a child process uses, unless one ends it
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 1.5, 1e308, 2**31, 2**63, 10**30, "", "x", "../x", "/etc/passwd", "\x00", "\ud800", [], {},
    [[]], {"a": {}}, "model.onnx", "rerank.json", ["BertForSequenceClassification"], "sigmoid", "torch.nn.Identity", "0" * 64,
]  # fmt: skip
PARTS: dict[str, list[Any]] = {
    "pre_tokenizer": [None, {"type": "FixedLength", "length": 0}, {"type": "Whitespace"}, {"type": "Metaspace", "replacement": "▁",
                      "prepend_scheme": "always", "split": False}, {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated",
                      "invert": False}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}],
    "normalizer": [None, {"type": "Replace", "pattern": {"String": ""}, "content": "zz"}, {"type": "Replace", "pattern": {"Regex": "(?=b)"},
                   "content": ""}, {"type": "NFKC"}, {"type": "Prepend", "prepend": "x"}, {"type": "Strip", "strip_left": True,
                   "strip_right": True}],
    "post_processor": [None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}],
    "model": [{"type": "Unigram", "unk_id": None, "vocab": [["a", 0.0]], "byte_fallback": False}, {"type": "BPE", "vocab": {"a": 0},
              "merges": []}, {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "x"}, {"type": "Unigram", "unk_id": 0,
              "vocab": [["<unk>", 0.0], ["", -1.0]], "byte_fallback": True}],
    "added_tokens": [[], [{"id": 7, "content": "", "special": True}], [{"id": 999999, "content": "capital", "special": False,
                     "single_word": False, "lstrip": True, "rstrip": True, "normalized": True}]],
}  # fmt: skip
MANIFEST = {
    "format": 1, "tool": "rerank", "name": "tiny", "revision": None, "graphs": {"fp32": "model.onnx"}, "digests": {"fp32": "0" * 64},
    "check": {}, "files": {"model.onnx": "0" * 64}, "chat": None, "config": {"model_type": "bert"}, "max_tokens": 64, "window": None,
    "labels": 1, "positive": 0, "scale": "log-odds", "pad_id": 0, "family": "classification", "instruction": None, "lower_case": False,
    "token_types": True,
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, as keys from the top."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list) and len(value) < 50
        else ()
    )
    found = [path] if path else []
    for key, part in inner:
        if key != "vocab":
            found += places(part, (*path, key))
    return found


def mutate_json(path: Path, chance: random.Random) -> None:
    """Change one to three members of a JSON file."""
    value = json.loads(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.choice(places(value))
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        if chance.random() < 0.2 and isinstance(holder, dict):
            del holder[place[-1]]
            if not value:
                return
        else:
            holder[place[-1]] = copy.deepcopy(chance.choice(VALUES))
        if not places(value):
            break
    path.write_text(json.dumps(value))


def change_tokenizer(folder: Path, chance: random.Random) -> None:
    """Another part of a tokenizer, or a mutated one."""
    path = folder / "tokenizer.json"
    if chance.random() < 0.5:
        value = json.loads(path.read_bytes())
        for name in chance.sample(list(PARTS), chance.randint(1, 2)):
            value[name] = copy.deepcopy(chance.choice(PARTS[name]))
        path.write_text(json.dumps(value))
    else:
        mutate_json(path, chance)


def change_bytes(folder: Path, chance: random.Random) -> None:
    """Mutate the bytes of one file."""
    path = chance.choice([path for path in sorted(folder.iterdir()) if path.is_file()])
    data = path.read_bytes()
    at = chance.randrange(max(1, len(data) - 400)) if len(data) > 4000 and chance.random() < 0.5 else 0
    path.write_bytes(data[:at] + mutate(data[at : at + 4000], data[:4000], chance) + data[at + 4000 :])


def change_location(folder: Path, chance: random.Random) -> None:
    """External data somewhere else."""
    from tiny_graphs import WEIGHTS, graph

    size = (folder / WEIGHTS).stat().st_size
    places = ["../outside.bin", str(folder.parent / "outside.bin"), "link.bin", "./" + WEIGHTS, "", "sub/../../outside.bin", "*/_ORT_MEM_ADDR_/*",
              "x" * 5000, WEIGHTS, "a\\..\\b"]  # fmt: skip
    shutil.copy(folder / WEIGHTS, folder.parent / "outside.bin")
    if not (folder / "link.bin").exists():
        (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    numbers = ["0", "-1", str(size), str(size + 1), "9" * 30, "²", "", "1e3"]
    graph(
        folder / "model.onnx",
        size // 4,
        chance.choice(places),
        offset=chance.choice(numbers),
        length=chance.choice(numbers),
    )


def change_links(folder: Path, chance: random.Random) -> None:
    """A file becomes a link out of the folder, a folder, a pipe, empty, or is gone."""
    path = chance.choice([path for path in sorted(folder.iterdir()) if path.is_file()])
    outside = folder.parent / f"outside-{path.name}"
    shutil.move(path, outside)
    match chance.randrange(4):
        case 0:
            path.symlink_to(outside)
        case 1:
            path.mkdir()
        case 2:
            path.write_bytes(b"")
        case 3:
            path.symlink_to(path)


def change_manifest(folder: Path, chance: random.Random) -> None:
    """The folder as a converted copy, its manifest mutated."""
    (folder / "rerank.json").write_text(json.dumps(MANIFEST))
    if chance.random() < 0.9:
        mutate_json(folder / "rerank.json", chance)


CHANGES = [change_tokenizer, change_bytes, change_location, change_links, change_manifest,
           lambda folder, chance: mutate_json(folder / "config.json", chance)]  # fmt: skip


def attempt(folder: Path) -> str:
    """The outcome of using a folder in every way."""
    settings = ModelSettings(model=str(folder), backend="onnx", threads=1, offline=True)
    outcome = "scored"

    def use() -> None:
        model = resolve(str(folder))
        described(model)
        _ = identify(settings).digest
        scorer = open_local(settings, Report())
        for how in ("chunk", "truncate"):
            scorer.score([Pair("capital", text) for text in TEXTS], Limits(long_documents=how))

    for step in (use, lambda: _removable(folder, resolve(str(folder)))):
        try:
            step()
        except RerankError as error:
            outcome = "refused" if step is use else outcome
            if SECRET in f"{error.message}{error.hint}":
                outcome = "FAILED: a message shows a file outside the folder"
        except BaseException:  # noqa: BLE001 whatever it is, it is a find
            outcome = "FAILED: " + traceback.format_exc()
    return outcome


def work(root: Path, seed: int, first: int, results: Any) -> None:
    """In a child: make and use folders from a number on, as many as one child may use."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # panics of libraries print
    for number in range(first, first + PER_CHILD):
        changed = make(root, seed, number)
        results.send((number, attempt(root / str(number) / "model"), changed))
    results.close()
    os._exit(0)


def make(root: Path, seed: int, number: int) -> int:
    """A changed copy of the model in `root/number`; how many changes were not possible after the ones before."""
    chance, place, failed = random.Random(f"{seed} {number}"), root / str(number), 0
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "outside.txt").write_text(SECRET)
    folder = Path(shutil.copytree(root / "original", place / "model"))
    for change in chance.sample(CHANGES, chance.choice((1, 1, 2))):
        try:
            change(folder, chance)
        except (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError):
            failed += 1
    return failed


def outcomes_of(root: Path, seed: int, end: float) -> Iterator[tuple[int, str, int]]:
    """Number and outcome of each folder, and its impossible changes. A child that ends too early is an outcome."""
    context = multiprocessing.get_context("fork")
    number = 0
    while time.monotonic() < end:
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(root, seed, number, sending))
        child.start()
        sending.close()
        last = number + PER_CHILD
        while number < last and time.monotonic() < end:
            try:
                found = receiving.recv() if receiving.poll(SECONDS) else (number, "FAILED: longer than a minute", 0)
            except EOFError:
                child.join()
                found = (number, f"engine aborted ({child.exitcode})", 0)
            yield found
            number += 1
            if not found[1].startswith(("scored", "refused")):
                break  # the next folder gets a child of its own
        child.kill()
        child.join()


def fuzz(seconds: float, seed: int) -> tuple[Counter[str], list[str]]:
    """Outcomes by kind, and the failures."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    outcomes, failures = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory(dir=campaign.FAST) as name:
        root = Path(name)
        os.environ |= {"HF_HOME": f"{root}/hf", "RERANK_CACHE_DIR": f"{root}/cache"}
        model_folder(root / "original")
        for number, outcome, impossible in outcomes_of(root, seed, time.monotonic() + seconds):
            place = root / str(number)
            if (place / "outside.txt").read_text() != SECRET:
                outcome = "FAILED: a file outside the folder was changed"  # noqa: PLW2901
            kind = outcome.partition(":")[0]
            outcomes[kind] += 1
            outcomes["(changes not possible)"] += impossible
            if kind == "FAILED":
                failures.append(f"{number}: {outcome}")
            if kind not in {"scored", "refused"}:
                (HERE / "failing").mkdir(exist_ok=True)
                kept = HERE / "failing" / f"model-{seed}-{number}"
                shutil.copytree(place / "model", kept, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(place)
    del outcomes["(changes not possible)"]
    return outcomes, failures


def main() -> int:
    """Run for a time and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes, failures = fuzz(options.seconds, options.seed)
    return campaign.report(outcomes, failures, "model folders")


if __name__ == "__main__":
    sys.exit(main())
