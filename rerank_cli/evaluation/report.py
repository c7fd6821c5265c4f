"""An evaluation as sections for people and as records for programs.

The keys of the records are a contract: additions only. Nothing is computed here but differences between what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.evaluation.engine import by_measure
from rerank_cli.evaluation.summary import worst
from rerank_cli.writers.sections import Section, csv_rows, json_text, markdown, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.evaluation.assertions import Verdict
    from rerank_cli.evaluation.summary import Comparison, Estimate, Evaluation

SCHEMA_VERSION = 1


class Extras(NamedTuple):
    """What a report shows beside the means: assertions, values by query, the worst queries with their texts."""

    verdicts: Sequence[Verdict] = ()
    by_query: bool = False
    worst: int = 0
    texts: Mapping[str, str] = {}


def render(evaluation: Evaluation, extras: Extras, form: str) -> str:
    """The report in one of `table`, `markdown`, `csv`, `json`."""
    if form == "json":
        return json_text(as_json(evaluation, extras))
    if form == "csv":
        return csv_rows(_query_records(evaluation) if extras.by_query else _mean_records(evaluation))
    return (markdown if form == "markdown" else text)(sections(evaluation, extras))


def sections(evaluation: Evaluation, extras: Extras) -> list[Section]:
    """Means, comparisons, values by query, worst queries, assertions: those that there are."""
    found = [_means(evaluation), *_comparisons(evaluation)]
    if extras.by_query:
        found.append(_by_query(evaluation))
    if extras.worst:
        found.append(_worst(evaluation, extras))
    if extras.verdicts:
        rows = [("passed" if verdict.passed else "FAILED", str(verdict)) for verdict in extras.verdicts]
        found.append(Section("assertions", ("result", "assertion"), rows, 2))
    return found


def _means(evaluation: Evaluation) -> Section:
    headers = ("run", "queries", *map(str, evaluation.measures))
    rows = [
        (run.name, f"{run.queries}/{evaluation.queries}", *(number(found.mean) for found in run.means.values()))
        for run in evaluation.runs
    ]
    return Section("", headers, rows)


def _comparisons(evaluation: Evaluation) -> list[Section]:
    headers = ("measure", "delta", "95 % interval", "p", "wins", "losses", "ties")
    tables: dict[tuple[str, str], list[Sequence[str]]] = {}
    for found in evaluation.comparisons:
        row = (str(found.measure), number(found.delta.mean, sign=True), _interval(found.delta), number(found.p))
        counts = (str(found.wins), str(found.losses), str(found.ties))
        tables.setdefault((found.run, found.baseline), []).append((*row, *counts))
    return [Section(f"{run} against {baseline}", headers, rows) for (run, baseline), rows in tables.items()]


def _interval(estimate: Estimate) -> str:
    if estimate.low is None:
        return "–"
    return f"{number(estimate.low, sign=True)} … {number(estimate.high, sign=True)}"


def _by_query(evaluation: Evaluation) -> Section:
    rows: list[Sequence[str]] = []
    for run in evaluation.runs:
        for query, values in by_measure(run.values).items():
            rows.append((run.name, query, *(number(value) for value in values.values())))
    return Section("by query", ("run", "query", *map(str, evaluation.measures)), rows, 2)


def _worst(evaluation: Evaluation, extras: Extras) -> Section:
    measure = str(evaluation.measures[0])
    against = bool(evaluation.comparisons)
    rows: list[Sequence[str]] = []
    for found in worst(evaluation, extras.worst):
        row = (found.run, found.query, extras.texts.get(found.query, ""), number(found.value))
        rows.append((*row, number(found.delta, sign=True)) if against else row)
    headers = ("run", "query", "text", measure, *(("delta",) if against else ()))
    return Section(f"worst queries by {measure}", headers, rows, 3)


def as_json(evaluation: Evaluation, extras: Extras) -> dict[str, Any]:
    """The whole evaluation under documented keys."""
    found: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "qrels": evaluation.qrels,
        "queries": evaluation.queries,
        "measures": [str(measure) for measure in evaluation.measures],
        "runs": [
            {
                "run": run.name,
                "queries": run.queries,
                "means": {str(measure): _estimate(estimate) for measure, estimate in run.means.items()},
                **({"by_query": by_measure(run.values)} if extras.by_query else {}),
            }
            for run in evaluation.runs
        ],
        "comparisons": [_comparison(comparison, extras) for comparison in evaluation.comparisons],
        "assertions": [
            {"assertion": str(verdict.threshold), "run": verdict.run, "value": verdict.value, "passed": verdict.passed}
            for verdict in extras.verdicts
        ],
    }
    if extras.worst:
        found["worst"] = [
            row._asdict() | {"text": extras.texts.get(row.query)} for row in worst(evaluation, extras.worst)
        ]
    return found


def _estimate(estimate: Estimate) -> dict[str, float | None]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def _comparison(comparison: Comparison, extras: Extras) -> dict[str, Any]:
    return {
        "run": comparison.run,
        "baseline": comparison.baseline,
        "measure": str(comparison.measure),
        "delta": _estimate(comparison.delta),
        "p": comparison.p,
        "wins": comparison.wins,
        "losses": comparison.losses,
        "ties": comparison.ties,
        **({"by_query": comparison.deltas} if extras.by_query else {}),
    }


def _mean_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a run and measure."""
    against = {(found.run, found.measure): found for found in evaluation.comparisons}
    rows = []
    for run in evaluation.runs:
        for measure, estimate in run.means.items():
            found = against.get((run.name, measure))
            row: dict[str, Any] = {"run": run.name, "measure": str(measure), "queries": evaluation.queries}
            row |= _estimate(estimate) | {"baseline": found.baseline if found else None}
            row |= {
                "delta": found.delta.mean if found else None,
                "delta_low": found.delta.low if found else None,
                "delta_high": found.delta.high if found else None,
            }
            names = ("p", "wins", "losses", "ties")
            rows.append(row | {name: getattr(found, name) if found else None for name in names})
    return rows


def _query_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row a run, measure and query."""
    against = {(found.run, found.measure): found.deltas for found in evaluation.comparisons}
    return [
        {
            "run": run.name,
            "query_id": query,
            "measure": str(measure),
            "value": value,
            "delta": against.get((run.name, measure), {}).get(query),
        }
        for run in evaluation.runs
        for measure, values in run.values.items()
        for query, value in values.items()
    ]
