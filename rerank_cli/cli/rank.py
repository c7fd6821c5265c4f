"""`rerank rank`: one query, documents from files or stdin, one ranking out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import collect
from rerank_cli.settings import DEFAULT_MAX_TOKENS, RemoteSettings

if TYPE_CHECKING:
    from rerank_cli.records import Ranking
    from rerank_cli.report import Report
    from rerank_cli.terminal import Terminal

REMOTE = RemoteSettings()


def rank(
    ctx: typer.Context,
    files: o.Files = None,
    query: o.Query = None,
    query_file: o.QueryFile = None,
    input_format: o.InputFormat = "auto",
    rank_fields: o.RankFields = None,
    field_format: o.FieldFormat = "yaml",
    text_field: o.TextField = None,
    id_field: o.IdField = None,
    null: o.Null = False,
    top_n: o.TopN = None,
    min_score: o.MinScore = None,
    fail_if_empty: o.FailIfEmpty = False,
    expect: o.Expect = None,
    qrels: o.Judged = None,
    dedupe: o.Dedupe = False,
    keep_order: o.KeepOrder = False,
    prior_field: o.PriorField = None,
    fusion: o.FusionHow = None,
    weight: o.Weight = None,
    raw_scores: o.RawScores = False,
    format: o.Format = "auto",
    json: o.Json = False,
    output: o.Output = None,
    explain: o.Explain = False,
    return_documents: o.ReturnDocuments = True,
    result_key: o.ResultKey = None,
    query_id: o.QueryId = "1",
    run_tag: o.RunTag = "rerank",
    color: o.Color = "auto",
    max_tokens_per_doc: o.MaxTokensPerDoc = DEFAULT_MAX_TOKENS,
    long_documents: o.LongDocuments = "chunk",
    max_chunks_per_doc: o.MaxChunksPerDoc = None,
    model: so.Model = "builtin",
    backend: so.Backend = "auto",
    device: so.Device = "auto",
    dtype: so.Dtype = "auto",
    threads: so.Threads = None,
    instruction: so.Instruction = None,
    offline: so.Offline = False,
    require_revision: so.RequireRevision = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    endpoint: so.Endpoint = None,
    api_key_env: so.ApiKeyEnv = None,
    api_key_file: so.ApiKeyFile = None,
    auth_header: so.AuthHeader = None,
    client_name: so.ClientName = None,
    header: so.Header = None,
    extra: so.Extra = None,
    batch_docs: so.BatchDocs = None,
    concurrency: so.Concurrency = REMOTE.concurrency,
    timeout: so.Timeout = REMOTE.timeout_s,
    retries: so.Retries = REMOTE.retries,
    max_wait: so.MaxWait = REMOTE.max_wait_s,
    requests_per_minute: so.RequestsPerMinute = None,
    tokens_per_minute: so.TokensPerMinute = None,
    max_units: so.MaxUnits = None,
    dry_run: so.DryRun = False,
    allow_split: so.AllowSplit = False,
    native_rank_fields: so.NativeRankFields = False,
    ca_bundle: so.CaBundle = None,
    insecure: so.Insecure = False,
    cache: so.Cache = False,
    cache_path: so.CachePath = None,
    cache_mode: so.CacheMode = "rw",
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Rank documents for one query, best first.

    examples:
      rerank -q "capital of the United States" docs.jsonl
      grep -rn retry src | rerank -q "backoff on 429" -n 5
      rerank -q "…" --rank-fields title,body -n 5 --json < docs.jsonl
      rerank -q "…" --min-score 0.5 --fail-if-empty docs.txt
      rerank < cohere_request.json
    """
    return run(collect(ctx, locals()), explicit(ctx), ctx.obj)


def explicit(ctx: typer.Context) -> frozenset[str]:
    """Names of the options that were given: flag, environment or configuration."""
    return frozenset(name for name in ctx.params if str(ctx.get_parameter_source(name)).rpartition(".")[2] != "DEFAULT")


def run(options: dict[str, Any], given: frozenset[str], terminal: Terminal) -> int:
    """Read, rank, write, judge; returns the exit code."""
    from rerank_cli.cli.expectations import judge, parse_expectations
    from rerank_cli.cli.main import configure
    from rerank_cli.report import Report
    from rerank_cli.writers.output import check_output

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"], color=options["color"])
    parse_expectations(options["expect"] or ())  # a wrong one is told before anything is scored or billed
    check_output(options["output"])
    report = Report()
    try:
        ranking = rank_documents(options, given, terminal, report)
        if options["keep_order"] and (blank := report.counts["blank_lines"]):
            report.note(f"blank lines are left out ({blank}): the output does not stand line by line beside the input")
    finally:
        tell(report, terminal)
    return judge(ranking, options, terminal) if ranking else 0


def rank_documents(
    options: dict[str, Any], given: frozenset[str], terminal: Terminal, report: Report
) -> Ranking | None:
    """The ranking of what the options name, written where they say; None for a dry run."""
    from rerank_cli import pipeline
    from rerank_cli.cli import translate
    from rerank_cli.cli.query import find_query, query_option
    from rerank_cli.cli.usage_errors import check_files
    from rerank_cli.evaluation.before import RelevanceDelta
    from rerank_cli.readers import open_documents
    from rerank_cli.scorers.registry import open_scorer
    from rerank_cli.writers import write_ranking

    check_files(options["files"] or (), options["query"])
    told = query_option(options, terminal)
    inputs = translate.inputs_of(options)
    stream = open_documents(inputs, terminal, report, stdin_taken=str(options["query_file"]) == "-")
    query = find_query(told, stream.body)
    settings = translate.rank_settings_of(options, stream.body, given)
    output = translate.output_of(options, stream.body, given)
    if stream.body.model and "model" not in given:
        report.note(f"the request's model `{stream.body.model}` is ignored: `-m` chooses the model")
    model = translate.model_of(options, stream.body)
    if options["dry_run"]:
        from rerank_cli.cli.dry_run import dry_run

        dry_run(query, stream, model, settings.limits, output, terminal)
        return None
    change = RelevanceDelta(options["qrels"], settings, terminal)
    scorer = open_scorer(model, terminal.env, report, translate.cache_of(options))
    try:
        terminal.detail(describe(scorer.info))
        with terminal.progress("ranking") as advance:
            watched = change.observer(output.query_id)
            ranking = pipeline.rank(query, watched.chunks(stream.chunks), scorer, settings, report, advance)
    finally:
        scorer.close()
    write_ranking(ranking, output, terminal, report)
    change.add(output.query_id, watched, ranking.hits)
    change.print_report()
    return ranking


def describe(info: Any) -> str:
    """The line of -v about the model."""
    revision = f"@{info.revision}" if info.revision else ""
    why = f" ({info.reason})" if info.reason else ""
    return f"model {info.model}{revision}, backend {info.backend}, dtype {info.dtype}{why}"


def tell_words(report: Report, terminal: Terminal) -> None:
    """Warnings and notes."""
    for warning in report.warnings():
        terminal.warn(warning)
    for note in report.notes:
        terminal.note(note)


def tell(report: Report, terminal: Terminal) -> None:
    """Warnings and notes after the results, counts with -v."""
    tell_words(report, terminal)
    counts = report.counts
    if counts["windowed"]:
        long = "1 long document was" if counts["windowed"] == 1 else f"{counts['windowed']} long documents were"
        terminal.note(f"{long} read in windows; the best window counts")
    if "cache_hits" in counts or "cache_misses" in counts:
        terminal.detail(f"score cache: {counts['cache_hits']} pairs known, {counts['cache_misses']} scored")
    terminal.detail(f"{counts['documents']} documents, {counts['tokens']} tokens scored")
