"""Several runs against one set of judgements: means with intervals, and each run against a baseline.

It computes and returns records; other modules read input and render reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.evaluation.significance import RESAMPLES, SEED, bootstrap_interval, randomisation_p
from rerank_cli.evaluation.trec_eval import Judgements, Scores, Values, evaluate, mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.evaluation.measures import Measure

EQUAL = 1e-9  # differences below this are ties: pytrec_eval's rounding


class Sampling(NamedTuple):
    """How chance is simulated. `resamples` 0: no tests and no intervals."""

    resamples: int = RESAMPLES
    seed: int = SEED
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over all judged queries and its bootstrap interval."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run: value of each measure for each judged query, and the means."""

    name: str
    values: Values
    means: dict[Measure, Estimate]
    queries: int  # judged queries that the run has


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against the baseline by one measure, over the same queries."""

    run: str
    baseline: str
    measure: Measure
    deltas: dict[str, float]
    delta: Estimate
    p: float | None
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything a report shows. The baseline, if any, is the first run."""

    qrels: str
    measures: tuple[Measure, ...]
    runs: tuple[RunResult, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def queries(self) -> int:
        """Judged queries: what every mean is over."""
        return len(next(iter(self.runs[0].values.values()))) if self.runs else 0


class Worst(NamedTuple):
    """A query with a low score; `delta` against the baseline if there is one."""

    run: str
    query: str
    value: float
    delta: float | None


def summarise(
    qrels: tuple[str, Judgements],
    runs: Sequence[tuple[str, Scores]],
    measures: Sequence[Measure],
    sampling: Sampling,
    *,
    compare: bool = True,
) -> Evaluation:
    """Evaluate named runs; with `compare` every other one against the first, by every measure.

    Raises ModelError if pytrec_eval is missing.
    """
    name, judgements = qrels
    results = tuple(_result(run, judgements, scores, measures, sampling) for run, scores in runs)
    comparisons = tuple(
        _compare(results[0], result, measure, sampling)
        for result in (results[1:] if compare else ())
        for measure in measures
    )
    return Evaluation(name, tuple(measures), results, comparisons)


def _result(
    name: str, judgements: Judgements, scores: Scores, measures: Sequence[Measure], sampling: Sampling
) -> RunResult:
    values = evaluate(judgements, scores, measures)
    means = {measure: estimate(values[measure], sampling) for measure in measures}
    return RunResult(name, values, means, sum(bool(scores.get(query)) for query in judgements))


def estimate(values: Mapping[str, float], sampling: Sampling) -> Estimate:
    """The mean of one number per query, with its interval."""
    if not sampling.resamples or not values:
        return Estimate(mean(values))
    low, high = bootstrap_interval(list(values.values()), sampling.level, sampling.resamples, sampling.seed)
    return Estimate(mean(values), low, high)


def _compare(baseline: RunResult, run: RunResult, measure: Measure, sampling: Sampling) -> Comparison:
    before, after = baseline.values[measure], run.values[measure]
    deltas = {query: after[query] - before[query] for query in before}
    p = randomisation_p(list(deltas.values()), sampling.resamples, sampling.seed) if sampling.resamples else None
    wins = sum(delta > EQUAL for delta in deltas.values())
    losses = sum(delta < -EQUAL for delta in deltas.values())
    return Comparison(
        run=run.name,
        baseline=baseline.name,
        measure=measure,
        deltas=deltas,
        delta=estimate(deltas, sampling),
        p=p,
        wins=wins,
        losses=losses,
        ties=len(deltas) - wins - losses,
    )


def worst(evaluation: Evaluation, count: int) -> list[Worst]:
    """The `count` worst queries of each run by the first measure: most lost against the baseline, or the lowest."""
    measure = evaluation.measures[0]
    against = {one.run: one.deltas for one in evaluation.comparisons if one.measure == measure}
    listed: list[Worst] = []
    for run in evaluation.runs[1:] if against else evaluation.runs:
        deltas = against.get(run.name, {})
        rows = [Worst(run.name, query, value, deltas.get(query)) for query, value in run.values[measure].items()]
        rows = [row for row in rows if row.delta is None or row.delta < -EQUAL]
        rows.sort(key=lambda row: (row.delta or 0.0, row.value))
        listed += rows[:count]
    return listed


def before_after(judgements: Judgements, before: Scores, after: Scores, measures: Sequence[Measure]) -> list[str]:
    """Lines such as `nDCG@10 0.412 → 0.587 (+0.175)` for `rank` and `batch`, when their input carries labels."""
    old, new = evaluate(judgements, before, measures), evaluate(judgements, after, measures)
    lines = []
    for measure in measures:
        first, second = mean(old[measure]), mean(new[measure])
        lines.append(f"{measure} {first:.4f} → {second:.4f} ({second - first:+.4f})")
    return lines
