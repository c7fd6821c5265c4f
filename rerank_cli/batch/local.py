"""The local engine of `batch`: each input to its output in this process, and a run that can be resumed.

Rows, scoring, rendering and the journal are modules of their own.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.batch.inputs import count_rows, identity_of, read_rows
from rerank_cli.batch.run import run_rows
from rerank_cli.compression import compressor_for
from rerank_cli.descriptors import is_plain_target, open_stream
from rerank_cli.errors import UsageError
from rerank_cli.files import cannot_write, open_locked
from rerank_cli.records import RequestOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.batch.journal import Journal
    from rerank_cli.batch.plan import BatchPlan, Output
    from rerank_cli.batch.run import Block
    from rerank_cli.batch.summary import Tally
    from rerank_cli.evaluation.before import RelevanceDelta
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.terminal import Progress, Terminal


@dataclass(frozen=True, slots=True)
class Session:
    """What all inputs of a run share."""

    plan: BatchPlan
    scorer: Scorer
    terminal: Terminal
    report: Report
    tally: Tally
    advance: Progress
    delta: RelevanceDelta | None  # None: nothing could be reported
    rows: int | None  # about how many there are, if that is known


def run_local(plan: BatchPlan, scorer: Scorer, terminal: Terminal, report: Report, tally: Tally) -> None:
    """Rank every input in turn. What is done is kept whatever ends the run."""
    from rerank_cli.evaluation.before import relevance_delta

    settings, decoding = plan.settings.settings_of(RequestOptions()), plan.inputs.collection.decoding
    delta = relevance_delta(plan.qrels, settings, terminal, decoding)
    rows = count_rows(plan) if terminal.animated() else None
    journals: list[Journal] = []
    with terminal.progress("ranking", rate="pairs") as advance:
        session = Session(plan, scorer, terminal, report, tally, advance, delta, rows)
        for output in plan.outputs:
            if output.target is None or (plan.out_dir is None and is_stream(output.target)):
                to_stream(output, session)
            else:
                journals.append(to_file(output, output.target, session))
    for journal in journals:
        journal.delete_state()
    if tally.skipped and plan.qrels:
        terminal.note("before → after covers the rows of this run, not those of the run before it")
    if delta:
        delta.print_report()


def is_stream(target: Path) -> bool:
    """Whether results go to stdout, a pipe or a device, which are written as they come."""
    return str(target) == "-" or not is_plain_target(target)


def to_stream(output: Output, session: Session) -> None:
    """Rank one input to stdout or a pipe."""
    from rerank_cli.writers.output import open_output

    if session.plan.resume:
        raise UsageError("--resume needs -o FILE or --out-dir", "output to a pipe cannot be resumed")
    with (
        open_output(output.target, session.terminal, "json") as write,
        open_errors(session.plan.errors) as write_errors,
    ):
        for block in run_blocks(output, 0, session):
            write(block.output)
            write_errors(block.errors)
            session.tally.counts.update(block.counts)


def to_file(output: Output, target: Path, session: Session) -> Journal:
    """Rank one input to a file, through a journal that can be resumed; returns the finished journal."""
    from rerank_cli.batch.journal import Journal

    plan, terminal = session.plan, session.terminal
    identity = identity_of(plan, output.files, session.scorer.info.digest)
    beside = plan.out_dir is not None
    errors = errors_path(plan, target)
    journal = Journal(resolved(plan, target), errors, identity, resume=plan.resume, errors_beside=beside)
    report_start(journal, terminal)
    counts = Counter(dict(journal.state.counts))
    pack, pack_errors = packer_for(target), packer_for(errors)
    session.tally.skipped += counts["rows"]
    try:
        if not journal.state.complete:
            for block in run_blocks(output, journal.state.next_row, session):
                counts.update(block.counts)
                journal.add(pack(block.output), pack_errors(block.errors), block.next_row, counts)
        journal.finish()
    except BaseException:
        if journal.resumed:
            terminal.note(
                f"the first {journal.state.next_row:,} rows are in {journal.partial}: "
                "the same command with --resume continues"
            )
        raise
    finally:
        session.tally.counts.update(counts)
        journal.close()
    return journal


def packer_for(path: Path | None) -> Callable[[bytes], bytes]:
    """Bytes as they are appended to a file: compressed in parts that stand alone, if its name asks for compression.

    So a file that was cut after any of them can be continued.
    """

    def pack(data: bytes) -> bytes:
        compressor = compressor_for(path) if path and data else None
        return compressor.compress(data) + compressor.flush() if compressor else data

    return pack


def report_start(journal: Journal, terminal: Terminal) -> None:
    """What happens to the rows of a previous run, and to files that were in the way."""
    for path in journal.kept:
        terminal.note(f"a file that no batch wrote was in the way: it is {path} now")
    if journal.dropped:
        terminal.note(f"{journal.partial}: dropping {journal.dropped:,} rows of a previous run (--resume keeps them)")
    elif journal.state.complete:
        terminal.note(f"{journal.target}: already complete")
    elif journal.resumed:
        terminal.note(f"{journal.target}: resuming after row {journal.state.next_row:,}")


def resolved(plan: BatchPlan, target: Path) -> Path:
    """The file to replace: a link that the user named is followed; the names in --out-dir are ours, and no links."""
    return Path(os.path.realpath(target)) if plan.out_dir is None else target


def errors_path(plan: BatchPlan, target: Path) -> Path | None:
    """Where the bad rows of one output go: --errors, or a file next to each output of --out-dir."""
    if plan.errors is None or plan.out_dir is None:
        return resolved(plan, plan.errors) if plan.errors and is_plain_target(plan.errors) else plan.errors
    return target.with_name(target.name + ".errors")


@contextlib.contextmanager
def open_errors(path: Path | None) -> Iterator[Callable[[bytes], None]]:
    """A writer for --errors without a journal; each line is in the file as soon as it is reported."""
    if path is None:
        yield lambda _data: None
        return
    try:
        plain = is_plain_target(path)
        stream = open_locked(path, partial(cannot_write, path=path)) if plain else open_stream(path)
        if plain:
            stream.truncate(0)
    except OSError as error:
        raise cannot_write(error, path) from None

    def write(data: bytes) -> None:
        try:
            stream.write(data)
        except OSError as error:
            raise cannot_write(error, path) from None

    with stream:
        yield write


def run_blocks(output: Output, start: int, session: Session) -> Iterator[Block]:
    """The blocks of one input from row `start` on; bad rows are reported on stderr, ranked ones are evaluated."""
    plan, terminal = session.plan, session.terminal
    rows = read_rows(plan, output.files, start, terminal, session.report)
    for block in run_rows(rows, session.scorer, plan.settings, session.report, session.advance):
        for message in block.failures:
            terminal.say(message)
        for row, ranking, _ in block.ranked:
            if session.delta and ranking and row.request:
                session.delta.add_documents(row.name, row.request.documents, ranking.hits)
        session.tally.fresh.update(block.counts)
        expect_pairs(session)
        yield block


def expect_pairs(session: Session) -> None:
    """Estimate the number of pairs from the rows so far and those to come."""
    fresh = session.tally.fresh["rows"]
    if session.rows and fresh:
        left = max(0, session.rows - session.tally.skipped - fresh)
        session.advance.expect(session.advance.done + session.advance.done * left // fresh)
