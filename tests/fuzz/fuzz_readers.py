"""Mutates the seed corpus and reads it in every way: only RerankError may be raised, and documents must be valid.

    python tests/fuzz/fuzz_readers.py --count 1000000

The same seed gives the same inputs. A failing input is printed with its settings and kept in `tests/fuzz/failing/`.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

Fuzz = Callable[[int, int], tuple[Counter[str], list[str]]]  # (count, seed) -> outcomes and failures
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

from readers_support import load_value  # noqa: E402

from rerank_cli.errors import RerankError  # noqa: E402
from rerank_cli.readers import open_documents  # noqa: E402
from rerank_cli.readers.request import parse_request  # noqa: E402
from rerank_cli.records import Document  # noqa: E402
from rerank_cli.report import Report  # noqa: E402
from rerank_cli.settings import INPUT_FORMATS, FieldSettings, InputSettings  # noqa: E402
from rerank_cli.terminal import Terminal  # noqa: E402

TOKENS = [
    *(b"{ } [ ] : , \" ' \\ \n \r\n \0 \t - # & * ! | > % ? ~ << --- ... null true NaN -0 1e5 0x1F 1.10 12:30".split(b" ")),
    b'"documents":[', b'"query":', b'"text":', b"documents:\n", b"query: q\n", b"- text: ", b"&a ", b"*a", b'"rank_fields":',
    b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\\ud800", b"\\u0000",
    b"\xf0\x9f\x98\x80", b"\xc2\x85", b"9" * 30, b"[" * 50, b'{"a":' * 30, b"- " * 60, b'""', b'"top_n":0', b"text\n", b"id,text\n",
]  # fmt: skip
FIELDS = [
    FieldSettings(),
    FieldSettings(rank_fields=("title", "text")),
    FieldSettings(rank_fields=("meta.title", "b", "a"), field_format="text"),
    FieldSettings(text_field="meta.title", explicit_text_field=True),
    FieldSettings(prior_field="score"),
    FieldSettings(rank_fields=("text", "id", "n", "x"), id_fields=("meta.title", "id")),
]


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One to six small changes, mostly one or two."""
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 6))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((1, 1, 2, 5, 20)))
        kind = chance.randrange(6)
        if kind == 0:
            data = data[:at] + chance.choice(TOKENS) + data[at:]
        elif kind == 1:
            data = data[:at] + data[end:]
        elif kind == 2:
            data = data[:at] + data[at:end] * 2 + data[end:]
        elif kind == 3:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
        elif kind == 4:
            start = chance.randint(0, len(other))
            data = data[:at] + other[start : start + chance.choice((3, 10, 40))] + data[end:]
        else:
            data = data[:at] + chance.choice(TOKENS) + data[end:]
    return data


def check(document: Document) -> None:
    """What every document promises, whatever it came from."""
    document.text.encode()
    (document.id or "").encode()
    kind = document.source.kind
    if kind == "json" and (b"\n" in document.raw or document.raw != document.raw.strip()):
        raise AssertionError("a JSON document's raw bytes are one line without blanks around it")
    if not 0 <= document.title_chars <= len(document.text):
        raise AssertionError("head lies within the text")
    if kind != "file":
        load_value(document)


def attempt(data: bytes, settings: InputSettings, *, request: bool) -> str:
    """Read one input; the name of the outcome."""
    report = Report()
    try:
        if request:
            documents = list(parse_request(data, "r", settings.fields, report).documents)
        else:
            terminal = Terminal(io.BytesIO(data), io.BytesIO(), io.StringIO())
            documents = [d for chunk in open_documents(settings, terminal, report).chunks for d in chunk]
    except RerankError as exc:
        if not exc.message or "\n" in exc.message + (exc.hint or ""):
            raise AssertionError("an error and its hint are one line each") from exc
        return type(exc).__name__
    for document in documents:
        check(document)
    return "read" if documents else "nothing to read"


def fuzz(count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` inputs, and the failures."""
    chance = random.Random(seed)
    paths = sorted((HERE / "corpus").iterdir())
    corpus = [(path.read_bytes(), path.suffix[1:] if path.suffix[1:] in INPUT_FORMATS else "auto") for path in paths]
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(count):
        data, kind = chance.choice(corpus)
        data = mutate(data, chance.choice(corpus)[0], chance)
        null = chance.random() < 0.05
        kind = "auto" if null else chance.choice((kind, kind, kind, "auto", "lines", chance.choice(INPUT_FORMATS)))
        fields = FIELDS[0] if chance.random() < 0.5 else chance.choice(FIELDS)
        settings = InputSettings(input_format=kind, null=null, fields=fields)
        if chance.random() < 0.2:
            settings = replace(settings, encoding=chance.choice(("cp1252", "utf-16", "utf-32", "shift_jis", "utf-7")))
        if chance.random() < 0.1 and kind in {"auto", "csv"} and not null:
            settings = replace(settings, delimiter=chance.choice((";", "tab", "|", "a")))
        request = chance.random() < 0.1
        try:
            outcomes[attempt(data, settings, request=request)] += 1
        except Exception:  # noqa: BLE001 whatever it is, it is a find
            outcomes["FAILED"] += 1
            failures.append(_keep(number, data, settings))
    return outcomes, failures


def _keep(number: int, data: bytes, settings: Any) -> str:
    (HERE / "failing").mkdir(exist_ok=True)
    (HERE / "failing" / str(number)).write_bytes(data)
    return f"{number}: {data!r}\n{settings}\n{traceback.format_exc()}"


def main(fuzz: Fuzz, description: str | None) -> int:
    """Run with --count and --seed and report; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.monotonic()
    outcomes, failures = fuzz(arguments.count, arguments.seed)
    for failure in failures[:5]:
        print(failure)
    took = time.monotonic() - start
    print(f"{arguments.count:,} inputs, seed {arguments.seed}, {took:.0f} s: {dict(outcomes.most_common())}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(fuzz, __doc__))
