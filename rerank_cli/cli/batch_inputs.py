"""What `batch` reads: which files, whether they are there, how many rows they hold, their digest, and their jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli import translate
from rerank_cli.errors import UsageError
from rerank_cli.readers.input_stream import COMPRESSED
from rerank_cli.records import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.batch.jobs import Job
    from rerank_cli.cli.batch_plan import Plan
    from rerank_cli.report import Report
    from rerank_cli.settings import InputSettings
    from rerank_cli.terminal import Terminal

# Options that decide what is written; the others may change before a --resume.
DECIDING = (
    "batch_format", "shard", "query_format", "depth", "input_format", "field_format", "explain", "run_tag", "errors",
)  # fmt: skip


def named(plan: Plan, names: tuple[str, ...]) -> list[str]:
    """Every file that one input is made of."""
    further = [plan.options[key] for key in ("queries", "corpus") if plan.options[key] not in {None, *names}]
    return [*names, *(plan.options["documents"] or ()), *further]


def check_inputs(plan: Plan, terminal: Terminal) -> None:
    """Fail before a model is opened: files that are missing, stdin named twice, a terminal with nothing to read."""
    from rerank_cli.readers.input_stream import check_file

    every = named(plan, tuple(name for names, _ in plan.inputs for name in names))
    if every.count("-") > 1:
        raise UsageError("stdin (`-`) can be read only once")
    for name in every:
        if name != "-":
            check_file(name)
    if terminal.stdin_tty and not plan.options["files"] and every == ["-"]:
        raise UsageError(
            "no requests: name files, or pipe them in", "one JSON object a line; see `rerank batch --help`"
        )
    if plan.options["resume"] and not all(map(is_rereadable, every)):
        raise UsageError("--resume needs input files: stdin or a pipe cannot be read again")


def is_rereadable(name: str) -> bool:
    """Whether an input can be read twice: not stdin, a pipe or `<(command)`."""
    return name != "-" and Path(name).is_file()


def identity_of(plan: Plan, names: tuple[str, ...], model_digest: str) -> dict[str, str]:
    """What must not change before a --resume: input bytes, options that decide results, the model."""
    from rerank_cli.batch.journal import digest_of

    files = named(plan, names)
    options = {key: plan.options[key] for key in DECIDING}
    settings = repr((plan.fields, plan.settings_of(RequestOptions()), replace(plan.output, output=None)))
    return {
        "the input": digest_of(files) if all(map(is_rereadable, files)) else "stdin",
        "an option": json.dumps([options, settings], sort_keys=True, default=str),
        "the model": model_digest,
    }


def count_rows(plan: Plan) -> int | None:
    """About how many rows are to be worked through; None where counting would cost as much as reading."""
    total = 0
    for names, _ in plan.inputs:
        for name in names:
            rows = None if plan.options["run"] else rows_in(name)
            if rows is None:
                return None
            total += rows
    return total // plan.shard.of


def rows_in(name: str) -> int | None:
    """The lines or rows of a file, blank ones included; None for stdin and compressed files."""
    if not is_rereadable(name) or name.lower().endswith(COMPRESSED):
        return None
    if name.lower().endswith(".parquet"):
        from rerank_cli.readers.parquet import group_rows

        return sum(group_rows(name))
    with Path(name).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1


def jobs_of(plan: Plan, names: tuple[str, ...], start: int, terminal: Terminal, report: Report) -> Iterator[Job]:
    """The rows of one input from row `start` on."""
    from rerank_cli.batch import jobs

    options = plan.options
    if options["run"]:
        return trec_jobs(plan, start, terminal, report)
    if options["documents"]:
        from rerank_cli.readers.queries import read_queries

        documents = read_all(documents_of(plan), terminal, report)
        queries = read_queries(options["queries"], options["query_format"], terminal.stdin)
        return jobs.crossed(queries, documents, plan.shard, start)
    return jobs.requests_of(names, terminal.stdin, plan.fields, report, plan.shard, start)


def documents_of(plan: Plan) -> InputSettings:
    """The documents of --documents as inputs of their own."""
    return translate.inputs_of({**plan.options, "files": plan.options["documents"], "null": False})


def read_all(inputs: InputSettings, terminal: Terminal, report: Report) -> list[Any]:
    """All documents of some inputs."""
    from itertools import chain

    from rerank_cli.readers import open_documents

    return list(chain.from_iterable(open_documents(inputs, terminal, report).chunks))


def trec_jobs(plan: Plan, start: int, terminal: Terminal, report: Report) -> Iterator[Job]:
    """The queries of a run; only documents that it names are indexed."""
    from rerank_cli.batch.jobs import TrecSources, from_run
    from rerank_cli.readers.corpus import open_corpus
    from rerank_cli.readers.queries import read_queries
    from rerank_cli.readers.trec import by_query, run_rows

    options, stdin = plan.options, terminal.stdin
    rows = None if is_rereadable(options["run"]) else list(run_rows(options["run"], stdin))
    wanted = {row.document for row in (rows if rows is not None else run_rows(options["run"]))}
    texts = {query.id: query.text for query in read_queries(options["queries"], options["query_format"], stdin)}
    corpus = open_corpus(options["corpus"], wanted, stdin)
    beir = not plan.fields.rank_fields and not plan.fields.explicit_text_field
    sources = TrecSources(texts, corpus, options["depth"], plan.fields, beir)
    try:
        groups = by_query(rows if rows is not None else run_rows(options["run"]))
        yield from from_run(groups, sources, report, plan.shard, start)
    finally:
        corpus.close()
