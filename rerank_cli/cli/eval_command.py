"""`rerank eval`: runs against judgements, several of them against a baseline, with assertions for CI."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from rerank_cli.cli.command import AsJson, Command
from rerank_cli.compression import extension_of
from rerank_cli.errors import UsageError
from rerank_cli.options import EVALUATION, INPUT, OUTPUT, nested, option, same
from rerank_cli.settings import Decoding, InputSettings, OutputSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rerank_cli.cli.sources import Call
    from rerank_cli.evaluation.assertions import Threshold
    from rerank_cli.evaluation.measures import Measure
    from rerank_cli.readers.qrels import Qrels
    from rerank_cli.report import Report
    from rerank_cli.terminal import Terminal

ReportFormat = Literal["auto", "table", "json", "csv", "markdown"]
EXTENSIONS = {".json": "json", ".csv": "csv", ".md": "markdown"}
_input, _measure = (partial(option, group=group) for group in (INPUT, EVALUATION))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Which runs are measured by which judgements, how, and what is asserted."""

    runs: tuple[str, ...] = _input(
        "", "Runs: TREC, MS MARCO, CSV or JSON, or output of rank or batch; `-` is stdin.", metavar="RUN...", many=True
    )
    qrels: str | None = _input(
        "--qrels",
        "Judgements: TREC qrels, CSV, TSV, JSON, a BEIR folder, or labelled requests. Without it, `relevance` in the "
        "runs.",
        metavar="FILE",
        in_short_help=True,
    )
    queries: str | None = _input("--queries", "Texts for --worst, in any format of batch --queries.", metavar="FILE")
    decoding: Decoding = nested(Decoding)
    measure: tuple[str, ...] = _measure(
        "--measure",
        "Measures as ir_measures or trec_eval writes them, e.g. nDCG@10,RR@10,AP(rel=2); repeatable "
        "(default: nDCG@10,RR@10,AP,P@5,R@100,Judged@10).",
        metavar="NAMES",
        many=True,
        in_short_help=True,
    )
    baseline: str | None = _measure(
        "--baseline",
        "Compare with this run (default: the first, if there are several).",
        metavar="RUN",
        in_short_help=True,
    )
    fail_under: tuple[str, ...] = _measure(
        "--fail-under",
        "Exit 7 if the mean of M is below X, e.g. nDCG@10=0.62; repeatable.",
        metavar="M=X",
        many=True,
        in_short_help=True,
    )
    fail_on_drop: tuple[str, ...] = _measure(
        "--fail-on-drop",
        "Exit 7 if M is more than X below --baseline, e.g. nDCG@10=0.01; repeatable.",
        metavar="M=X",
        many=True,
        in_short_help=True,
    )
    by_query: bool = _measure("--by-query", "Add the values of each query.", default=False)
    worst: int = _measure(
        "--worst",
        "List the N worst queries by the first measure: those that lost most, else the lowest.",
        metavar="N",
        default=0,
        minimum=0,
        in_short_help=True,
    )
    resamples: int = _measure(
        "--resamples",
        "Draws of the randomisation test and the bootstrap; 0: none.",
        metavar="N",
        default=10_000,
        minimum=0,
        maximum=10_000_000,
    )
    seed: int = _measure(
        "--seed", "Seed of the draws: equal seeds give equal output.", metavar="N", default=20_100_719, minimum=0
    )


@dataclass(frozen=True, slots=True)
class ReportOutput:
    """How a report is written."""

    report_format: ReportFormat = option(
        "--format -f",
        "table, json, csv or markdown (a CI job summary). auto: by the extension of -o, else a table.",
        metavar="FORMAT",
        default="auto",
        choices=get_args(ReportFormat),
        group=OUTPUT,
        overrides=("json",),
        in_short_help=True,
    )
    json: bool = same(AsJson, "json")
    output: Path | None = same(OutputSettings, "output")


def evaluate(call: Call) -> int:
    """Evaluate runs against judgements, as trec_eval does.

    examples:
      rerank eval --qrels qrels.txt run.trec
      rerank eval --qrels qrels.txt bm25.trec reranked.trec --worst 5
      rerank batch all.jsonl | rerank eval --qrels all.jsonl --measure nDCG@10 -
      rerank eval --qrels q.txt --baseline a.trec b.trec --fail-on-drop nDCG@10=0.01
    """
    from rerank_cli.cli.rank import print_report
    from rerank_cli.evaluation.assertions import require
    from rerank_cli.evaluation.report import Extras, render
    from rerank_cli.report import Report
    from rerank_cli.writers.output import check_output
    from rerank_cli.writers.sections import write_report

    settings, output, terminal = call.settings(Evaluation), call.settings(ReportOutput), call.terminal
    report_format = format_of(output)
    check_output(output.output, terminal)
    thresholds = thresholds_of(settings)
    report = Report()
    try:
        evaluation, judged = evaluate_runs(settings, measures_of(settings, thresholds), terminal, report)
        verdicts = verdicts_of(evaluation, thresholds, baseline=settings.baseline is not None)
        texts = texts_of(settings, judged, terminal, report)
        extras = Extras(verdicts, by_query=settings.by_query, worst=settings.worst, texts=texts)
        rendered = render(evaluation, extras, report_format)
        write_report(rendered, output.output, terminal, as_json=report_format == "json")
    finally:
        print_report(report, terminal)
    require(verdicts)
    return 0


COMMAND = Command(evaluate, (Evaluation, ReportOutput))


def format_of(output: ReportOutput) -> str:
    """The format of a report. Raises UsageError if --json and -f contradict each other."""
    if output.json:
        if output.report_format not in {"auto", "json"}:
            raise UsageError(f"--json and -f {output.report_format} exclude each other", "give one of them")
        return "json"
    if output.report_format != "auto":
        return output.report_format
    return EXTENSIONS.get(extension_of(output.output), "table") if output.output else "table"


def thresholds_of(settings: Evaluation) -> list[Threshold]:
    """All assertions of the command line. Raises UsageError for a drop without something to drop from."""
    from rerank_cli.evaluation.assertions import parse_thresholds

    if settings.fail_on_drop and not settings.baseline and len(settings.runs) < 2:
        raise UsageError("--fail-on-drop needs a run to compare with", "give `--baseline RUN`, or two runs")
    return [
        *parse_thresholds(settings.fail_under, "--fail-under"),
        *parse_thresholds(settings.fail_on_drop, "--fail-on-drop"),
    ]


def measures_of(settings: Evaluation, thresholds: Sequence[Threshold]) -> tuple[Measure, ...]:
    """The measures asked for, or the usual ones; those of assertions besides."""
    from rerank_cli.evaluation.measures import DEFAULT_MEASURES, parse_measures

    asserted = [str(threshold.measure) for threshold in thresholds]
    return parse_measures([*(settings.measure or ([] if asserted else DEFAULT_MEASURES)), *asserted])


def run_names(settings: Evaluation, terminal: Terminal) -> list[str]:
    """The runs to read, the baseline first. Raises UsageError if there is none and none is piped in."""
    if not settings.runs and terminal.stdin_tty:
        raise UsageError("there is no run to evaluate", "give run files, or `-` for standard input")
    named = settings.runs or ("-",)
    return list(dict.fromkeys([settings.baseline, *named] if settings.baseline else named))


def evaluate_runs(
    settings: Evaluation, measures: tuple[Measure, ...], terminal: Terminal, report: Report
) -> tuple[Any, Qrels]:
    """The evaluation of the runs named, and the judgements it rests on."""
    from rerank_cli.evaluation.align import aligned
    from rerank_cli.evaluation.summary import Sampling, summarise
    from rerank_cli.readers.encodings import check_encoding
    from rerank_cli.readers.qrels import labels_of, read_qrels
    from rerank_cli.readers.trec import read_run

    if settings.decoding.encoding is not None:
        check_encoding(settings.decoding.encoding)
    names = run_names(settings, terminal)
    if [settings.qrels, settings.queries, *names].count("-") > 1:
        raise UsageError("standard input can be read once: one `-` only", "name a file for the others")
    judged = read_qrels(settings.qrels, terminal.stdin, settings.decoding, report) if settings.qrels else None
    runs = [read_run(name, terminal.stdin, settings.decoding) for name in names]
    if judged is None:
        judged = labels_of(runs)
        report.note("judged by the `relevance` in the runs: documents that they left out are not counted")
    sampling = Sampling(settings.resamples, settings.seed)
    named = [(run.name, aligned(run, judged, report)) for run in runs]
    return summarise((judged.name, judged.judgements), named, measures, sampling), judged


def verdicts_of(evaluation: Any, thresholds: Sequence[Threshold], *, baseline: bool) -> list[Any]:
    """Every assertion, checked."""
    from rerank_cli.evaluation.assertions import check

    only = len(evaluation.runs) == 1  # the baseline against itself
    return check(evaluation, thresholds, baseline=baseline and not only)


def texts_of(settings: Evaluation, judged: Qrels, terminal: Terminal, report: Report) -> dict[str, str]:
    """Query texts by id: from --queries, else from labelled requests."""
    if not settings.queries:
        return judged.texts
    from rerank_cli.readers.queries import read_queries

    inputs = InputSettings(decoding=settings.decoding)
    return {query.id: query.text for query in read_queries(settings.queries, "auto", terminal.stdin, inputs, report)}
