"""How `batch` runs: each input to its output, what happens to bad rows and to a run that stops, and the closing line.

It translates; jobs, scoring, rendering and the journal are `rerank_cli.batch`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_cli.cli.batch_inputs import count_rows, identity_of, jobs_of
from rerank_cli.errors import InputError, OutputError, RowsFailed, UsageError
from rerank_cli.files import cannot_write
from rerank_cli.records import RequestOptions
from rerank_cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rerank_cli.batch.journal import Journal
    from rerank_cli.batch.scoring import Outcome
    from rerank_cli.cli.batch_plan import Plan
    from rerank_cli.cli.before_after import RelevanceDelta
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.terminal import Progress, Terminal

COUNTED = ("rows", "failed", "documents", "tokens")


@dataclass(slots=True)
class Tally:
    """How the run went so far."""

    counts: Counter[str] = field(default_factory=Counter)  # COUNTED, rows of a resumed run included
    fresh: Counter[str] = field(default_factory=Counter)  # of this run alone
    skipped: int = 0  # rows that a former run did
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Session:
    """What every input of a run shares."""

    scorer: Scorer
    terminal: Terminal
    report: Report
    tally: Tally
    advance: Progress
    change: RelevanceDelta
    rows: int | None  # about how many there are, if that is known


def work(plan: Plan, scorer: Scorer, terminal: Terminal, report: Report, tally: Tally) -> None:
    """Every input in turn. What is done is kept whatever ends the run."""
    from rerank_cli.cli.before_after import RelevanceDelta

    make_folder(plan.options["out_dir"])
    change = RelevanceDelta(plan.options["qrels"], plan.settings_of(RequestOptions()), terminal)
    rows = count_rows(plan) if terminal.animated() else None
    journals: list[Journal] = []
    with terminal.progress("ranking", rate="pairs") as advance:
        session = Session(scorer, terminal, report, tally, advance, change, rows)
        for names, target in plan.inputs:
            if is_stream(target):
                to_stream(plan, names, target, session)
            else:
                assert target is not None  # that is a stream
                journals.append(to_file(plan, names, target, session))
    for journal in journals:
        journal.forget()
    if session.tally.skipped and plan.options["qrels"]:
        terminal.note("before → after covers the rows of this run, not those of the run before it")
    change.tell()


def make_folder(path: Path | None) -> None:
    """The folder of --out-dir."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be made: {error.strerror}", where=str(path)) from None


def is_stream(target: Path | None) -> bool:
    """Whether results go to stdout, a pipe or a device, which are written as they come."""
    from rerank_cli.batch.journal import is_regular
    from rerank_cli.writers.output import is_stdout

    return target is None or is_stdout(target) or not is_regular(target)


def to_stream(plan: Plan, names: tuple[str, ...], target: Path | None, session: Session) -> None:
    """One input to stdout or a pipe."""
    from rerank_cli.writers.output import open_output

    if plan.options["resume"]:
        raise UsageError("--resume needs -o FILE or --out-dir", "what went into a pipe cannot be gone on with")
    with open_output(target, session.terminal, "json") as write, errors_file(plan) as note:
        for output, errors, _, counts in finished(plan, names, 0, session):
            write(output)
            note(errors)
            session.tally.counts.update(counts)


def to_file(plan: Plan, names: tuple[str, ...], target: Path, session: Session) -> Journal:
    """One input to a file, through a journal that can be gone on with; returns it, done."""
    from rerank_cli.batch.journal import Journal

    identity = identity_of(plan, names, session.scorer.info.digest)
    journal = Journal(target, errors_path(plan, target), identity, resume=plan.options["resume"])
    tell_start(journal, session.terminal)
    kept = Counter(dict(journal.state.counts))
    session.tally.skipped += kept["rows"]
    try:
        if not journal.state.complete:
            for output, errors, next_row, counts in finished(plan, names, journal.state.next_row, session):
                kept.update(counts)
                journal.add(output, errors, next_row, kept)
        journal.finish()
    except BaseException:
        if journal.resumed:
            session.terminal.note(
                f"the first {journal.state.next_row:,} rows are in {journal.partial}: "
                "the same command with --resume goes on"
            )
        raise
    finally:
        session.tally.counts.update(kept)
        journal.close()
    return journal


def tell_start(journal: Journal, terminal: Terminal) -> None:
    """What is done with the rows of a former run."""
    if journal.dropped:
        terminal.note(f"{journal.partial}: dropping {journal.dropped:,} rows of a former run (--resume keeps them)")
    elif journal.state.complete:
        terminal.note(f"{journal.target}: already whole")
    elif journal.resumed:
        terminal.note(f"{journal.target}: going on after row {journal.state.next_row:,}")


def errors_path(plan: Plan, target: Path) -> Path | None:
    """Where the bad rows of one output go: --errors, or a file beside each output of --out-dir."""
    chosen: Path | None = plan.options["errors"]
    if chosen is None or not plan.options["out_dir"]:
        return chosen
    return target.with_name(target.name + ".errors")


@contextlib.contextmanager
def errors_file(plan: Plan) -> Iterator[Callable[[bytes], None]]:
    """A writer for --errors without a journal; each line is in the file as soon as it is told."""
    path: Path | None = plan.options["errors"]
    if path is None:
        yield lambda _data: None
        return
    try:
        stream = open(path, "wb", buffering=0)  # noqa: SIM115, PTH123 closed below
    except OSError as error:
        raise cannot_write(error, path) from None

    def note(data: bytes) -> None:
        try:
            stream.write(data)
        except OSError as error:
            raise cannot_write(error, path) from None

    with stream:
        yield note


def finished(
    plan: Plan, names: tuple[str, ...], start: int, session: Session
) -> Iterator[tuple[bytes, bytes, int, Counter[str]]]:
    """Block by block: output bytes, error bytes, the next row, and counts."""
    from rerank_cli.batch import results, scoring

    jobs = jobs_of(plan, names, start, session.terminal, session.report)
    repeats = results.Repeats(plan.options["batch_format"], session.report)
    for block in scoring.blocks_of(jobs):
        outcomes = scoring.rank_block(block, session.scorer, plan.settings_of, session.report, session.advance)
        output, errors, counts = bytearray(), bytearray(), Counter[str]()
        for outcome in outcomes:
            row, fault = rendered(outcome, plan, session)
            output += row
            errors += fault
            counts.update(results.counts_of(outcome, failed=bool(fault)))
            if outcome.ranking and outcome.job.request and not fault:
                repeats.look(outcome.job)
                session.change.look(outcome.job.name, outcome.job.request.documents, outcome.ranking.hits)
            if fault and plan.options["strict"]:
                session.tally.fresh.update(counts)
                yield bytes(output), bytes(errors), outcome.job.number + 1, counts
                raise RowsFailed(f"stopped at the first bad row (--strict): {outcome.job.where}")
        session.tally.fresh.update(counts)
        foresee(session)
        yield bytes(output), bytes(errors), block[-1].number + 1, counts


def foresee(session: Session) -> None:
    """The number of pairs to expect, from the rows so far and those to come."""
    fresh = session.tally.fresh["rows"]
    if session.rows and fresh:
        left = max(0, session.rows - session.tally.skipped - fresh)
        session.advance.expect(session.advance.done + session.advance.done * left // fresh)


def rendered(outcome: Outcome, plan: Plan, session: Session) -> tuple[bytes, bytes]:
    """A row's output, or its error line; a bad row is told on stderr at once."""
    from rerank_cli.batch import results

    error = outcome.error
    if error is None:
        try:
            return results.render(outcome, plan.options["batch_format"], plan.output, session.report), b""
        except InputError as fault:
            error = fault
    session.terminal.say(visible(results.told(outcome.job, error)))
    return b"", results.error_line(outcome.job, error)


def conclude(plan: Plan, tally: Tally, info: ScorerInfo, terminal: Terminal, *, complete: bool) -> None:
    """The closing line and --summary."""
    from rerank_cli.writers.output import open_output

    seconds = time.monotonic() - tally.started
    counts, rate = tally.counts, tally.fresh["documents"] / seconds if seconds else 0.0
    failed = f", {counts['failed']:,} failed" if counts["failed"] else ""
    if terminal.verbosity >= 0:
        terminal.say(
            f"rerank: {many(counts['rows'], 'row')}{failed}, {many(counts['documents'], 'document')} "
            f"in {seconds:.1f} s ({rate:,.0f} a second)"
        )
    if plan.options["summary"]:
        record = {
            "schema_version": 1,
            **{key: counts[key] for key in COUNTED},
            "complete": complete,
            "seconds": round(seconds, 3),
            "model": info.model,
            "revision": info.revision,
            "backend": info.backend,
            "dtype": info.dtype,
        }
        with open_output(plan.options["summary"], terminal, "json") as write:
            write(json.dumps(record).encode() + b"\n")


def many(count: int, what: str) -> str:
    """A number and its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def judge(tally: Tally) -> None:
    """Raise RowsFailed if rows failed."""
    if tally.counts["failed"]:
        raise RowsFailed(
            f"{tally.counts['failed']:,} of {many(tally.counts['rows'], 'row')} failed",
            "each is told above, and in --errors FILE",
        )
