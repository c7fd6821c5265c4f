"""The options that `batch` has of its own, as frozen records. What they come to is `batch_plan`'s business."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from rerank_cli.options import INPUT, OUTPUT, option, same
from rerank_cli.settings import OutputSettings

BATCH = "Batch"
QueryFormat = Literal["auto", "tsv", "csv", "jsonl", "json", "yaml", "lines", "topics"]
BatchFormat = Literal["responses", "rows", "trec"]
Engine = Literal["local", "ray"]

_input, _output, _batch = (partial(option, group=group) for group in (INPUT, OUTPUT, BATCH))
_file = partial(_output, metavar="FILE", kind=Path)


@dataclass(frozen=True, slots=True)
class BatchFiles:
    """What is ranked, where it is not requests: queries with documents, or a run."""

    queries: str | None = _input(
        "--queries", "Queries with ids, in any input format, TREC topics, or a BEIR folder.", metavar="FILE"
    )
    query_format: QueryFormat = _input(
        "--query-format",
        "auto, tsv, csv, jsonl, json, yaml, lines or topics (TREC).",
        metavar="FORMAT",
        default="auto",
        choices=get_args(QueryFormat),
    )
    documents: tuple[str, ...] = _input(
        "--documents", "Rank these for every query; repeatable.", metavar="FILE", many=True
    )
    run: str | None = _input("--run", "A TREC run to rerank; needs --queries and --corpus.", metavar="FILE")
    corpus: str | None = _input(
        "--corpus", "The run's documents with ids, in any input format, or a BEIR folder.", metavar="FILE"
    )
    depth: int | None = _input(
        "--depth", "Rerank only the first N documents of the run.", metavar="N", kind=int, minimum=1
    )


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
    context: bool = _output(
        "--context", "Add the block for a prompt to each response.", default=False, configurable=False
    )
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
        "--workers", "Ray workers (default: as many as fit).", metavar="N", kind=int, minimum=1, maximum=100_000
    )
    gpus_per_worker: float | None = _batch(
        "--gpus-per-worker", "GPUs per Ray worker, as 1 or 0.5.", metavar="X", kind=float, minimum=0
    )
