"""The loop of every batch: rows are ranked block by block, rendered and counted.

It does not know where the bytes go or who runs it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.batch import results
from rerank_cli.batch.fallback import rank_in_turn
from rerank_cli.batch.scoring import Outcome, blocks_of, rank_block
from rerank_cli.errors import InputError, RowsFailed
from rerank_cli.records import RequestOptions
from rerank_cli.scorers.fallback import FallbackScorer
from rerank_cli.stage_checks import check_chain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rerank_cli.batch.plan import BatchSettings
    from rerank_cli.batch.rows import BatchRow
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer


class Block(NamedTuple):
    """What became of some rows that follow each other."""

    output: bytes
    errors: bytes  # the bad rows, as JSON lines
    next_row: int  # number of the first row after them
    counts: Counter[str]  # rows, failed, documents, tokens
    failures: list[str]  # a message per bad row
    ranked: list[Outcome]  # the rows that are in the output


def run_rows(
    rows: Iterable[BatchRow], scorer: Scorer, settings: BatchSettings, report: Report, advance: Advance | None = None
) -> Iterator[Block]:
    """The rows ranked and rendered, block by block and in order.

    Raises what would meet every row, and RowsFailed at the first bad row if strict, after a block of the rows before.
    """
    repeats = results.Repeats(settings.format, report)
    if isinstance(scorer, FallbackScorer):
        check_chain("", scorer, settings.settings_of(RequestOptions()), report)
    for pending in blocks_of(rows):
        if isinstance(scorer, FallbackScorer):
            outcomes = rank_in_turn(pending, scorer, settings.settings_of, report, advance)
        else:
            outcomes = rank_block(pending, scorer, settings.settings_of, report, advance)
        block = _render(outcomes, settings, report, repeats)
        if settings.strict and block.failures:
            message = block.failures.pop()
            yield block
            message, _, hint = message.partition("\nhint: ")
            raise RowsFailed(f"stopped at the first bad row (--strict): {message}", hint or None)
        yield block


def _render(outcomes: list[Outcome], settings: BatchSettings, report: Report, repeats: results.Repeats) -> Block:
    """The outcomes as a block; if strict, only those up to the first bad row."""
    output, errors = bytearray(), bytearray()
    counts, failures, ranked = Counter[str](), list[str](), list[Outcome]()
    next_row = 0
    for outcome in outcomes:
        row, _, error = outcome
        try:
            output += results.render(outcome, settings, report)
        except InputError as failure:
            error = failure
        counts.update(results.counts_of(outcome, failed=error is not None))
        next_row = row.number + 1
        if error is None:
            repeats.observe(row)
            ranked.append(outcome)
            continue
        errors += results.error_line(row, error)
        failures.append(results.error_message(row, error))
        if settings.strict:
            break
    return Block(bytes(output), bytes(errors), next_row, counts, failures, ranked)
