"""An evaluation as sections for people and as records for programs.

The keys of the records are a contract: additions only. Nothing is computed here but differences between what is shown.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.evaluation.summary import worst
from rerank_cli.evaluation.trec_eval import by_measure
from rerank_cli.writers.sections import Section, csv_rows, json_text, markdown, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.evaluation.assertions import Verdict
    from rerank_cli.evaluation.summary import Comparison, Estimate, Evaluation

SCHEMA_VERSION = 1


class Extras(NamedTuple):
    """What a report shows besides the means: assertions, values by query, the worst queries with their texts."""

    verdicts: Sequence[Verdict] = ()
    by_query: bool = False
    worst: int = 0
    texts: Mapping[str, str] = {}


def render(evaluation: Evaluation, extras: Extras, report_format: str) -> str:
    """The report in one of `table`, `markdown`, `csv`, `json`."""
    if report_format == "json":
        return json_text(as_json(evaluation, extras))
    if report_format == "csv":
        return csv_rows(_query_records(evaluation) if extras.by_query else _mean_records(evaluation))
    return (markdown if report_format == "markdown" else text)(sections(evaluation, extras))


def sections(evaluation: Evaluation, extras: Extras) -> list[Section]:
    """Means, comparisons, values by query, worst queries and assertions, as far as there are any."""
    shown = [_means(evaluation), *_comparisons(evaluation)]
    if extras.by_query:
        shown.append(_by_query(evaluation))
    if extras.worst:
        shown.append(_worst(evaluation, extras))
    if extras.verdicts:
        rows = [("passed" if verdict.passed else "FAILED", str(verdict)) for verdict in extras.verdicts]
        shown.append(Section("assertions", ("result", "assertion"), rows, 2))
    return shown


def _means(evaluation: Evaluation) -> Section:
    headers = ("run", "queries", *map(str, evaluation.measures))
    rows = [
        (run.name, f"{run.queries}/{evaluation.queries}", *(number(estimate.mean) for estimate in run.means.values()))
        for run in evaluation.runs
    ]
    return Section("", headers, rows)


def _comparisons(evaluation: Evaluation) -> list[Section]:
    headers = ("measure", "delta", "95 % interval", "p", "wins", "losses", "ties")
    tables: dict[tuple[str, str], list[Sequence[str]]] = {}
    for comparison in evaluation.comparisons:
        row = (
            str(comparison.measure),
            number(comparison.delta.mean, sign=True),
            _interval(comparison.delta),
            number(comparison.p),
        )
        counts = (str(comparison.wins), str(comparison.losses), str(comparison.ties))
        tables.setdefault((comparison.run, comparison.baseline), []).append((*row, *counts))
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
    for query in worst(evaluation, extras.worst):
        row = (query.run, query.query, extras.texts.get(query.query, ""), number(query.value))
        rows.append((*row, number(query.delta, sign=True)) if against else row)
    headers = ("run", "query", "text", measure, *(("delta",) if against else ()))
    return Section(f"worst queries by {measure}", headers, rows, 3)


def as_json(evaluation: Evaluation, extras: Extras) -> dict[str, Any]:
    """The whole evaluation under documented keys."""
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "qrels": evaluation.qrels,
        "queries": evaluation.queries,
        "measures": [str(measure) for measure in evaluation.measures],
        "runs": [
            {
                "run": run.name,
                "queries": run.queries,
                "means": {str(measure): asdict(estimate) for measure, estimate in run.means.items()},
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
        record["worst"] = [
            row._asdict() | {"text": extras.texts.get(row.query)} for row in worst(evaluation, extras.worst)
        ]
    return record


def _comparison(comparison: Comparison, extras: Extras) -> dict[str, Any]:
    record = asdict(comparison) | {"measure": str(comparison.measure)}
    deltas = record.pop("deltas")
    return record | ({"by_query": deltas} if extras.by_query else {})


def _mean_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per run and measure."""
    against = {(comparison.run, comparison.measure): comparison for comparison in evaluation.comparisons}
    rows = []
    for run in evaluation.runs:
        for measure, estimate in run.means.items():
            comparison = against.get((run.name, measure))
            row: dict[str, Any] = {"run": run.name, "measure": str(measure), "queries": evaluation.queries}
            row |= asdict(estimate) | {"baseline": comparison.baseline if comparison else None}
            row |= {
                "delta": comparison.delta.mean if comparison else None,
                "delta_low": comparison.delta.low if comparison else None,
                "delta_high": comparison.delta.high if comparison else None,
            }
            names = ("p", "wins", "losses", "ties")
            rows.append(row | {name: getattr(comparison, name) if comparison else None for name in names})
    return rows


def _query_records(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One row per run, measure and query."""
    against = {(comparison.run, comparison.measure): comparison.deltas for comparison in evaluation.comparisons}
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
