"""`rerank batch`: many queries in one run, streaming, in order, resumable after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.cli.batch_options import BatchFiles, BatchOutputs, BatchRun
from rerank_cli.cli.command import Command
from rerank_cli.cli.rank import Expectations
from rerank_cli.report import Report
from rerank_cli.settings import CacheSettings, InputSettings, ModelSettings, RankSettings

if TYPE_CHECKING:
    from rerank_cli.batch.plan import BatchPlan
    from rerank_cli.cli.sources import Call
    from rerank_cli.scorers.base import Scorer


def batch(call: Call) -> int:
    """Rank many queries: requests, queries × documents, or a TREC run.

    examples:
      rerank batch requests.jsonl -o responses.jsonl
      rerank batch requests.jsonl -o responses.jsonl --resume
      rerank batch --queries q.tsv --documents docs.jsonl -f rows
      rerank batch --run bm25.trec --queries q.tsv --corpus c.jsonl -f trec -n 100
      rerank batch day1.jsonl.gz day2.jsonl.gz --out-dir ranked --cache
    """
    from rerank_cli.batch.inputs import check_inputs
    from rerank_cli.cli import batch_outputs, rules
    from rerank_cli.cli.batch_plan import plan_of
    from rerank_cli.scorers.registry import open_scorer

    plan, terminal, summary = plan_of(call), call.terminal, call.settings(BatchOutputs).summary
    batch_outputs.require_writable(plan, summary, terminal)
    if call.settings(BatchRun).engine == "ray":
        return start_ray(call, plan)
    check_inputs(plan, terminal)
    batch_outputs.make_folder(plan.out_dir)
    report = Report()
    run_plan(plan, open_scorer(rules.model_of(call), terminal.env, report, rules.cache_of(call)), call, report)
    return 0


def run_plan(plan: BatchPlan, scorer: Scorer, call: Call, report: Report) -> None:
    """Rank everything and report it, also what is done when something ends the run. Raises RowsFailed."""
    from rerank_cli.batch.local import run_local
    from rerank_cli.batch.summary import Tally, conclude, raise_if_rows_failed
    from rerank_cli.cli.rank import describe, print_report
    from rerank_cli.writers.output import ClosedPipe

    terminal, tally, summary = call.terminal, Tally(), call.settings(BatchOutputs).summary
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
        print_report(report, terminal)
        if complete or (tally.counts and not left):
            conclude(tally, scorer.info, terminal, summary, complete=complete)
    raise_if_rows_failed(tally)


COMMAND = Command(
    batch,
    (BatchFiles, InputSettings, RankSettings, Expectations, BatchOutputs, BatchRun, ModelSettings, CacheSettings),
    without=frozenset({"null", "keep_order", "fail_if_empty", "expect", "dry_run", "prefilter"}),
    changed={"files": {"help": "Requests, one JSON object per line; `-` is stdin, the default."}},
)


def start_ray(call: Call, plan: BatchPlan) -> int:
    """The same over Ray; returns the exit code."""
    from rerank_cli.batch.parts import delete_markers
    from rerank_cli.batch.summary import Tally, conclude, raise_if_rows_failed
    from rerank_cli.cli import batch_outputs, batch_ray, rules
    from rerank_cli.distributed import Cluster
    from rerank_cli.errors import UsageError

    if plan.inputs.collection.decoding.encoding:
        raise UsageError("--engine ray reads UTF-8 only", "convert the files first, as with iconv")
    parts = batch_ray.parts_of(plan, call.settings(InputSettings).files)
    batch_outputs.make_folder(plan.out_dir)
    model, cache, run = rules.model_of(call), rules.cache_of(call), call.settings(BatchRun)
    info = batch_ray.scorer_info(model, call.terminal)
    task = batch_ray.make_task(plan, parts, model, cache, info)
    cluster = Cluster(run.ray_address, run.workers, run.gpus_per_worker or 0.0)
    tally, complete = Tally(), False
    try:
        batch_ray.run_parts(task, cluster, call.terminal, tally, resume=plan.resume)
        complete = True
    finally:
        if complete or tally.counts:
            conclude(tally, info, call.terminal, call.settings(BatchOutputs).summary, complete=complete)
    delete_markers(task.config, parts)
    raise_if_rows_failed(tally)
    return 0
