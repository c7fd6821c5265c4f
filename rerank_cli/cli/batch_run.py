"""How `batch` runs: which inputs, where each one's results go, what happens to bad rows, and the closing line.

It translates; jobs, scoring, rendering and the journal are `rerank_cli.batch`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rerank_cli.cli import translate
from rerank_cli.errors import ExitCode, InputError, OutputError, RowsFailed, UsageError
from rerank_cli.records import Body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rerank_cli.batch.jobs import Job
    from rerank_cli.batch.scoring import Outcome
    from rerank_cli.cli.batch_plan import Plan
    from rerank_cli.cli.before_after import Change
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Facts, Scorer
    from rerank_cli.settings import InputSettings
    from rerank_cli.terminal import Terminal


@dataclass(slots=True)
class Tally:
    """How the run went so far."""

    counts: Counter[str] = field(default_factory=Counter)  # rows, failed, documents, pairs …
    started: float = field(default_factory=time.monotonic)


def work(plan: Plan, scorer: Scorer, terminal: Terminal, report: Report) -> Tally:
    """Every input in turn."""
    if plan.options["out_dir"]:
        plan.options["out_dir"].mkdir(parents=True, exist_ok=True)
    from rerank_cli.cli.before_after import Change

    tally = Tally()
    change = Change(plan.options["qrels"], plan.settings_of(Body()), terminal)
    with terminal.progress("pairs") as advance:
        for names, target in plan.inputs:
            one_input(plan, names, target, Session(scorer, terminal, report, tally, advance, change))
    change.tell()
    return tally


@dataclass(frozen=True, slots=True)
class Session:
    """What every input of a run shares."""

    scorer: Scorer
    terminal: Terminal
    report: Report
    tally: Tally
    advance: Advance
    change: Change


def one_input(plan: Plan, names: tuple[str, ...], target: Path | None, session: Session) -> None:
    """One input to its output: straight to stdout, or through a journal to a file."""
    from rerank_cli.batch.journal import Journal
    from rerank_cli.writers.output import open_output

    if target is None:
        with open_output(None, session.terminal, "json") as write, errors_file(plan) as note:
            for output, errors, _, counts in finished(plan, names, 0, session):
                write(output)
                note(errors)
                session.tally.counts.update(counts)
        return
    journal = Journal(
        target, errors_path(plan, target), identity_of(plan, names, session), resume=plan.options["resume"]
    )
    if journal.resumed:
        session.terminal.note(f"{target}: going on after row {journal.state.next_row}")
    kept = Counter(dict(journal.state.counts))
    try:
        for output, errors, next_row, counts in finished(plan, names, journal.state.next_row, session):
            kept.update(counts)
            journal.add(output, errors, next_row, kept)
        journal.finish()
    finally:
        session.tally.counts.update(kept)
        journal.close()


def errors_path(plan: Plan, target: Path) -> Path | None:
    """Where the bad rows of one output go: --errors, or a file beside each output of --out-dir."""
    chosen: Path | None = plan.options["errors"]
    if chosen is None or not plan.options["out_dir"]:
        return chosen
    return target.with_name(target.name + ".errors")


@contextlib.contextmanager
def errors_file(plan: Plan) -> Iterator[Callable[[bytes], None]]:
    """A writer for --errors without a journal."""
    path: Path | None = plan.options["errors"]
    if path is None:
        yield lambda _data: None
        return
    try:
        with path.open("wb") as stream:
            yield lambda data: (stream.write(data), None)[1]
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=str(path)) from None


def identity_of(plan: Plan, names: tuple[str, ...], session: Session) -> dict[str, str]:
    """What must not change before a --resume: input bytes, options that decide results, the model."""
    from rerank_cli.batch.journal import digest_of

    files = [*names, *(plan.options["documents"] or ())]
    files += [plan.options[key] for key in ("queries", "corpus") if plan.options[key]]
    known = (
        "batch_format",
        "shard",
        "query_format",
        "depth",
        "input_format",
        "field_format",
        "strict",
        "explain",
        "run_tag",
    )
    options = {key: plan.options[key] for key in known}
    settings = repr((plan.fields, plan.settings_of(Body()), replace(plan.output, output=None)))
    if "-" in files:
        if plan.options["resume"]:
            raise UsageError("--resume needs input files: stdin cannot be read again")
        return {"the input": "stdin"}
    return {
        "the input": digest_of(files),
        "an option": json.dumps([options, settings], sort_keys=True, default=str),
        "the model": session.scorer.facts.digest,
    }


def finished(
    plan: Plan, names: tuple[str, ...], start: int, session: Session
) -> Iterator[tuple[bytes, bytes, int, Counter[str]]]:
    """Block by block: output bytes, error bytes, the next row, and counts."""
    from rerank_cli.batch import scoring

    jobs = jobs_of(plan, names, start, session)
    for block in scoring.blocks_of(jobs):
        outcomes = scoring.rank_block(block, session.scorer, plan.settings_of, session.report, session.advance)
        output, errors, counts = bytearray(), bytearray(), Counter[str]()
        for outcome in outcomes:
            row, fault = rendered(outcome, plan, session)
            output += row
            errors += fault
            counts.update(rows=1, failed=int(bool(fault)))
            if not fault and outcome.ranking and outcome.job.request:
                session.change.look(outcome.job.name, outcome.job.request.documents, outcome.ranking.hits)
                counts.update(documents=outcome.ranking.meta.documents, tokens=outcome.ranking.meta.tokens)
            if fault and plan.options["strict"]:
                yield bytes(output), bytes(errors), outcome.job.number + 1, counts
                raise RowsFailed(f"stopped at the first bad row (--strict): {outcome.job.where}")
        yield bytes(output), bytes(errors), block[-1].number + 1, counts


def rendered(outcome: Outcome, plan: Plan, session: Session) -> tuple[bytes, bytes]:
    """A row's output, or its error line; a bad row is told on stderr at once."""
    from rerank_cli.batch import results

    error = outcome.error
    if error is None:
        try:
            return results.render(outcome, plan.options["batch_format"], plan.output, session.report), b""
        except InputError as fault:
            error = fault
    told = error.message if error.message.startswith(outcome.job.where) else f"{outcome.job.where}: {error.message}"
    session.terminal.say(told)
    record = {"where": outcome.job.where, "id": outcome.job.id, "error": error.message, "exit_code": int(error.code)}
    return b"", json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def jobs_of(plan: Plan, names: tuple[str, ...], start: int, session: Session) -> Iterator[Job]:
    """The rows of one input from row `start` on."""
    from rerank_cli.batch import jobs

    options, terminal = plan.options, session.terminal
    if options["run"]:
        return trec_jobs(plan, start, session)
    if options["documents"]:
        from rerank_cli.readers.queries import read_queries

        documents = read_all(documents_of(plan), terminal, session.report)
        queries = read_queries(options["queries"], options["query_format"], terminal.stdin)
        return jobs.crossed(queries, documents, plan.shard, start)
    return jobs.requests_of(names, terminal.stdin, plan.fields, session.report, plan.shard, start)


def documents_of(plan: Plan) -> InputSettings:
    """The documents of --documents as inputs of their own."""
    return translate.inputs_of({**plan.options, "files": plan.options["documents"], "null": False})


def read_all(inputs: InputSettings, terminal: Terminal, report: Report) -> list[Any]:
    """All documents of some inputs."""
    from itertools import chain

    from rerank_cli.readers import open_documents

    return list(chain.from_iterable(open_documents(inputs, terminal, report).chunks))


def trec_jobs(plan: Plan, start: int, session: Session) -> Iterator[Job]:
    """The queries of a run; only documents that it names are indexed."""
    from rerank_cli.batch.jobs import TrecSources, from_run
    from rerank_cli.readers.corpus import open_corpus
    from rerank_cli.readers.queries import read_queries
    from rerank_cli.readers.trec import by_query, run_rows

    options, stdin = plan.options, session.terminal.stdin
    if "-" in (options["run"], options["corpus"]) and options["run"] == options["corpus"]:
        raise UsageError("stdin can be only one of --run and --corpus")
    rows = list(run_rows(options["run"], stdin)) if options["run"] == "-" else None
    named = {row.document for row in (rows if rows is not None else run_rows(options["run"]))}
    texts = {query.id: query.text for query in read_queries(options["queries"], options["query_format"], stdin)}
    corpus = open_corpus(options["corpus"], named, stdin)
    beir = not plan.fields.rank_fields and not plan.fields.explicit_text_field
    sources = TrecSources(texts, corpus, options["depth"], plan.fields, beir)
    try:
        groups = by_query(rows if rows is not None else run_rows(options["run"]))
        yield from from_run(groups, sources, session.report, plan.shard, start)
    finally:
        corpus.close()


def conclude(plan: Plan, tally: Tally, facts: Facts, terminal: Terminal) -> int:
    """The closing line, --summary, and the exit code. Raises RowsFailed if rows failed."""
    seconds = time.monotonic() - tally.started
    counts = tally.counts
    rate = counts["documents"] / seconds if seconds else 0.0
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    if terminal.verbosity >= 0:
        terminal.say(
            f"rerank: {counts['rows']:,} rows{failed}, {counts['documents']:,} documents in {seconds:.1f} s "
            f"({rate:,.0f} a second)"
        )
    if plan.options["summary"]:
        record = {
            "schema_version": 1,
            **{key: counts[key] for key in ("rows", "failed", "documents", "tokens")},
            "seconds": round(seconds, 3),
            "model": facts.model,
            "revision": facts.revision,
            "backend": facts.backend,
            "dtype": facts.dtype,
        }
        plan.options["summary"].write_text(json.dumps(record) + "\n")
    if counts["failed"]:
        raise RowsFailed(
            f"{counts['failed']:,} of {counts['rows']:,} rows failed", "each is told above, and in --errors FILE"
        )
    return ExitCode.OK
