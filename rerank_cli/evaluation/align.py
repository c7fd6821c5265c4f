"""Give a run the names of the judgements: queries without an id, documents named by input position.

It reports runs that cannot match at all: without that, different ids would show as a mean of 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.readers.trec import ANONYMOUS

if TYPE_CHECKING:
    from rerank_cli.evaluation.trec_eval import Scores
    from rerank_cli.readers.qrels import Qrels
    from rerank_cli.readers.trec import Run
    from rerank_cli.report import Report


def aligned(run: Run, qrels: Qrels, report: Report) -> Scores:
    """The run's scores under the names of the judgements.

    Raises InputError if no query of a run that has some is judged; warns if no retrieved document is.
    """
    scores: Scores = {}
    for query, documents in run.scores.items():
        named = _query(query, run, qrels)
        names, unnamed = qrels.names.get(named, ()), run.by_index.get(query, frozenset())
        scores[named] = {_document(name, names, unnamed): score for name, score in documents.items()}
    _check(scores, run, qrels, report)
    return scores


def _query(query: str, run: Run, qrels: Qrels) -> str:
    """A query's id; the only one that is judged stands for a ranking that names none."""
    if query != ANONYMOUS or ANONYMOUS in qrels.judgements:
        return query
    if len(qrels.judgements) == 1:
        return next(iter(qrels.judgements))
    hint = "write the run with `rerank batch`, or with `rerank rank -f trec --query-id ID`"
    raise InputError(f"{run.name} does not name a query, and {qrels.name} judges {len(qrels.judgements)}", hint)


def _document(name: str, names: tuple[str, ...], unnamed: frozenset[str]) -> str:
    return names[int(name)] if name in unnamed and int(name) < len(names) else name


def _check(scores: Scores, run: Run, qrels: Qrels, report: Report) -> None:
    judged = qrels.judgements
    retrieved = [query for query, documents in scores.items() if documents]
    common = [query for query in retrieved if query in judged]
    if not retrieved:
        report.warn(f"{run.name} ranks nothing: every judged query counts 0")
    if retrieved and not common:
        message = f"no query of {run.name} is judged in {qrels.name} (`{retrieved[0]}` against `{next(iter(judged))}`)"
        raise InputError(message, "do both use the same query ids?")
    if common and not any(document in judged[query] for query in common for document in scores[query]):
        document, other = next(iter(scores[common[0]])), next(iter(judged[common[0]]), "")
        report.warn(
            f"no document of {run.name} is judged (`{document}` against `{other}`): do both use the same document ids?"
        )
    if len(retrieved) > len(common):
        report.note(f"{run.name}: {len(retrieved) - len(common)} queries are not judged and left out")
    if len(judged) > len(common):
        report.note(f"{run.name}: {len(judged) - len(common)} of {len(judged)} judged queries are missing and count 0")
