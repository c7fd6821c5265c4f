"""`batch --engine ray`: files to parts, parts to workers, and the workers' messages to stderr."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.batch.plan import Shard
from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.batch.parts import Part
    from rerank_cli.batch.plan import BatchPlan
    from rerank_cli.batch.summary import Tally
    from rerank_cli.distributed import Cluster, Task
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.settings import CacheSettings, ModelSettings
    from rerank_cli.terminal import Terminal


def make_task(
    plan: BatchPlan, parts: list[Part], model: ModelSettings, cache: CacheSettings | None, info: ScorerInfo
) -> Task:
    """What every worker needs."""
    import json

    from rerank_cli.batch.parts import RankingJobConfig
    from rerank_cli.distributed import Task

    config = RankingJobConfig(
        folder=str((plan.out_dir or Path()).resolve()),
        settings=plan.settings,
        errors=plan.errors is not None,
        identity=json.dumps([plan.identity, info.digest]),
    )
    return Task(parts, config, model, cache)


def parts_of(plan: BatchPlan, files: Sequence[str]) -> list[Part]:
    """The parts of all request files. Raises UsageError for what only the local engine supports."""
    from rerank_cli.batch.parts import cut, files_of
    from rerank_cli.cli.batch_outputs import SUFFIXES, require_distinct, stem_of

    if not plan.out_dir:
        raise UsageError("--engine ray writes many files", "give `--out-dir DIR`")
    if not files or "-" in files:
        raise UsageError("--engine ray takes request files or folders, jsonl or parquet", "stdin cannot be cut")
    for name, used in (("shard", plan.shard != Shard()), ("qrels", plan.qrels)):
        if used:
            raise UsageError(f"--{name} belongs to the local engine", "leave it out, or leave out `--engine ray`")
    suffix = SUFFIXES[plan.settings.format]
    named = [(name, stem_of(name), suffix) for name in files_of(files)]
    require_distinct([(name, stem + suffix) for name, stem, _ in named])
    return cut(named)


def scorer_info(model: ModelSettings, terminal: Terminal) -> ScorerInfo:
    """What scores, without opening it here; a model that is missing is reported before any worker starts."""
    from rerank_cli.report import Report
    from rerank_cli.scorers.registry import is_remote, open_scorer

    if not is_remote(model) and not model.fallback:
        from rerank_cli.scorers.open_local import identify

        return identify(model)
    scorer = open_scorer(model, terminal.env, Report())  # opening sends nothing
    scorer.close()
    return scorer.info


def run_parts(task: Task, cluster: Cluster, terminal: Terminal, tally: Tally, *, resume: bool) -> None:
    """Rank all parts that are not done yet."""
    from rerank_cli.batch.parts import done_before, done_marker, drop_numbered
    from rerank_cli.distributed import rank_parts

    parts, config, left = task.parts, task.config, []
    if not resume and (dropped := drop_numbered(Path(config.folder), parts)):
        terminal.note(f"{dropped:,} results of another cut of these files are removed")
    for part in parts:
        done = done_before(part, config) if resume else None
        if done is None:
            done_marker(Path(config.folder, part.output)).unlink(missing_ok=True)
            left.append(part)
        else:
            tally.counts.update(done.counts)
    if len(left) < len(parts):
        terminal.note(f"{len(parts) - len(left):,} of {len(parts):,} parts are there already")
    if not left:
        return
    warned: set[str] = set()
    with terminal.progress("parts", len(left)) as advance:
        for record in rank_parts(task._replace(parts=left), cluster):
            advance(1)
            tally.add(record["counts"])
            report_part(record, warned, terminal)


def report_part(record: dict[str, Any], warned: set[str], terminal: Terminal) -> None:
    """Print the bad rows of a part, and each warning once."""
    for line in record["failures"]:
        terminal.say(line)
    hidden = record["counts"].get("failed", 0) - len(record["failures"])
    if hidden > 0:
        terminal.say(f"… and {hidden:,} more rows failed there")
    for warning in record["warnings"]:
        if warning not in warned:
            warned.add(warning)
            terminal.warn(warning)
