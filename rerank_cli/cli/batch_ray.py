"""`batch --engine ray`: options to parts and a recipe, what workers tell to the terminal, one closing line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli import translate
from rerank_cli.errors import UsageError
from rerank_cli.text import visible

if TYPE_CHECKING:
    from rerank_cli.batch.parts import Part, RankingJobConfig
    from rerank_cli.cli.batch_plan import Plan
    from rerank_cli.cli.batch_run import Tally
    from rerank_cli.records import RequestOptions
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.settings import RankSettings
    from rerank_cli.terminal import Terminal

# What decides a ranking, out of all the options: this travels to the workers.
RANKING = (
    "fusion", "prior_field", "weight", "raw_scores", "top_n", "min_score", "dedupe", "keep_order",
    "max_tokens_per_doc", "max_chunks_per_doc", "long_documents",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SettingsOf:
    """`RankSettings` of a request's body under the options; unlike a closure it can be sent."""

    options: dict[str, Any]
    given: frozenset[str]

    def __call__(self, body: RequestOptions) -> RankSettings:
        """Flags, then what the request says, then defaults."""
        return translate.rank_settings_of(self.options, body, self.given)


def start_ray(plan: Plan, given: frozenset[str], terminal: Terminal) -> int:
    """Cut the input into parts, have them ranked, and say how it went; returns the exit code."""
    from rerank_cli.batch.parts import done_marker
    from rerank_cli.cli.batch_run import Tally, conclude, judge, make_folder

    parts = parts_of(plan)
    make_folder(plan.options["out_dir"])
    model = translate.model_of(plan.options)
    info = facts_of(model, terminal)
    recipe = recipe_of(plan, given, info)
    tally, complete = Tally(), False
    try:
        work(plan, parts, recipe, terminal, tally)
        complete = True
    finally:
        if complete or tally.counts:
            conclude(plan, tally, info, terminal, complete=complete)
    for part in parts:
        done_marker(Path(recipe.folder, part.output)).unlink(missing_ok=True)
    judge(tally)
    return 0


def parts_of(plan: Plan) -> list[Part]:
    """The parts of all inputs. Raises UsageError for what only the local engine does."""
    from rerank_cli.batch.parts import cut, files_of
    from rerank_cli.cli.batch_plan import SUFFIXES, require_distinct, stem_of

    options = plan.options
    if not options["out_dir"]:
        raise UsageError("--engine ray writes many files", "give `--out-dir DIR`")
    if not options["files"] or "-" in options["files"]:
        raise UsageError("--engine ray takes request files or folders, jsonl or parquet", "stdin cannot be cut")
    for key in ("shard", "qrels"):
        if options[key]:
            raise UsageError(f"--{key} belongs to the local engine")
    suffix = SUFFIXES[options["batch_format"]]
    files = files_of(options["files"])
    require_distinct([(name, stem_of(name) + suffix) for name in files])
    return cut([(name, stem_of(name), suffix) for name in files])


def facts_of(model: Any, terminal: Terminal) -> ScorerInfo:
    """What scores, known without opening it here; a model that is missing is told before any worker starts."""
    from rerank_cli.report import Report
    from rerank_cli.scorers.registry import is_remote, open_scorer

    if not is_remote(model):
        from rerank_cli.scorers.open_local import identify

        return identify(model)
    scorer = open_scorer(model, terminal.env, Report())  # opening sends nothing
    scorer.close()
    return scorer.info


def recipe_of(plan: Plan, given: frozenset[str], info: ScorerInfo) -> RankingJobConfig:
    """How the parts are ranked."""
    from rerank_cli.batch.parts import RankingJobConfig

    chosen = {key: plan.options.get(key) for key in RANKING} | {"keep_order": False}
    output = replace(plan.output, output=None)
    decides = [plan.options["batch_format"], repr(plan.fields), repr(output), chosen, sorted(given & set(RANKING))]
    return RankingJobConfig(
        folder=str(plan.options["out_dir"].resolve()),
        form=plan.options["batch_format"],
        fields=plan.fields,
        settings_of=SettingsOf(chosen, given & set(RANKING)),
        output=output,
        errors=plan.options["errors"] is not None,
        strict=plan.options["strict"],
        identity=json.dumps([decides, info.digest]),
    )


def work(plan: Plan, parts: list[Part], recipe: RankingJobConfig, terminal: Terminal, tally: Tally) -> None:
    """All parts that are not done yet; what is told of each goes to the terminal as it comes."""
    from rerank_cli.batch.parts import done_before, done_marker, drop_numbered
    from rerank_cli.distributed import Cluster, Task, rank_parts

    options, left = plan.options, []
    if not options["resume"] and (dropped := drop_numbered(Path(recipe.folder), parts)):
        terminal.note(f"{dropped:,} results of another cut of these files are removed")
    for part in parts:
        done = done_before(part, recipe) if options["resume"] else None
        if done is None:
            done_marker(Path(recipe.folder, part.output)).unlink(missing_ok=True)
            left.append(part)
        else:
            tally.counts.update(done.counts)
    if len(left) < len(parts):
        terminal.note(f"{len(parts) - len(left):,} of {len(parts):,} parts are there already")
    if not left:
        return
    cluster = Cluster(options["ray_address"], options["workers"], options["gpus_per_worker"] or 0.0)
    task = Task(left, recipe, translate.model_of(options), translate.cache_of(options))
    warned: set[str] = set()
    with terminal.progress("parts", len(left)) as advance:
        for record in rank_parts(task, cluster):
            advance(1)
            tally.counts.update(record["counts"])
            tally.fresh.update(record["counts"])
            tell(record, warned, terminal)


def tell(record: dict[str, Any], warned: set[str], terminal: Terminal) -> None:
    """Bad rows of a part, and each warning once."""
    for line in record["told"]:
        terminal.say(visible(line))
    hidden = record["counts"].get("failed", 0) - len(record["told"])
    if hidden > 0:
        terminal.say(f"… and {hidden:,} more rows failed there")
    for warning in record["warnings"]:
        if warning not in warned:
            warned.add(warning)
            terminal.warn(warning)
