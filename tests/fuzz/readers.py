"""Mutates inputs of every kind and reads them in every way: only errors of ours may be raised, each with a hint.

    python tests/fuzz/readers.py --count 1000000
    python tests/fuzz/readers.py --seconds 600 --seed 7

Documents, requests, answers of search engines, queries, corpora, runs and qrels go through the functions that the
commands call; some whole command lines run too. The same seed gives the same inputs. A failing input is printed with
its settings and kept in `tests/fuzz/failing/`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

Fuzz = Callable[..., tuple[Counter[str], list[str]]]  # (count, seed) -> outcomes and failures
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

from engine_answers import ANSWERS  # noqa: E402
from free_scorer import FreeScorer  # noqa: E402
from readers_support import load_value  # noqa: E402

from rerank_cli.cli.main import main as command_line  # noqa: E402
from rerank_cli.errors import FileError, RerankError  # noqa: E402
from rerank_cli.readers import open_documents  # noqa: E402
from rerank_cli.readers.corpus import corpus_rows  # noqa: E402
from rerank_cli.readers.qrels import read_qrels  # noqa: E402
from rerank_cli.readers.queries import read_queries  # noqa: E402
from rerank_cli.readers.request import parse_request  # noqa: E402
from rerank_cli.readers.trec import read_run  # noqa: E402
from rerank_cli.records import Document  # noqa: E402
from rerank_cli.report import Report  # noqa: E402
from rerank_cli.scorers import registry  # noqa: E402
from rerank_cli.settings import INPUT_FORMATS, Decoding, FieldSettings, InputSettings  # noqa: E402
from rerank_cli.terminal import Terminal  # noqa: E402

SLOW = 5  # seconds that no input of this size may take
PATHS = (
    "hits.hits[]",
    "documents",
    "[]",
    ".",
    "[0][]",
    "rows[].x",
    "a..b",
    "result.points[]",
    "data.*[]",
    "[",
    "a[1]b",
)
EVALUATION = {
    "run": [
        b"q1 Q0 d1 1 9.5 t\nq1 Q0 d2 2 8 t\nq2 Q0 d1 1 1e3 t\n", b"q1 d1 1\nq1 d2 2\nq2 d9 1\n",
        b'qid,docno,rank,score\nq1,d1,1,9.5\nq1,"d,2",2,8\n', b"query_id\tdoc_id\tscore\nq1\td1\t0.5\n",
        b'{"q1": {"d1": 0.5, "d2": 0.25},\n "q2": {}}\n', b'{"query_id":"q1","id":"d1","relevance_score":0.5,"rank":1}\n',
        b'{"id":"q1","results":[{"index":0,"relevance_score":0.5,"document":{"id":"d1","relevance":1}}]}\n',
        b'[{"query_id":"q1","id":1.10,"relevance_score":null},\n{"query_id":"q1","id":{"$oid":"65"},"score":1}]',
    ],
    "qrels": [
        b"q1 0 d1 1\nq1 0 d2 0\n", b"query-id\tcorpus-id\tscore\nq1\td1\t2\n", b"q1\td1\t1\n", b"q1,0,d1,1\n",
        b'{"q1": {"d1": 1, "d2": 0}}', b'{"query_id":"q1","doc_id":"d1","relevance":2}\n',
        b'{"id":"q1","query":"x","documents":["a",{"id":"b","relevance":1}],"relevance":[1,0]}\n',
    ],
    "queries": [
        b"q1\tfirst query\nq2\tsecond\n", b'{"_id":"q1","text":"first"}\n{"_id":2,"query":"second"}\n',
        b"<top>\n<num> Number: 301\n<title> one two\n<desc> Description:\nx\n</top>\n", b'id,query\n1,a b\n2,"c\nd"\n',
        b'<topics><topic number="1"><query>a</query></topic></topics>', b"- id: 1\n  query: a b\n- c\n", b'["a", "b c"]',
        b'{"1": "a", "2": "b"}', b"one query per line\nanother\n",
    ],
    "corpus": [
        b'{"_id":"d1","title":"t","text":"a"}\n{"_id":"d2","text":null}\n', b"1\tfirst passage here\n2\tsecond one\n",
        b"D1\thttp://x.y\ta title\tbody of it\n", b'docno,text\n1,a\n2,"b\nc"\n', b'[{"docid":1,"text":"a"}]', b"- pid: 7\n  text: x\n",
    ],
}  # fmt: skip


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


VALUES = [
    None, True, 0, -1, 1.5, 10**30, 1e300, "", " ", "text", "1", "\ud800", "\u2028", "a\nb", [], {}, [None], [[]], [{}], {"": ""},
    {"text": "a"}, [{"text": "a"}], {"$oid": "65"}, ["a", "b"], [1, "a"], {"a": {"b": {"c": "d"}}}, [["a"], ["b"]], [{"id": 1}, 0.5],
]  # fmt: skip
KEYS = [
    "text",
    "id",
    "_id",
    "documents",
    "query",
    "results",
    "score",
    "hits",
    "data",
    "title",
    "a.b",
    "",
    "[]",
    "payload",
]


def reshape(value: Any, chance: random.Random) -> Any:
    """A JSON value with one node changed: replaced, removed, wrapped, renamed or doubled."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.15:
        return chance.choice((chance.choice(VALUES), [value], {chance.choice(KEYS): value}))
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, kind = chance.choice(keys), chance.randrange(8)
    changed = value.copy()
    if kind == 0:
        del changed[key]
    elif kind == 1 and isinstance(changed, dict):
        changed[chance.choice(KEYS)] = changed.pop(key)
    elif kind == 2 and isinstance(changed, list):
        changed.insert(key, chance.choice((changed[key], chance.choice(VALUES))))
    elif kind == 3 and isinstance(changed, dict):
        changed[chance.choice(KEYS)] = chance.choice(VALUES)
    else:
        changed[key] = reshape(value[key], chance)
    return changed


def reshaped(data: bytes, chance: random.Random) -> bytes:
    """JSON, or JSON lines, with a few nodes changed; other data unchanged."""
    try:
        values = [json.loads(data)]
    except ValueError:
        try:
            values = [json.loads(line) for line in data.splitlines() if line]
        except ValueError:
            return data
    for _ in range(chance.choice((1, 1, 2, 4))):
        if values:
            at = chance.randrange(len(values))
            values[at] = reshape(values[at], chance)
    indent, ascii_only = chance.choice((None, None, None, 1)), chance.random() < 0.3
    texts = [json.dumps(value, indent=indent, ensure_ascii=ascii_only) for value in values]
    return "\n".join(texts).encode("utf-8", "surrogatepass")


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


def error_of(exc: RerankError) -> str:
    """The name of an error, which must be one line, have a hint of one line, and say where."""
    if not exc.message or "\n" in exc.message + (exc.hint or ""):
        raise AssertionError("an error and its hint are one line each") from exc
    if not exc.hint:
        raise AssertionError("an error without a hint") from exc
    about_options = exc.message.startswith("a whole file has no fields")
    if isinstance(exc, FileError) and not exc.where and ":" not in exc.message and not about_options:
        raise AssertionError("an error without a place") from exc
    return type(exc).__name__


def read_documents(data: bytes, settings: InputSettings) -> int:
    """All documents of one input, checked."""
    terminal = Terminal(io.BytesIO(data), io.BytesIO(), io.StringIO())
    documents = [d for chunk in open_documents(settings, terminal, Report()).chunks for d in chunk]
    for document in documents:
        check(document)
    return len(documents)


def read_request(data: bytes, settings: InputSettings) -> int:
    """The documents of a request, checked."""
    documents = parse_request(data, "r:1", settings.fields, Report()).documents
    for document in documents:
        check(document)
    return len(documents)


def read_evaluation(kind: str, data: bytes, settings: InputSettings) -> int:
    """A run, qrels, queries or a corpus."""
    stdin, decoding = io.BytesIO(data), settings.decoding
    if kind == "run":
        return len(read_run("-", stdin, decoding).scores)
    if kind == "qrels":
        return len(read_qrels("-", stdin, decoding, Report()).judgements)
    if kind == "corpus":
        return _count(corpus_rows("-", stdin, settings, Report()))
    chosen = "auto" if settings.input_format == "files" else settings.input_format
    return _count(read_queries("-", chosen, stdin, settings, Report()))


def _count(rows: Iterable[Any]) -> int:
    return sum(1 for _ in rows)


def run_command(data: bytes, settings: InputSettings, chance: random.Random, folder: Path) -> int:
    """A whole command line over a file; only the exit codes of inputs are allowed."""
    suffix = chance.choice(("", "jsonl", "json", "yaml", "csv", "tsv", "txt", "jsonl.gz", "xml", "html"))
    file = folder / f"in.{suffix}"
    file.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    good = {name: folder / name for name in ("run", "qrels", "queries", "corpus")}
    argv = chance.choice((
        ["-q", "q", file], ["-q", "q", file, "--json", "--explain"], ["-q", "q", file, "-f", "csv"], ["batch", file],
        ["-q", "q", "--records", chance.choice(PATHS), file], ["eval", "--qrels", good["qrels"], file],
        ["eval", "--qrels", file, good["run"]], ["compare", file, good["run"]], ["-q", "q", "--input-format", "files", file],
        ["batch", "--queries", file, "--documents", good["corpus"]], ["batch", "--queries", good["queries"], "--documents", file],
        ["batch", "--run", good["run"], "--queries", good["queries"], "--corpus", file], ["-q", "q", "--on-missing", "error", file],
        ["-q", "q", "--qrels", file, good["corpus"]], ["--query-file", file, good["corpus"]],
    ))  # fmt: skip
    err = io.StringIO()
    terminal = Terminal(io.BytesIO(), io.BytesIO(), err)
    code = command_line([str(word) for word in argv], terminal)
    if code not in {0, 2, 3, 4, 6}:
        raise AssertionError(f"exit code {code} of {argv}: {err.getvalue()}")
    if code in {2, 3} and "\nhint: " not in err.getvalue():
        raise AssertionError(f"no hint of {argv}: {err.getvalue()}")
    return int(code == 0)


def corpus() -> dict[str, list[tuple[bytes, str]]]:
    """The inputs that are mutated, with their formats, by what they hold."""
    paths = sorted((HERE / "corpus").iterdir())
    files = [(path.read_bytes(), path.suffix[1:] if path.suffix[1:] in INPUT_FORMATS else "auto") for path in paths]
    indents = (None, 1)
    answers = [json.dumps(one.value, indent=indent).encode() for one in ANSWERS.values() for indent in indents]
    kinds = {name: [(data, "auto") for data in inputs] for name, inputs in EVALUATION.items()}
    return {"documents": files, "answers": [(data, "auto") for data in answers], **kinds}


def settings_of(kind: str, chance: random.Random) -> InputSettings:
    """How one input is read."""
    null = chance.random() < 0.05
    kind = "auto" if null else chance.choice((kind, kind, kind, "auto", "lines", chance.choice(INPUT_FORMATS)))
    fields = FIELDS[0] if chance.random() < 0.5 else chance.choice(FIELDS)
    if chance.random() < 0.1:
        fields = replace(fields, records=chance.choice(PATHS))
    if chance.random() < 0.2:
        fields = replace(fields, on_missing=chance.choice(("skip", "error")))
    if chance.random() < 0.2:
        fields = replace(fields, join_titles=not fields.rank_fields)
    settings = InputSettings(input_format=kind, null=null, fields=fields)
    if chance.random() < 0.1:
        encoding = chance.choice(("cp1252", "utf-16", "utf-32", "shift_jis", "utf-7"))
        settings = replace(settings, decoding=Decoding(encoding))
    if chance.random() < 0.1:
        limits = {"max_line": chance.choice((1, 20, 300)), "max_unpacked": chance.choice((1, 50, 1000))}
        settings = replace(settings, decoding=replace(settings.decoding, **limits))
    if chance.random() < 0.1 and kind in {"auto", "csv"} and not null:
        settings = replace(settings, delimiter=chance.choice((";", "tab", "|", "a")))
    return settings


def too_slow(*_: Any) -> None:
    """The alarm's handler."""
    raise AssertionError(f"slower than {SLOW} seconds")


def fuzz(count: int, seed: int, seconds: float = float("inf")) -> tuple[Counter[str], list[str]]:
    """Outcomes of `count` inputs, or of those of some seconds, and the failures."""
    chance, inputs, stop = random.Random(seed), corpus(), time.monotonic() + seconds
    kinds = [*inputs, "documents", "documents", "answers"]
    every = [data for several in inputs.values() for data, _ in several]
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    registry.open_scorer, opened = lambda *_: FreeScorer(), registry.open_scorer
    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)
        for kind in EVALUATION:
            (folder / kind).write_bytes(EVALUATION[kind][0])
        for number in range(count):
            if number % 1000 == 0 and time.monotonic() > stop:
                break
            kind = chance.choice(kinds)
            data, input_format = chance.choice(inputs[kind])
            data = reshaped(data, chance) if chance.random() < 0.5 else data
            data = mutate(data, chance.choice(every), chance) if chance.random() < 0.6 else data
            settings = settings_of(input_format, chance)
            way: Callable[[bytes, InputSettings], int]
            if chance.random() < 0.02:
                kind, way = "command", partial(run_command, chance=chance, folder=folder)
            elif kind in EVALUATION:
                way = partial(read_evaluation, kind)
            else:
                way = read_request if chance.random() < 0.1 else read_documents
            signal.setitimer(signal.ITIMER_REAL, SLOW)
            try:
                outcomes[f"{kind}: {'read' if way(data, settings) else 'nothing'}"] += 1
            except RerankError as exc:
                try:
                    outcomes[f"{kind}: {error_of(exc)}"] += 1
                except AssertionError:
                    failures.append(_keep(number, data, settings))
            except Exception:  # noqa: BLE001 whatever it is, it is a find
                outcomes["FAILED"] += 1
                failures.append(_keep(number, data, settings))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    registry.open_scorer = opened
    return outcomes, failures


def _keep(number: int, data: bytes, settings: Any) -> str:
    (HERE / "failing").mkdir(exist_ok=True)
    (HERE / "failing" / str(number)).write_bytes(data)
    return f"{number}: {data!r}\n{settings}\n{traceback.format_exc()}"


def main(fuzz: Fuzz, description: str | None) -> int:
    """Run with --count, --seconds and --seed and report; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    start = time.monotonic()
    if arguments.seconds is None:
        outcomes, failures = fuzz(arguments.count or 100_000, arguments.seed)
    else:
        outcomes, failures = fuzz(arguments.count or sys.maxsize, arguments.seed, arguments.seconds)
    for failure in failures[:5]:
        print(failure)
    took, total = time.monotonic() - start, sum(outcomes.values())
    print(f"{total:,} inputs, seed {arguments.seed}, {took:.0f} s: {dict(outcomes.most_common())}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(fuzz, __doc__))
