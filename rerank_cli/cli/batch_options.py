"""Options that only `batch` has; the rest are `options`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rerank_cli.cli.option_rules import INPUT, OUTPUT

BATCH = "Batch"

Requests = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", help="Requests, one JSON object a line; `-` is stdin, the default."),
]
Queries = Annotated[
    str | None,
    typer.Option("--queries", metavar="FILE", help="Queries: tsv (id, text), jsonl or lines.", rich_help_panel=INPUT),
]
QueryFormat = Annotated[
    str,
    typer.Option("--query-format", metavar="FORMAT", help="auto, tsv, jsonl or lines.", rich_help_panel=INPUT),
]
AllDocuments = Annotated[
    list[str] | None,
    typer.Option("--documents", metavar="FILE", help="Rank these for every query; repeatable.", rich_help_panel=INPUT),
]
RunFile = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="FILE", help="A TREC run to rerank; wants --queries, --corpus.", rich_help_panel=INPUT
    ),
]
CorpusFile = Annotated[
    str | None,
    typer.Option("--corpus", metavar="FILE", help="The run's documents, JSON lines with ids.", rich_help_panel=INPUT),
]
Depth = Annotated[
    int | None, typer.Option("--depth", metavar="N", help="Rerank the run's first N only.", rich_help_panel=INPUT)
]
BatchFormat = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="responses (one a line), rows (rank's records with query_id) or trec.",
        rich_help_panel=OUTPUT,
    ),
]
OutDir = Annotated[
    Path | None,
    typer.Option("--out-dir", metavar="DIR", help="One output for each input file.", rich_help_panel=OUTPUT),
]
Errors = Annotated[
    Path | None,
    typer.Option("--errors", metavar="FILE", help="Write bad rows here too, as JSON lines.", rich_help_panel=OUTPUT),
]
Summary = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Write the counts and seconds as JSON.", rich_help_panel=OUTPUT),
]
ResponseDocuments = Annotated[
    bool,
    typer.Option("--return-documents/--no-return-documents", help="Leave documents out.", rich_help_panel=OUTPUT),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.", rich_help_panel=BATCH)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a killed run with -o stopped.", rich_help_panel=BATCH)
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Only every Nth row, from the Ith: for CI matrices.", rich_help_panel=BATCH
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="local, or ray: many processes or machines; files to --out-dir.",
        rich_help_panel=BATCH,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", metavar="ADDRESS", help="The Ray cluster (default: here).", rich_help_panel=BATCH),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", help="Ray workers (default: as many as fit).", rich_help_panel=BATCH),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option("--gpus-per-worker", metavar="X", help="GPUs of a Ray worker, as 1 or 0.5.", rich_help_panel=BATCH),
]
