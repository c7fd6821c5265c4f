"""`rerank compare`: how the order of two runs differs, without judgements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import evaluation_options as e
from rerank_cli.cli import options as o
from rerank_cli.cli.command import collect

if TYPE_CHECKING:
    from rerank_cli.evaluation.trec_eval import Scores
    from rerank_cli.readers.trec import Run
    from rerank_cli.terminal import Terminal


def compare(
    ctx: typer.Context,
    first: e.RunA,
    second: e.RunB,
    depth: e.Depth = None,
    rbo_p: e.RboP = 0.9,
    limit: e.Limit = 10,
    report_format: e.ReportFormat = "auto",
    json: o.AsJson = False,
    output: o.Output = None,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Compare the order of two runs: rank changes, Kendall's tau-b, rank-biased overlap.

    examples:
      rerank compare bm25.trec reranked.trec
      rerank compare old.jsonl new.jsonl --depth 10 --limit 0
      rerank compare a.trec b.trec --json | jq '.queries[] | select(.top_changed)'
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Read two runs, compare, write."""
    from rerank_cli.cli.eval_command import report_form
    from rerank_cli.cli.main import configure
    from rerank_cli.errors import UsageError
    from rerank_cli.evaluation.changes import render
    from rerank_cli.evaluation.correlation import compare as compare_scores
    from rerank_cli.readers.trec import read_run
    from rerank_cli.writers.output import check_output
    from rerank_cli.writers.sections import write_report

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    form = report_form(options)
    check_output(options["output"])
    if not 0 < options["rbo_p"] < 1:
        raise UsageError(f"--rbo-p: `{options['rbo_p']:g}` is not between 0 and 1")
    if options["first"] == options["second"] == "-":
        raise UsageError("only one of the runs can be standard input")
    runs = [read_run(options[name], terminal.stdin) for name in ("first", "second")]
    old, new = paired(*runs)
    changes = compare_scores(old, new, options["rbo_p"], options["depth"])
    if changes and not any(change.common for change in changes):
        terminal.warn("the runs have no document in common: do both use the same query and document ids?")
    report = render((runs[0].name, runs[1].name), changes, options["limit"], form)
    write_report(report, options["output"], terminal, as_json=form == "json")
    return 0


def paired(first: Run, second: Run) -> tuple[Scores, Scores]:
    """Scores under the same query ids: a single ranking without an id is compared with the other's only query."""
    from rerank_cli.readers.trec import ANONYMOUS

    old, new = first.scores, second.scores
    if len(old) == len(new) == 1 and ANONYMOUS in {*old, *new}:
        name = max(*old, *new)
        return {name: next(iter(old.values()))}, {name: next(iter(new.values()))}
    return old, new
