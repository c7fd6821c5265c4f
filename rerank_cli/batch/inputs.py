"""What `batch` reads: which files, whether they are there, how many rows they hold, their digest, and their rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.batch import rows
from rerank_cli.compression import SUFFIXES
from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.batch.plan import BatchPlan
    from rerank_cli.report import Report
    from rerank_cli.terminal import Terminal


def check_inputs(plan: BatchPlan, terminal: Terminal) -> None:
    """Fail before a model is opened: files that are missing, stdin named twice, a terminal with nothing to read.

    Raises InputError or UsageError.
    """
    from rerank_cli.readers.input_stream import check_file

    names = [*plan.files, *plan.inputs.further(plan.files)]
    if names.count("-") > 1:
        raise UsageError("stdin (`-`) can be read only once", "name it once; further inputs are files")
    for name in names:
        if name != "-":
            check_file(name)
    if terminal.stdin_tty and plan.implicit_stdin:
        hint = "one JSON object per line; see `rerank batch --help`"
        raise UsageError("no requests: name files, or pipe them in", hint)
    if plan.resume and not all(map(is_rereadable, names)):
        hint = "write the requests to a file first, and name it"
        raise UsageError("--resume needs input files: stdin or a pipe cannot be read again", hint)


def is_rereadable(name: str) -> bool:
    """Whether an input can be read twice: not stdin, a pipe or `<(command)`."""
    return name != "-" and Path(name).is_file()


def identity_of(plan: BatchPlan, files: tuple[str, ...], model_digest: str) -> dict[str, str]:
    """What must not change before a --resume: input bytes, options that decide results, the model."""
    from rerank_cli.batch.state import digest_of

    names = [*files, *plan.inputs.further(files)]
    return {
        "the input": digest_of(map(Path, names)) if all(map(is_rereadable, names)) else "stdin",
        "an option": plan.identity,
        "the model": model_digest,
    }


def count_rows(plan: BatchPlan) -> int | None:
    """About how many rows there are to rank; None where counting would cost as much as reading."""
    counts = [None if plan.inputs.run else rows_in(name) for name in plan.files]
    known = [count for count in counts if count is not None]
    return sum(known) // plan.shard.of if len(known) == len(counts) else None


def rows_in(name: str) -> int | None:
    """The lines or rows of a file, blank ones included; None for stdin and compressed files."""
    if not is_rereadable(name) or name.lower().endswith(SUFFIXES):
        return None
    if name.lower().endswith(".parquet"):
        from rerank_cli.readers.parquet import group_rows

        return sum(group_rows(name))
    with Path(name).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1


def read_rows(
    plan: BatchPlan, files: tuple[str, ...], start: int, terminal: Terminal, report: Report
) -> Iterator[rows.BatchRow]:
    """The rows of one input from row `start` on. Raises InputError for a file that cannot be read."""
    inputs = plan.inputs
    if inputs.run:
        return _run_rows(plan, inputs.run, start, terminal, report)
    if inputs.documents and inputs.queries:
        from itertools import chain

        from rerank_cli.readers import open_documents
        from rerank_cli.readers.queries import read_queries

        documents = list(chain.from_iterable(open_documents(inputs.documents, terminal, report).chunks))
        queries = read_queries(inputs.queries, inputs.query_format, terminal.stdin, inputs.collection, report)
        return rows.crossed(queries, documents, plan.shard, start)
    lines = rows.numbered_lines(files, terminal.stdin, inputs.collection.decoding)
    return rows.requests_of(lines, plan.settings.fields, report, plan.shard, start)


def _run_rows(plan: BatchPlan, run: str, start: int, terminal: Terminal, report: Report) -> Iterator[rows.BatchRow]:
    """The queries of a TREC run; only documents that it names are indexed."""
    from rerank_cli.readers.corpus import open_corpus
    from rerank_cli.readers.queries import read_queries
    from rerank_cli.readers.trec import by_query, run_rows

    inputs, stdin = plan.inputs, terminal.stdin
    decoding = inputs.collection.decoding
    held = None if is_rereadable(run) else list(run_rows(run, stdin, decoding))
    wanted = {row.document for row in (held if held is not None else run_rows(run, None, decoding))}
    queries = read_queries(inputs.queries or "", inputs.query_format, stdin, inputs.collection, report)
    texts = {query.id: query.text for query in queries}
    corpus = open_corpus(inputs.corpus or "", wanted, stdin, inputs.collection, report)
    sources = rows.TrecSources(texts, corpus, inputs.depth, inputs.collection.fields)
    try:
        groups = by_query(held if held is not None else run_rows(run, None, inputs.collection.decoding))
        yield from rows.from_run(groups, sources, report, plan.shard, start)
    finally:
        corpus.close()
