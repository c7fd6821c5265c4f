"""`rerank eval`: runs against judgements, several of them against a baseline, with assertions for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import evaluation_options as e
from rerank_cli.cli import options as o
from rerank_cli.cli.command import collect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rerank_cli.evaluation.assertions import Threshold
    from rerank_cli.evaluation.measures import Measure
    from rerank_cli.readers.qrels import Qrels
    from rerank_cli.report import Report
    from rerank_cli.terminal import Terminal

EXTENSIONS = {".json": "json", ".csv": "csv", ".md": "markdown"}


def evaluate(
    ctx: typer.Context,
    runs: e.Runs = None,
    qrels: e.Qrels = None,
    queries: e.EvalQueries = None,
    measure: e.Measures = None,
    baseline: e.Baseline = None,
    fail_under: e.FailUnder = None,
    fail_on_drop: e.FailOnDrop = None,
    by_query: e.ByQuery = False,
    worst: e.Worst = 0,
    resamples: e.Resamples = 10_000,
    seed: e.Seed = 20_100_719,
    report_format: e.ReportFormat = "auto",
    json: o.AsJson = False,
    output: o.Output = None,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Evaluate runs against judgements, as trec_eval does.

    examples:
      rerank eval --qrels qrels.txt run.trec
      rerank eval --qrels qrels.txt bm25.trec reranked.trec --worst 5
      rerank batch all.jsonl | rerank eval --qrels all.jsonl --measure nDCG@10 -
      rerank eval --qrels q.txt --baseline a.trec b.trec --fail-on-drop nDCG@10=0.01
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Read, evaluate, write, assert; returns the exit code."""
    from rerank_cli.cli.main import configure
    from rerank_cli.cli.rank import tell
    from rerank_cli.evaluation.assertions import require
    from rerank_cli.evaluation.report import Extras, render
    from rerank_cli.report import Report
    from rerank_cli.writers.output import check_output
    from rerank_cli.writers.sections import write_report

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    form = report_form(options)
    check_output(options["output"])
    thresholds = thresholds_of(options)
    report = Report()
    try:
        evaluation, judged = evaluate_runs(options, measures_of(options, thresholds), terminal, report)
        verdicts = verdicts_of(evaluation, thresholds, options)
        texts = texts_of(options, judged, terminal)
        extras = Extras(verdicts, by_query=options["by_query"], worst=options["worst"], texts=texts)
        write_report(render(evaluation, extras, form), options["output"], terminal, as_json=form == "json")
    finally:
        tell(report, terminal)
    require(verdicts)
    return 0


def report_form(options: dict[str, Any]) -> str:
    """The format of a report. Raises UsageError if --json and -f contradict each other."""
    from rerank_cli.errors import UsageError

    form: str = options["report_format"]
    output: Path | None = options["output"]
    if options["json"]:
        if form not in {"auto", "json"}:
            raise UsageError(f"--json and -f {form} exclude each other")
        return "json"
    if form != "auto":
        return form
    return EXTENSIONS.get(output.suffix.lower(), "table") if output else "table"


def thresholds_of(options: dict[str, Any]) -> list[Threshold]:
    """All assertions of the command line. Raises UsageError for a drop without something to drop from."""
    from rerank_cli.errors import UsageError
    from rerank_cli.evaluation.assertions import parse_thresholds

    if options["fail_on_drop"] and not options["baseline"] and len(options["runs"] or ()) < 2:
        raise UsageError("--fail-on-drop needs a run to compare with", "give `--baseline RUN`, or two runs")
    return [
        *parse_thresholds(options["fail_under"] or (), "--fail-under"),
        *parse_thresholds(options["fail_on_drop"] or (), "--fail-on-drop"),
    ]


def measures_of(options: dict[str, Any], thresholds: Sequence[Threshold]) -> tuple[Measure, ...]:
    """The measures asked for, or the usual ones; those of assertions besides."""
    from rerank_cli.evaluation.measures import DEFAULT_MEASURES, parse_measures

    asserted = [str(threshold.measure) for threshold in thresholds]
    return parse_measures([*(options["measure"] or ([] if asserted else DEFAULT_MEASURES)), *asserted])


def run_names(options: dict[str, Any], terminal: Terminal) -> list[str]:
    """The runs to read, the baseline first. Raises UsageError if there is none and none is piped in."""
    from rerank_cli.errors import UsageError

    named = list(options["runs"] or ())
    if not named:
        if terminal.stdin_tty:
            raise UsageError("there is no run to evaluate", "give run files, or `-` for standard input")
        named = ["-"]
    return list(dict.fromkeys([options["baseline"], *named] if options["baseline"] else named))


def evaluate_runs(
    options: dict[str, Any], measures: tuple[Measure, ...], terminal: Terminal, report: Report
) -> tuple[Any, Qrels]:
    """The evaluation of the runs named, and the judgements it rests on."""
    from rerank_cli.errors import UsageError
    from rerank_cli.evaluation.align import aligned
    from rerank_cli.evaluation.summary import Sampling, summarise
    from rerank_cli.readers.qrels import labels_of, read_qrels
    from rerank_cli.readers.trec import read_run

    names = run_names(options, terminal)
    if [options["qrels"], options["queries"], *names].count("-") > 1:
        raise UsageError("standard input can be read once: one `-` only", "name a file for the others")
    judged = read_qrels(options["qrels"], terminal.stdin) if options["qrels"] else None
    found = [read_run(name, terminal.stdin) for name in names]
    if judged is None:
        judged = labels_of(found)
        report.note("judged by the `relevance` in the runs: documents that they left out are not counted")
    sampling = Sampling(options["resamples"], options["seed"])
    named = [(one.name, aligned(one, judged, report)) for one in found]
    return summarise((judged.name, judged.judgements), named, measures, sampling), judged


def verdicts_of(evaluation: Any, thresholds: Sequence[Threshold], options: dict[str, Any]) -> list[Any]:
    """Every assertion, checked."""
    from rerank_cli.evaluation.assertions import check

    only = len(evaluation.runs) == 1  # the baseline against itself
    return check(evaluation, thresholds, baseline=bool(options["baseline"]) and not only)


def texts_of(options: dict[str, Any], judged: Qrels, terminal: Terminal) -> dict[str, str]:
    """Query texts by id: from --queries, else from labelled requests."""
    if not options["queries"]:
        return judged.texts
    from rerank_cli.readers.queries import read_queries

    return {query.id: query.text for query in read_queries(options["queries"], "auto", terminal.stdin)}
