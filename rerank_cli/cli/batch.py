"""`rerank batch`: many queries in one run, streaming, in order, able to go on after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import batch_options as b
from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import collect
from rerank_cli.settings import DEFAULT_MAX_TOKENS, RemoteSettings

if TYPE_CHECKING:
    from rerank_cli.batch.plan import BatchPlan
    from rerank_cli.terminal import Terminal

REMOTE = RemoteSettings()


def batch(
    ctx: typer.Context,
    files: b.Requests = None,
    queries: b.Queries = None,
    query_format: b.QueryFormat = "auto",
    documents: b.AllDocuments = None,
    run: b.RunFile = None,
    corpus: b.CorpusFile = None,
    depth: b.Depth = None,
    input_format: o.InputFormat = "auto",
    rank_fields: o.RankFields = None,
    field_format: o.FieldFormat = "yaml",
    text_field: o.TextField = None,
    id_field: o.IdField = None,
    top_n: o.TopN = None,
    min_score: o.MinScore = None,
    qrels: o.Judged = None,
    dedupe: o.Dedupe = False,
    prior_field: o.PriorField = None,
    fusion: o.FusionHow = None,
    weight: o.Weight = None,
    raw_scores: o.RawScores = False,
    batch_format: b.BatchFormat = "responses",
    output: o.Output = None,
    out_dir: b.OutDir = None,
    errors: b.Errors = None,
    summary: b.Summary = None,
    return_documents: b.ResponseDocuments = True,
    result_key: o.ResultKey = None,
    explain: o.Explain = False,
    run_tag: o.RunTag = "rerank",
    strict: b.Strict = False,
    resume: b.Resume = False,
    shard: b.ShardOf = None,
    engine: b.Engine = "local",
    ray_address: b.RayAddress = None,
    workers: b.Workers = None,
    gpus_per_worker: b.GpusPerWorker = None,
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
    """Rank many queries: requests, queries × documents, or a TREC run.

    examples:
      rerank batch requests.jsonl -o responses.jsonl
      rerank batch requests.jsonl -o responses.jsonl --resume
      rerank batch --queries q.tsv --documents docs.jsonl -f rows
      rerank batch --run bm25.trec --queries q.tsv --corpus c.jsonl -f trec -n 100
      rerank batch day1.jsonl.gz day2.jsonl.gz --out-dir ranked --cache
    """
    from rerank_cli.cli.rank import explicit

    return start(collect(ctx, locals()), explicit(ctx), ctx.obj)


def start(options: dict[str, Any], given: frozenset[str], terminal: Terminal) -> int:
    """Open the scorer once, rank every input, and report the result; returns the exit code."""
    from rerank_cli.batch.inputs import check_inputs
    from rerank_cli.batch.local import run_local
    from rerank_cli.batch.summary import Tally, conclude, raise_if_rows_failed
    from rerank_cli.cli import translate
    from rerank_cli.cli.batch_plan import plan_of
    from rerank_cli.cli.main import configure
    from rerank_cli.cli.rank import describe, tell
    from rerank_cli.report import Report
    from rerank_cli.scorers.registry import open_scorer
    from rerank_cli.writers.output import ClosedPipe, check_output

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    report, tally, summary = Report(), Tally(), options["summary"]
    plan = plan_of(options, given)
    check_output(summary)
    if options["engine"] == "ray":
        return start_ray(options, plan, terminal)
    check_inputs(plan, terminal)
    scorer = open_scorer(translate.model_of(options), terminal.env, report, translate.cache_of(options))
    complete = left = False
    try:
        terminal.detail(describe(scorer.info))
        run_local(plan, scorer, terminal, report, tally)
        complete = True
    except ClosedPipe:
        left = True  # the reader has seen enough
        raise
    finally:
        scorer.close()
        tell(report, terminal)
        if complete or (tally.counts and not left):
            conclude(tally, scorer.info, terminal, summary, complete=complete)
    raise_if_rows_failed(tally)
    return 0


def start_ray(options: dict[str, Any], plan: BatchPlan, terminal: Terminal) -> int:
    """The same over Ray; returns the exit code."""
    from rerank_cli.batch.local import make_folder
    from rerank_cli.batch.parts import delete_markers
    from rerank_cli.batch.summary import Tally, conclude, raise_if_rows_failed
    from rerank_cli.cli import batch_ray, translate
    from rerank_cli.distributed import Cluster

    parts = batch_ray.parts_of(plan, options["files"] or ())
    make_folder(plan.out_dir)
    model, cache = translate.model_of(options), translate.cache_of(options)
    info = batch_ray.scorer_info(model, terminal)
    task = batch_ray.make_task(plan, parts, model, cache, info)
    cluster = Cluster(options["ray_address"], options["workers"], options["gpus_per_worker"] or 0.0)
    tally, complete = Tally(), False
    try:
        batch_ray.run_parts(task, cluster, terminal, tally, resume=plan.resume)
        complete = True
    finally:
        if complete or tally.counts:
            conclude(tally, info, terminal, options["summary"], complete=complete)
    delete_markers(task.config, parts)
    raise_if_rows_failed(tally)
    return 0
