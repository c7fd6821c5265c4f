"""What the options of `batch` come to: inputs with their outputs, fields, settings, shard; contradictions are told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.batch.jobs import Shard
from rerank_cli.batch.journal import files_beside
from rerank_cli.cli import translate
from rerank_cli.errors import UsageError
from rerank_cli.readers.input_stream import COMPRESSED
from rerank_cli.records import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.settings import FieldSettings, OutputSettings, RankSettings

SUFFIXES = {"responses": ".responses.jsonl", "rows": ".rows.jsonl", "trec": ".trec"}

Input = tuple[tuple[str, ...], Path | None]  # request files (or `-`) that are one sequence, and where its results go


@dataclass(frozen=True, slots=True)
class Plan:
    """What the options come to."""

    options: dict[str, Any]
    fields: FieldSettings
    settings_of: Callable[[RequestOptions], RankSettings]
    output: OutputSettings
    shard: Shard
    inputs: tuple[Input, ...]


def plan_of(options: dict[str, Any], given: frozenset[str]) -> Plan:
    """The plan. Raises UsageError for options that contradict each other."""
    rank_options = {**options, "keep_order": False}
    output_options = {
        **options,
        "format": "jsonl",
        "json": False,
        "null": False,
        "query_id": "1",
    }
    translate.rank_settings_of(
        rank_options, RequestOptions(), given
    )  # contradictions are told before anything is opened
    inputs = inputs_of(options)
    require_apart(options, inputs)
    return Plan(
        options=options,
        fields=translate.fields_of(options),
        settings_of=lambda body: translate.rank_settings_of(rank_options, body, given),
        output=translate.output_of(output_options, RequestOptions(), given, batch=True),
        shard=shard_of(options["shard"]),
        inputs=inputs,
    )


def shard_of(text: str | None) -> Shard:
    """`I/N` as a shard."""
    if text is None:
        return Shard()
    part, slash, of = text.partition("/")
    counts = part.isascii() and part.isdigit() and of.isascii() and of.isdigit() and len(of) < 10
    if not (slash and counts and len(part) < 10 and 1 <= int(part) <= int(of)):
        raise UsageError(f"--shard: `{text}` is not I/N with 1 ≤ I ≤ N", "for example `--shard 2/8`")
    return Shard(int(part), int(of))


def inputs_of(options: dict[str, Any]) -> tuple[Input, ...]:
    """Every input with its output."""
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
        raise UsageError("--resume needs -o or --out-dir", "what goes to stdout cannot be gone on with")
    if options["engine"] != "ray" and any(options[key] for key in ("ray_address", "workers", "gpus_per_worker")):
        raise UsageError("--ray-address, --workers and --gpus-per-worker belong to --engine ray")
    names = files or ([options["run"] or options["queries"]] if crossed or trec else ["-"])
    if not out_dir:
        return ((tuple(names), output),)
    inputs = tuple(((name,), out_dir / output_name(name, options["batch_format"])) for name in names)
    require_distinct([(names[0], str(target)) for names, target in inputs])
    return inputs


def output_name(name: str, form: str) -> str:
    """What an input's results are called in --out-dir."""
    return stem_of(name) + SUFFIXES[form]


def require_distinct(outputs: list[tuple[str, str]]) -> None:
    """Raise UsageError if two inputs, given as (input, output), would write one file."""
    first: dict[str, str] = {}
    for name, target in outputs:
        if first.setdefault(target, name) != name or outputs.count((name, target)) > 1:
            raise UsageError(
                f"`{first[target]}` and `{name}` would both become {target}", "rename one, or give it its own --out-dir"
            )


def require_apart(options: dict[str, Any], inputs: tuple[Input, ...]) -> None:
    """Raise UsageError if outputs would mix, or one is an input or another: opening it would lose what it holds."""
    if str(options["errors"]) == "-":
        raise UsageError("--errors -: bad rows do not mix with results", "name a file; stderr tells them anyway")
    if str(options["summary"]) == "-" and any(str(target or "-") == "-" for _, target in inputs):
        raise UsageError("--summary -: the counts would mix with the results", "name a file, or send the results to -o")
    read = [(f"--{key}", options[key]) for key in ("queries", "run", "corpus", "qrels") if options[key]]
    read += [("--documents", name) for name in options["documents"] or ()]
    read += [("an input", name) for name in options["files"] or ()]
    flag = "-o" if options["output"] else "--out-dir"
    targets = [target for _, target in inputs if target and is_plain(target)]
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
    """What all names of a file have in common, links included; of one that is not there yet, its place."""
    try:
        known = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    return known.st_dev, known.st_ino


def is_plain(path: str | Path) -> bool:
    """Whether a path names something that can be lost: not `-`, a pipe or a device."""
    return str(path) != "-" and (not Path(path).exists() or Path(path).is_file())


def stem_of(name: str) -> str:
    """An output's name from its input's: without folder, compression and format."""
    stem = "stdin" if name == "-" else Path(name).name
    for suffix in (*COMPRESSED, ".parquet", ".jsonl", ".ndjson", ".json", ".trec", ".txt", ".tsv", ".run"):
        stem = stem.removesuffix(suffix)
    return stem
