"""Values of measures per query, by pytrec_eval: the only module that imports it.

Runs and judgements are plain mappings; files are not known here. Ties follow trec_eval: scores
are float32, equal ones are ordered by document id, descending. Queries that a run lacks count 0.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from rerank_cli.errors import ModelError
from rerank_cli.ranking import trec_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.evaluation.measures import Measure

T = TypeVar("T")
Judgements = dict[str, dict[str, int]]  # query -> document -> relevance
Scores = dict[str, dict[str, float]]  # query -> document -> score
Values = dict["Measure", dict[str, float]]  # measure -> query -> value, every judged query


def evaluate(judgements: Judgements, scores: Scores, measures: Sequence[Measure]) -> Values:
    """The value of each measure for each judged query; 0 where the run lacks it.

    Raises ModelError if pytrec_eval is not installed.
    """
    values: Values = {}
    for rel in sorted({measure.rel for measure in measures}):
        group = [measure for measure in measures if measure.rel == rel]
        raw = _pytrec_values(judgements, scores, group, rel)
        for measure in group:
            values[measure] = {query: _value(measure, raw.get(query, {})) for query in judgements}
    for measure in measures:
        if measure.name == "Judged":
            values[measure] = {
                query: _judged(judged, scores.get(query, {}), measure.cutoff) for query, judged in judgements.items()
            }
    return {measure: values[measure] for measure in measures}


def _pytrec_values(
    judgements: Judgements, scores: Scores, measures: Sequence[Measure], rel: int
) -> dict[str, dict[str, float]]:
    names = {_pytrec_name(measure) for measure in measures if measure.name != "Judged"}
    # Without a relevant document every measure is 0, and pytrec_eval 0.5 never returns where all grades are negative.
    judged = {query: documents for query, documents in judgements.items() if max(documents.values(), default=0) > 0}
    asked = {query: documents for query, documents in scores.items() if documents and query in judged}
    if not names or not asked:
        return {}
    known = {query: query for query in asked}
    if _has_nul(judged) or _has_nul(asked):
        judged, asked, known = _without_nul(judged), _without_nul(asked), {_spelt(query): query for query in asked}
    evaluator = _pytrec_eval().RelevanceEvaluator(judged, names, relevance_level=rel)
    result: dict[str, dict[str, float]] = evaluator.evaluate(asked)
    return {known[query]: values for query, values in result.items()}


def _has_nul(queries: Mapping[str, Mapping[str, T]]) -> bool:
    return any("\0" in text for query, documents in queries.items() for text in (query, *documents))


def _without_nul(queries: Mapping[str, Mapping[str, T]]) -> dict[str, dict[str, T]]:
    """The same under ids that C can read: two that differ after a NUL only would end the process with an assertion."""
    return {_spelt(query): {_spelt(id_): of for id_, of in documents.items()} for query, documents in queries.items()}


def _spelt(text: str) -> str:
    """An id without NUL that is ordered among others as before, because ties are broken by ids."""
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


def _pytrec_eval() -> Any:
    try:
        import pytrec_eval
    except ImportError as error:
        hint = "pip install 'rerank-cli[eval]'"
        raise ModelError("evaluation needs pytrec_eval, which is not installed", hint) from error
    return pytrec_eval


def _pytrec_name(measure: Measure) -> str:
    spec = measure.spec
    return f"{spec.cut}.{measure.cutoff}" if measure.cutoff and spec.cut else spec.whole


def _value(measure: Measure, raw: Mapping[str, float]) -> float:
    value = raw.get(_pytrec_name(measure).replace(".", "_"), 0.0)
    if measure.name == "RR" and measure.cutoff and value:
        # Derived, so that RR@k and RR never disagree on ties (in ir_measures they come from two libraries and do).
        return value if round(1 / value) <= measure.cutoff else 0.0
    return value


def _judged(judged: Mapping[str, int], scores: Mapping[str, float], cutoff: int | None) -> float:
    """Share of judged documents among the first k, or among all retrieved if fewer (as ir_measures counts)."""
    top = trec_order(scores)[:cutoff]
    return sum(document in judged for document in top) / len(top) if top else 0.0


def mean(values: Mapping[str, float]) -> float:
    """The arithmetic mean over queries, 0 if there are none."""
    return sum(values.values()) / len(values) if values else 0.0


def by_measure(values: Values) -> dict[str, dict[str, float]]:
    """Values by query: query -> measure name -> value, as reports list them."""
    by_query: dict[str, dict[str, float]] = defaultdict(dict)
    for measure, queries in values.items():
        for query, value in queries.items():
            by_query[query][str(measure)] = value
    return dict(by_query)
