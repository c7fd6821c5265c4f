"""`rerank rank`: one query, documents from files or stdin, one ranking out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rerank_cli.cli.command import Command
from rerank_cli.options import INPUT, OUTPUT, RANKING, option
from rerank_cli.settings import CacheSettings, InputSettings, ModelSettings, OutputSettings, RankSettings
from rerank_cli.terminal import ColorChoice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.cli.sources import Call
    from rerank_cli.records import Document, DocumentStream, Queries, Ranking
    from rerank_cli.report import Report
    from rerank_cli.terminal import Terminal

_check = partial(option, group=RANKING)


@dataclass(frozen=True, slots=True)
class Query:
    """The query, where the request has none."""

    query: tuple[str, ...] = option(
        "--query -q",
        "The query; repeatable, e.g. for other words of the same question.",
        metavar="TEXT",
        many=True,
        configurable=False,
        in_short_help=True,
        group=INPUT,
    )
    query_file: Path | None = option(
        "--query-file", "Read the query from a file.", metavar="FILE", kind=Path, configurable=False, group=INPUT
    )


@dataclass(frozen=True, slots=True)
class Expectations:
    """Checks of the finished ranking, and labels to compare it with."""

    fail_if_empty: bool = _check(
        "--fail-if-empty", "Exit 7 if the result is empty, e.g. when nothing reaches --min-score 0.5.", default=False
    )
    expect: tuple[str, ...] = _check(
        "--expect", "Exit 7 unless document ID is among the first K; repeatable.", metavar="ID@K", many=True
    )
    qrels: str | None = _check(
        "--qrels",
        "Judgements: report nDCG@10 and RR@10 before and after ranking (else by `relevance` in the documents).",
        metavar="FILE",
        in_short_help=True,
    )


@dataclass(frozen=True, slots=True)
class Console:
    """How the terminal is drawn on."""

    color: ColorChoice = option(
        "--color", "auto, always or never.", metavar="WHEN", default="auto", choices=get_args(ColorChoice), group=OUTPUT
    )


def rank(call: Call) -> int:
    """Rank documents for one query, best first.

    examples:
      rerank -q "capital of the United States" docs.jsonl
      grep -rn retry src | rerank -q "backoff on 429" -n 5
      rerank -q "…" --rank-fields title,body -n 5 --json < docs.jsonl
      rerank -q "…" --min-score 0.5 --fail-if-empty docs.txt
      rerank < cohere_request.json
    """
    from rerank_cli.cli.expectations import check_expectations, parse_expectations
    from rerank_cli.report import Report
    from rerank_cli.writers.output import check_output

    expected = call.settings(Expectations)
    # A wrong one is reported before anything is scored or billed.
    places = parse_expectations(expected.expect) if expected.expect else ()
    check_output(call.values["output"], call.terminal)
    report = Report()
    try:
        ranking = rank_documents(call, report)
        if call.values["keep_order"] and (blank := report.counts["blank_lines"]):
            report.note(f"blank lines are left out ({blank}): the output does not stand line by line beside the input")
    finally:
        print_report(report, call.terminal)
    return check_expectations(ranking, expected.fail_if_empty, places, report.best, call.terminal) if ranking else 0


COMMAND = Command(
    rank, (Query, InputSettings, RankSettings, Expectations, OutputSettings, Console, ModelSettings, CacheSettings)
)


def rank_documents(call: Call, report: Report) -> Ranking | None:
    """The ranking of what the options name, written where they say; None for a dry run."""
    from rerank_cli.cli import rules
    from rerank_cli.cli.query import find_query, query_of_file
    from rerank_cli.cli.usage_errors import check_files
    from rerank_cli.evaluation.before import relevance_delta
    from rerank_cli.pipeline import rank as rank_chunks
    from rerank_cli.readers import open_documents
    from rerank_cli.scorers.registry import open_scorer
    from rerank_cli.writers import write_ranking

    terminal, typed, inputs = call.terminal, call.settings(Query), rules.inputs_of(call)
    if inputs.files:
        check_files(inputs.files, asked=bool(typed.query or typed.query_file))
    asked = query_of_file(file, typed.query, terminal, inputs.decoding) if (file := typed.query_file) else typed.query
    stream = open_documents(inputs, terminal, report, stdin_taken=str(file) == "-")
    query = find_query(asked, stream.body)
    settings = rules.requested(rules.rank_settings_of(call), stream.body, frozenset(call.sources))
    output = rules.output_of(call, stream.body)
    if (named := stream.body.model) and not call.is_set("model"):
        report.note(f"the request's model `{named}` is ignored: `-m` chooses the model")
    model, cache = rules.model_of(call, stream.body), rules.cache_of(call)
    delta = relevance_delta(call.values["qrels"], settings, terminal, inputs.decoding)
    if model.remote.dry_run:
        estimate_only(call, query, stream, model, settings, report)
        return None
    watched = delta.observer(output.query_id) if delta else None
    chunks = watched.chunks(stream.chunks) if watched else stream.chunks
    with closing(open_scorer(model, terminal.env, report, cache)) as scorer:
        if terminal.verbosity > 0:
            terminal.detail(describe(scorer.info))
        with terminal.progress("ranking") as advance:
            chunks = with_total(chunks, inputs.files, advance, settings.prefilter) if terminal.animated() else chunks
            ranking = rank_chunks(query, chunks, scorer, settings, report, advance)
    write_ranking(ranking, output, terminal, report)
    if delta and watched:
        delta.print_query(output.query_id, watched, ranking.hits)
    return ranking


def estimate_only(
    call: Call, query: Queries, stream: DocumentStream, model: ModelSettings, settings: RankSettings, report: Report
) -> None:
    """Print what the run would send and cost. Raises what it would raise."""
    from rerank_cli.cli import rules
    from rerank_cli.cli.dry_run import dry_run, pairs_of, unless_cached

    if settings.prefilter:
        from rerank_cli.pipeline import best_by_words

        stream = replace(stream, chunks=best_by_words(query, stream.chunks, settings, report))
    output, asked = rules.output_of(call, stream.body), unless_cached(model, rules.cache_of(call))
    dry_run(pairs_of(query, stream), asked, settings, output, call.terminal, report)


def with_total(
    chunks: Iterator[list[Document]], files: Sequence[str], advance: Any, most: int | None
) -> Iterator[list[Document]]:
    """The chunks, which also say how many documents will be scored."""
    from rerank_cli.cli import progress

    return progress.with_total(chunks, files, advance, most)


def describe(info: Any) -> str:
    """The line of -v about the model."""
    revision = f"@{info.revision}" if info.revision else ""
    why = f" ({info.reason})" if info.reason else ""
    return f"model {info.model}{revision}, backend {info.backend}, dtype {info.dtype}{why}"


def print_warnings(report: Report, terminal: Terminal) -> None:
    """Warnings and notes."""
    for warning in report.warnings():
        terminal.warn(warning)
    for note in report.all_notes():
        terminal.note(note)


def print_report(report: Report, terminal: Terminal) -> None:
    """Warnings and notes after the results, counts with -v."""
    print_warnings(report, terminal)
    counts = report.counts
    if counts["windowed"]:
        long = "1 long document was" if counts["windowed"] == 1 else f"{counts['windowed']} long documents were"
        terminal.note(f"{long} read in windows; the best window counts")
    left_out, cut = counts["context_left_out"], counts["context_cut"]
    if left_out or cut:
        parts = [f"{left_out} {'document is' if left_out == 1 else 'documents are'} left out"] if left_out else []
        parts += [f"{cut} {'is' if cut == 1 else 'are'} cut"] if cut else []
        terminal.note(f"{' and '.join(parts)} (--max-context-tokens)")
    if "cache_hits" in counts or "cache_misses" in counts:
        terminal.detail(f"score cache: {counts['cache_hits']} pairs known, {counts['cache_misses']} scored")
    terminal.detail(f"{counts['documents']} documents, {counts['tokens']} tokens scored")
