"""`rerank batch`: many queries in one run, streaming, in order, resumable after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from rerank_cli.cli.command import Command
from rerank_cli.cli.rank import Expectations
from rerank_cli.options import INPUT, OUTPUT, option, same
from rerank_cli.settings import CacheSettings, InputSettings, ModelSettings, OutputSettings, RankSettings

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call

BATCH = "Batch"
QueryFormat = Literal["auto", "tsv", "jsonl", "lines"]
BatchFormat = Literal["responses", "rows", "trec"]
Engine = Literal["local", "ray"]

_input, _output, _batch = (partial(option, group=group) for group in (INPUT, OUTPUT, BATCH))
_file = partial(_output, metavar="FILE", kind=Path)


@dataclass(frozen=True, slots=True)
class BatchInputs:
    """What is ranked, where it is not requests: queries with documents, or a run."""

    queries: str | None = _input("--queries", "Queries: tsv (id, text), jsonl or lines.", metavar="FILE")
    query_format: QueryFormat = _input(
        "--query-format",
        "auto, tsv, jsonl or lines.",
        metavar="FORMAT",
        default="auto",
        choices=get_args(QueryFormat),
    )
    documents: tuple[str, ...] = _input(
        "--documents", "Rank these for every query; repeatable.", metavar="FILE", many=True
    )
    run: str | None = _input("--run", "A TREC run to rerank; wants --queries, --corpus.", metavar="FILE")
    corpus: str | None = _input("--corpus", "The run's documents, JSON lines with ids.", metavar="FILE")
    depth: int | None = _input("--depth", "Rerank the run's first N only.", metavar="N", kind=int, minimum=1)


@dataclass(frozen=True, slots=True)
class BatchOutput:
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


def batch(call: Call) -> int:
    """Rank many queries: requests, queries × documents, or a TREC run.

    examples:
      rerank batch requests.jsonl -o responses.jsonl
      rerank batch requests.jsonl -o responses.jsonl --resume
      rerank batch --queries q.tsv --documents docs.jsonl -f rows
      rerank batch --run bm25.trec --queries q.tsv --corpus c.jsonl -f trec -n 100
      rerank batch day1.jsonl.gz day2.jsonl.gz --out-dir ranked --cache
    """
    raise NotImplementedError


COMMAND = Command(
    batch,
    (BatchInputs, InputSettings, RankSettings, Expectations, BatchOutput, BatchRun, ModelSettings, CacheSettings),
    without=frozenset({"null", "keep_order", "fail_if_empty", "expect", "dry_run"}),
    changed={"files": {"help": "Requests, one JSON object per line; `-` is stdin, the default."}},
)
