"""What the options of `batch` come to: a `BatchPlan`, or a UsageError for options that contradict each other."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rerank_cli.batch.journal import files_beside
from rerank_cli.batch.plan import BatchInputs, BatchPlan, BatchSettings, Output, Shard
from rerank_cli.cli import rules
from rerank_cli.errors import UsageError
from rerank_cli.options import INPUT, OUTPUT, option, same
from rerank_cli.readers.input_stream import COMPRESSED
from rerank_cli.settings import InputSettings, OutputSettings

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.records import RequestOptions
    from rerank_cli.settings import RankSettings

BATCH = "Batch"
SUFFIXES = {"responses": ".responses.jsonl", "rows": ".rows.jsonl", "trec": ".trec"}
# Options that decide what is written, besides settings; all others may change before a --resume.
DECIDING = ("batch_format", "shard", "query_format", "depth", "input_format", "field_format", "errors")


QueryFormat = Literal["auto", "tsv", "jsonl", "lines"]
BatchFormat = Literal["responses", "rows", "trec"]
Engine = Literal["local", "ray"]

_input, _output, _batch = (partial(option, group=group) for group in (INPUT, OUTPUT, BATCH))
_file = partial(_output, metavar="FILE", kind=Path)


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """What is ranked, where it is not requests: queries with documents, or a run."""

    queries: str | None = _input("--queries", "Queries: tsv (id, text), jsonl or lines.", metavar="FILE")
    query_format: QueryFormat = _input(
        "--query-format", "auto, tsv, jsonl or lines.", metavar="FORMAT", default="auto", choices=get_args(QueryFormat)
    )
    documents: tuple[str, ...] = _input(
        "--documents", "Rank these for every query; repeatable.", metavar="FILE", many=True
    )
    run: str | None = _input("--run", "A TREC run to rerank; wants --queries, --corpus.", metavar="FILE")
    corpus: str | None = _input("--corpus", "The run's documents, JSON lines with ids.", metavar="FILE")
    depth: int | None = _input("--depth", "Rerank the run's first N only.", metavar="N", kind=int, minimum=1)


@dataclass(frozen=True, slots=True)
class BatchOutputs:
    """What is written, and where."""

    batch_format: BatchFormat = _output(
        "--format -f",
        "responses (one a line), rows (rank's records with query_id) or trec.",
        metavar="FORMAT",
        default="responses",
        choices=get_args(BatchFormat),
        in_short_help=True,
    )
    output: Path | None = same(OutputSettings, "output")
    out_dir: Path | None = _output("--out-dir", "One output per input file.", metavar="DIR", kind=Path)
    errors: Path | None = _file("--errors", "Write bad rows here too, as JSON lines.")
    summary: Path | None = _file("--summary", "Write the counts and seconds as JSON.")
    return_documents: bool = _output("--return-documents/--no-return-documents", "Leave documents out.", default=True)
    result_key: str | None = same(OutputSettings, "result_key")
    explain: bool = same(OutputSettings, "explain")
    run_tag: str = same(OutputSettings, "run_tag")


@dataclass(frozen=True, slots=True)
class BatchRun:
    """How the rows are worked through."""

    strict: bool = _batch("--strict", "Stop at the first bad row.", default=False)
    resume: bool = _batch("--resume", "Resume a killed run with -o where it stopped.", default=False)
    shard: str | None = _batch("--shard", "Only every Nth row, from the Ith: for CI matrices.", metavar="I/N")
    engine: Engine = _batch(
        "--engine",
        "local, or ray: many processes or machines; files to --out-dir.",
        metavar="ENGINE",
        default="local",
        choices=get_args(Engine),
    )
    ray_address: str | None = _batch("--ray-address", "The Ray cluster (default: here).", metavar="ADDRESS")
    workers: int | None = _batch(
        "--workers", "Ray workers (default: as many as fit).", metavar="N", kind=int, minimum=1
    )
    gpus_per_worker: float | None = _batch(
        "--gpus-per-worker", "GPUs per Ray worker, as 1 or 0.5.", metavar="X", kind=float, minimum=0
    )


@dataclass(frozen=True, slots=True)
class SettingsOf:
    """`RankSettings` of a request; unlike a closure it can be sent to other processes."""

    settings: RankSettings
    given: frozenset[str]  # options that are set

    def __call__(self, request: RequestOptions) -> RankSettings:
        """Options, then what the request says, then defaults."""
        return rules.requested(self.settings, request, self.given)


def plan_of(call: Call) -> BatchPlan:
    """The plan. Raises UsageError for options that contradict each other."""
    ranking = rules.rank_settings_of(call)
    given = frozenset({"max_tokens_per_doc"} & set(call.sources))
    outputs = outputs_of(call)
    require_apart(call, outputs)
    settings = BatchSettings(
        settings_of=SettingsOf(ranking, given),
        format=call.values["batch_format"],
        fields=rules.fields_of(call),
        output=output_of(call),
        strict=call.settings(BatchRun).strict,
    )
    decisive = {key: call.values[key] for key in DECIDING}
    identity = [decisive, repr((settings.fields, ranking, settings.output)), sorted(given)]
    files = call.settings(InputSettings).files
    return BatchPlan(
        inputs=batch_inputs_of(call),
        outputs=outputs,
        settings=settings,
        identity=json.dumps(identity, sort_keys=True, default=str),
        shard=shard_of(call.values["shard"]),
        resume=call.values["resume"],
        implicit_stdin=outputs[0].files == ("-",) and not files,
        out_dir=call.values["out_dir"],
        errors=call.values["errors"],
        qrels=call.values["qrels"],
    )


def output_of(call: Call) -> OutputSettings:
    """How a row is rendered; a request may ask for no documents where no option says it. Raises UsageError."""
    chosen = call.settings(BatchOutputs)
    rules.check_result_key(chosen.result_key)
    return OutputSettings(
        format="jsonl",
        documents=chosen.return_documents,
        as_requested=not call.is_set("return_documents"),
        result_key=chosen.result_key,
        explain=chosen.explain,
        run_tag=chosen.run_tag,
    )


def batch_inputs_of(call: Call) -> BatchInputs:
    """What is ranked, besides request files."""
    chosen = call.settings(BatchFiles)
    documents = replace(rules.inputs_of(call), files=chosen.documents) if chosen.documents else None
    return BatchInputs(chosen.queries, chosen.query_format, documents, chosen.run, chosen.corpus, chosen.depth)


def shard_of(text: str | None) -> Shard:
    """`I/N` as a shard."""
    if text is None:
        return Shard()
    part, slash, of = text.partition("/")
    counts = part.isascii() and part.isdigit() and of.isascii() and of.isdigit() and len(of) < 10
    if not (slash and counts and len(part) < 10 and 1 <= int(part) <= int(of)):
        raise UsageError(f"--shard: `{text}` is not I/N with 1 ≤ I ≤ N", "for example `--shard 2/8`")
    return Shard(int(part), int(of))


def outputs_of(call: Call) -> tuple[Output, ...]:
    """Every output with its input files."""
    files, chosen, out = call.settings(InputSettings).files, call.settings(BatchFiles), call.settings(BatchOutputs)
    check_inputs_fit(call, chosen, files)
    if out.out_dir and out.output:
        raise UsageError("-o and --out-dir exclude each other", "give one of them")
    if call.values["resume"] and not (out.output or out.out_dir):
        raise UsageError("--resume needs -o or --out-dir", "output to stdout cannot be resumed")
    ray_only = ("ray_address", "workers", "gpus_per_worker")
    if call.values["engine"] != "ray" and any(call.values[key] for key in ray_only):
        raise UsageError("--ray-address, --workers and --gpus-per-worker belong to --engine ray", "add `--engine ray`")
    names = files or (chosen.run or chosen.queries or "-",)
    if not out.out_dir:
        return (Output(tuple(names), out.output),)
    suffix = SUFFIXES[out.batch_format]
    outputs = tuple(Output((name,), out.out_dir / (stem_of(name) + suffix)) for name in names)
    require_distinct([(output.files[0], str(output.target)) for output in outputs])
    return outputs


def check_inputs_fit(call: Call, chosen: BatchFiles, files: tuple[str, ...]) -> None:
    """Raise UsageError unless there are requests, or queries with documents, or a run with queries and corpus."""
    crossed, trec = bool(chosen.documents), bool(chosen.run or chosen.corpus)
    if (crossed or trec) and (files or not chosen.queries or (crossed and trec)):
        raise UsageError(
            "give requests, or --queries with --documents, or --run with --queries and --corpus",
            "see the examples of `rerank batch --help`",
        )
    if trec and not (chosen.run and chosen.corpus):
        raise UsageError("--run and --corpus belong together", "give `--run FILE --corpus FILE`")
    if chosen.queries and not (crossed or trec):
        raise UsageError("--queries needs what to rank", "give `--documents FILE`, or `--run FILE --corpus FILE`")
    if call.is_typed("depth") and not trec:
        raise UsageError("--depth belongs to --run", "a request's documents are all ranked; `-n` prints the best")


def require_distinct(outputs: list[tuple[str, str]]) -> None:
    """Raise UsageError if two inputs, given as (input, output), would write one file."""
    first: dict[str, str] = {}
    for name, target in outputs:
        if first.setdefault(target, name) != name or outputs.count((name, target)) > 1:
            raise UsageError(
                f"`{first[target]}` and `{name}` would both be written to {target}",
                "rename one, or give it its own --out-dir",
            )


def require_apart(call: Call, outputs: tuple[Output, ...]) -> None:
    """Raise UsageError if outputs would mix, or one is an input or another: opening it would lose what it holds."""
    options = call.values
    if str(options["errors"]) == "-":
        raise UsageError("--errors -: bad rows do not mix with results", "name a file; stderr reports them anyway")
    if str(options["summary"]) == "-" and any(str(target or "-") == "-" for _, target in outputs):
        raise UsageError("--summary -: the counts would mix with the results", "name a file, or send the results to -o")
    read = [(f"--{key}", options[key]) for key in ("queries", "run", "corpus", "qrels") if options[key]]
    read += [("--documents", name) for name in options["documents"] or ()]
    read += [("an input", name) for name in options["files"] or ()]
    flag = "-o" if options["output"] else "--out-dir"
    targets = [target for _, target in outputs if target and is_plain(target)]
    written = [(flag, target) for target in targets]
    written += [(f"{flag}'s journal", path) for target in targets for path in files_beside(target)]
    written += [(f"--{key}", options[key]) for key in ("errors", "summary") if options[key]]
    seen = {file_of(path): flag for flag, path in read if is_plain(path)}
    for flag, path in written:
        if not is_plain(path):
            continue
        if other := seen.get(file_of(path)):
            raise UsageError(f"{flag} {path} is also {other}: writing it would lose what it holds", "name another file")
        seen[file_of(path)] = flag


def file_of(path: str | Path) -> object:
    """What identifies a file under all its names, links included; for a file that does not exist yet, its path."""
    try:
        known = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    return known.st_dev, known.st_ino


def is_plain(path: str | Path) -> bool:
    """Whether a path names something that can be overwritten: not `-`, a pipe or a device."""
    return str(path) != "-" and (not Path(path).exists() or Path(path).is_file())


def stem_of(name: str) -> str:
    """An output's name from its input's: without folder, compression and format."""
    stem = "stdin" if name == "-" else Path(name).name
    for suffix in (*COMPRESSED, ".parquet", ".jsonl", ".ndjson", ".json", ".trec", ".txt", ".tsv", ".run"):
        stem = stem.removesuffix(suffix)
    return stem
