"""What the options of `batch` come to: a `BatchPlan`, or a UsageError for options that contradict each other."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.batch.journal import files_beside
from rerank_cli.batch.plan import BatchInputs, BatchPlan, BatchSettings, Output, Shard
from rerank_cli.cli import translate
from rerank_cli.errors import UsageError
from rerank_cli.readers.input_stream import COMPRESSED
from rerank_cli.records import RequestOptions

if TYPE_CHECKING:
    from rerank_cli.settings import RankSettings

SUFFIXES = {"responses": ".responses.jsonl", "rows": ".rows.jsonl", "trec": ".trec"}
# Options that decide a ranking.
RANKING = (
    "fusion", "prior_field", "weight", "raw_scores", "top_n", "min_score", "dedupe", "keep_order",
    "max_tokens_per_doc", "max_chunks_per_doc", "long_documents",
)  # fmt: skip
# Further options that decide what is written; all others may change before a --resume.
DECIDING = (
    "batch_format", "shard", "query_format", "depth", "input_format", "field_format", "explain", "run_tag", "errors",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SettingsOf:
    """`RankSettings` of a request under the options; unlike a closure it can be sent to other processes."""

    options: dict[str, Any]
    given: frozenset[str]

    def __call__(self, body: RequestOptions) -> RankSettings:
        """Flags, then what the request says, then defaults. Raises UsageError for options that contradict."""
        return translate.rank_settings_of(self.options, body, self.given)


def plan_of(options: dict[str, Any], given: frozenset[str]) -> BatchPlan:
    """The plan. Raises UsageError for options that contradict each other."""
    ranking = {key: options.get(key) for key in RANKING} | {"keep_order": False}
    settings_of = SettingsOf(ranking, given & set(RANKING))
    default = settings_of(RequestOptions())  # before anything is opened
    outputs = outputs_of(options)
    require_apart(options, outputs)
    output_options = {**options, "format": "jsonl", "json": False, "null": False, "query_id": "1"}
    settings = BatchSettings(
        settings_of=settings_of,
        format=options["batch_format"],
        fields=translate.fields_of(options),
        output=replace(translate.output_of(output_options, RequestOptions(), given, batch=True), output=None),
        strict=options["strict"],
    )
    decisive = {key: options[key] for key in DECIDING}
    identity = [decisive, repr((settings.fields, default, settings.output)), sorted(settings_of.given)]
    return BatchPlan(
        inputs=batch_inputs_of(options),
        outputs=outputs,
        settings=settings,
        identity=json.dumps(identity, sort_keys=True, default=str),
        shard=shard_of(options["shard"]),
        resume=options["resume"],
        implicit_stdin=outputs[0].files == ("-",) and not options["files"],
        out_dir=options["out_dir"],
        errors=options["errors"],
        qrels=options["qrels"],
    )


def batch_inputs_of(options: dict[str, Any]) -> BatchInputs:
    """What is ranked, besides request files."""
    documents = None
    if options["documents"]:
        documents = translate.inputs_of({**options, "files": options["documents"], "null": False})
    names = ("queries", "query_format", "run", "corpus", "depth")
    return BatchInputs(documents=documents, **{name: options[name] for name in names})


def shard_of(text: str | None) -> Shard:
    """`I/N` as a shard."""
    if text is None:
        return Shard()
    part, slash, of = text.partition("/")
    counts = part.isascii() and part.isdigit() and of.isascii() and of.isdigit() and len(of) < 10
    if not (slash and counts and len(part) < 10 and 1 <= int(part) <= int(of)):
        raise UsageError(f"--shard: `{text}` is not I/N with 1 ≤ I ≤ N", "for example `--shard 2/8`")
    return Shard(int(part), int(of))


def outputs_of(options: dict[str, Any]) -> tuple[Output, ...]:
    """Every output with its input files."""
    files, out_dir, output = options["files"] or [], options["out_dir"], options["output"]
    crossed, trec = bool(options["documents"]), bool(options["run"] or options["corpus"])
    if (crossed or trec) and (files or not options["queries"] or (crossed and trec)):
        raise UsageError(
            "give requests, or --queries with --documents, or --run with --queries and --corpus",
            "see the examples of `rerank batch --help`",
        )
    if trec and not (options["run"] and options["corpus"]):
        raise UsageError("--run and --corpus belong together")
    if options["queries"] and not (crossed or trec):
        raise UsageError("--queries needs what to rank", "give `--documents FILE`, or `--run FILE --corpus FILE`")
    if "depth" in options.get("typed", ()) and not trec:
        raise UsageError("--depth belongs to --run", "a request's documents are all ranked; `-n` prints the best")
    if out_dir and output:
        raise UsageError("-o and --out-dir exclude each other")
    if options["resume"] and not (output or out_dir):
        raise UsageError("--resume needs -o or --out-dir", "output to stdout cannot be resumed")
    if options["engine"] != "ray" and any(options[key] for key in ("ray_address", "workers", "gpus_per_worker")):
        raise UsageError("--ray-address, --workers and --gpus-per-worker belong to --engine ray")
    names = files or ([options["run"] or options["queries"]] if crossed or trec else ["-"])
    if not out_dir:
        return (Output(tuple(names), output),)
    suffix = SUFFIXES[options["batch_format"]]
    outputs = tuple(Output((name,), out_dir / (stem_of(name) + suffix)) for name in names)
    require_distinct([(output.files[0], str(output.target)) for output in outputs])
    return outputs


def require_distinct(outputs: list[tuple[str, str]]) -> None:
    """Raise UsageError if two inputs, given as (input, output), would write one file."""
    first: dict[str, str] = {}
    for name, target in outputs:
        if first.setdefault(target, name) != name or outputs.count((name, target)) > 1:
            raise UsageError(
                f"`{first[target]}` and `{name}` would both be written to {target}",
                "rename one, or give it its own --out-dir",
            )


def require_apart(options: dict[str, Any], outputs: tuple[Output, ...]) -> None:
    """Raise UsageError if outputs would mix, or one is an input or another: opening it would lose what it holds."""
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
