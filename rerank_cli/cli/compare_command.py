"""`rerank compare`: how the order of two runs differs, without judgements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.cli.command import Command
from rerank_cli.cli.eval_command import ReportOutput, format_of
from rerank_cli.options import EVALUATION, INPUT, nested, option
from rerank_cli.settings import Decoding

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call
    from rerank_cli.evaluation.trec_eval import Scores
    from rerank_cli.readers.trec import Run


_measure = partial(option, group=EVALUATION)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, and how far they are compared."""

    first: str = option("", "The first run; `-` is stdin.", metavar="RUN_A", required=True, group=INPUT)
    second: str = option("", "The second run; `-` is stdin.", metavar="RUN_B", required=True, group=INPUT)
    decoding: Decoding = nested(Decoding)
    depth: int | None = _measure("--depth", "Compare only the first K documents.", metavar="K", kind=int, minimum=1)
    rbo_p: float = _measure("--rbo-p", "Persistence of RBO, between 0 and 1.", metavar="P", default=0.9)
    limit: int = _measure(
        "--limit", "List the N most changed queries; 0: all.", metavar="N", default=10, minimum=0, in_short_help=True
    )


def compare(call: Call) -> int:
    """Compare the order of two runs: rank changes, Kendall's tau-b, rank-biased overlap.

    examples:
      rerank compare bm25.trec reranked.trec
      rerank compare old.jsonl new.jsonl --depth 10 --limit 0
      rerank compare a.trec b.trec --json | jq '.queries[] | select(.top_changed)'
    """
    from rerank_cli.errors import UsageError
    from rerank_cli.evaluation.changes import render
    from rerank_cli.evaluation.correlation import compare as compare_scores
    from rerank_cli.readers.encodings import check_encoding
    from rerank_cli.readers.trec import read_run
    from rerank_cli.writers.output import check_output
    from rerank_cli.writers.sections import write_report

    settings, output = call.settings(Comparison), call.settings(ReportOutput)
    check_output(output.output, call.terminal)
    if not 0 < settings.rbo_p < 1:
        raise UsageError(f"--rbo-p: `{settings.rbo_p:g}` is not between 0 and 1", "as in `--rbo-p 0.9`")
    if settings.first == settings.second == "-":
        raise UsageError("only one of the runs can be standard input", "name a file for the other")
    form = format_of(output)
    if settings.decoding.encoding is not None:
        check_encoding(settings.decoding.encoding)
    runs = [read_run(name, call.terminal.stdin, settings.decoding) for name in (settings.first, settings.second)]
    old, new = paired(*runs)
    changes = compare_scores(old, new, settings.rbo_p, settings.depth)
    if changes and not any(change.common for change in changes):
        call.terminal.warn("the runs have no document in common: do both use the same query and document ids?")
    report = render((runs[0].name, runs[1].name), changes, settings.limit, form)
    write_report(report, output.output, call.terminal, as_json=form == "json")
    return 0


COMMAND = Command(compare, (Comparison, ReportOutput))


def paired(first: Run, second: Run) -> tuple[Scores, Scores]:
    """Scores under the same query ids: a single ranking without an id is compared with the other's only query."""
    from rerank_cli.readers.trec import ANONYMOUS

    old, new = first.scores, second.scores
    if len(old) == len(new) == 1 and ANONYMOUS in {*old, *new}:
        name = max(*old, *new)
        return {name: next(iter(old.values()))}, {name: next(iter(new.values()))}
    return old, new
