"""Runs: TREC files and what `rank` and `batch` print, as rankings to evaluate, compare or rerank.

Judgements are read by `qrels`; measures are `evaluation`'s. In a TREC file the score decides (as for trec_eval, which
ignores the rank column); in our own output the printed rank does, because it is the order that the user saw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from rerank_cli.errors import InputError
from rerank_cli.readers.columns import (
    HEADER_DOCUMENTS,
    HEADER_QUERIES,
    headed_rows,
    header_of,
    is_nested,
    json_records,
    named_cell,
    number,
)
from rerank_cli.readers.rows import Row, name_of_file, record_id, rows
from rerank_cli.settings import DECODING, Decoding
from rerank_cli.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rerank_cli.readers.columns import Header

ANONYMOUS = ""  # the query id of `rank`'s json and jsonl, which have none
QUERY_KEYS = ("query_id", "query-id", "qid")
# PyTerrier has `docid` too, a number of its own: `docno` is the id.
DOCUMENT_KEYS = ("docno", "id", "_id", "docid", "doc_id", "document_id", "corpus-id", "corpus_id")
CORPUS_KEYS = (*DOCUMENT_KEYS, "pid", "passage_id")  # of MS MARCO; elsewhere a `pid` may be a process
SCORE_KEYS = ("fused_score", "relevance_score", "score")
LABEL = "relevance"


RESULT_HINT = (
    'as in `{"query_id": "q1", "id": "d7", "relevance_score": 0.9}`; `rerank batch` and `rank -f jsonl` write such'
)


class RunRow(NamedTuple):
    """One retrieved document. A score of None is an empty document, which is below every scored one."""

    query: str
    document: str
    score: float | None
    rank: int | None = None
    by_index: bool = False  # the document has no id: its 0-based input position is used instead
    label: Any = None  # its `relevance`, unchecked: it may not be a judgement
    name: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        """`file:line` for messages."""
        return f"{self.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Run:
    """A ranking of documents for each query: the higher the score the better, ties as trec_eval breaks them."""

    name: str
    scores: dict[str, dict[str, float]]
    labels: dict[str, dict[str, tuple[Any, str]]] = field(default_factory=dict)  # inline `relevance`, and its place
    by_index: dict[str, frozenset[str]] = field(default_factory=dict)  # names that are input positions, by query


def read_run(path: str, stdin: BinaryIO | None = None, decoding: Decoding = DECODING) -> Run:
    """A whole run. Raises InputError with `file:line` for broken rows and documents repeated within a query."""
    ranked: dict[str, dict[str, tuple[float | None, int | None]]] = {}
    labels: dict[str, dict[str, tuple[Any, str]]] = {}
    by_index: dict[str, set[str]] = {}
    for row in run_rows(path, stdin, decoding):
        documents = ranked.setdefault(row.query, {})
        if row.document in documents:
            several = "are these several rankings? `rerank batch` names their queries"
            hint = several if row.query == ANONYMOUS else "remove one of the rows"
            raise InputError(f"document `{row.document}` appears twice for {named(row.query)}", hint, row.where)
        documents[row.document] = (row.score, row.rank)
        if row.label is not None:
            labels.setdefault(row.query, {})[row.document] = (row.label, row.where)
        if row.by_index:
            by_index.setdefault(row.query, set()).add(row.document)
    scores = {query: _scores(documents) for query, documents in ranked.items()}
    return Run(name_of_file(path), scores, labels, {query: frozenset(names) for query, names in by_index.items()})


def named(query: str) -> str:
    """A query for messages."""
    return "the query without an id" if query == ANONYMOUS else f"query `{query}`"


def _scores(documents: Mapping[str, tuple[float | None, int | None]]) -> dict[str, float]:
    """Scores to order by: minus the rank where every row has one, else the scores, then empty documents in order."""
    if all(rank is not None for _, rank in documents.values()):
        return {name: -float(rank or 0) for name, (_, rank) in documents.items()}
    scores = {name: score for name, (score, _) in documents.items() if score is not None}
    lowest = min(scores.values(), default=0.0)
    empty = (name for name, (score, _) in documents.items() if score is None)
    return scores | {name: below(lowest, place) for place, name in enumerate(empty, 1)}


def below(lowest: float, place: int) -> float:
    """A score for the empty document at a place (from 1): below the lowest score, also as trec_eval's float32."""
    return lowest - place * max(1.0, abs(lowest) * 1e-6)


def run_rows(path: str, stdin: BinaryIO | None = None, decoding: Decoding = DECODING) -> Iterator[RunRow]:
    """The rows of a run in file order.

    TREC's six columns, MS MARCO's three, CSV or TSV with a header, JSON lines, or one JSON document.
    """
    stream = rows(path, stdin, decoding)
    first = next(stream, None)
    if first is None:
        return
    if first.text.lstrip()[:1] in {"{", "["}:
        for record, row in json_records(first, stream):
            yield from _json_rows(record, row)
    elif header := header_of(first):
        yield from _headed_rows(header, stream, first)
    elif len(first.text.split()) == 3:
        yield from _ranked_rows(chain([first], stream))
    else:
        yield from map(_trec_row, chain([first], stream))


def by_query(stream: Iterable[RunRow]) -> Iterator[tuple[str, list[RunRow]]]:
    """A run query by query, in bounded memory. Raises InputError if a query's rows are not together."""
    seen: set[str] = set()
    group: list[RunRow] = []
    for row in stream:
        if group and row.query != group[0].query:
            seen.add(group[0].query)
            yield group[0].query, group
            group = []
        if row.query in seen:
            raise InputError(
                f"the rows of {named(row.query)} are not together", "sort the run by query", where=row.where
            )
        group.append(row)
    if group:
        yield group[0].query, group


def _trec_row(row: Row) -> RunRow:
    columns = row.text.split()
    if len(columns) != 6:
        raise _wrong_width(row, len(columns))
    try:
        score = float(columns[4])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        number(columns[4], "score", row.where)  # raises
    return RunRow(columns[0], columns[2], score, name=row.name, line=row.number)


def _wrong_width(row: Row, width: int) -> InputError:
    """The error for a line that is not of a run, with what it may be."""
    hint = "columns are separated by blanks or tabs; CSV and TSV need a header such as qid,docno,score"
    if width == 4:
        hint = "this looks like qrels: pass them with --qrels"
    elif width == 5:
        hint = "is the rank or the tag missing? trec_eval wants all six columns too"
    elif width == 3:
        hint = "a run of 3 columns (query, document, rank) has 3 in every line"
    message = f"a run has 6 columns (query Q0 document rank score tag), this line has {width}"
    return InputError(message, hint, row.where)


def _ranked_rows(stream: Iterable[Row]) -> Iterator[RunRow]:
    """MS MARCO's runs: query, document, rank. Ranks that are not 1, 2, 3, … may be scores: those are an InputError."""
    query, previous = None, 0
    for row in stream:
        columns = row.text.split()
        if len(columns) != 3:
            hint = "a run of 3 columns (query, document, rank) has 3 in every line"
            raise InputError(f"the first line has 3 columns, this line has {len(columns)}", hint, row.where)
        rank = int(columns[2]) if columns[2].isascii() and columns[2].isdigit() and len(columns[2]) < 10 else -1
        if columns[0] != query:
            query, previous = columns[0], 0 if rank else -1
        if rank != previous + 1:
            hint = (
                'sort by query and rank; a run with scores has 6 columns: `awk \'{print $1, "Q0", $2, 0, $3, "run"}\'`'
            )
            message = f"the third of 3 columns is the rank, and `{columns[2]}` is not the next one of {named(query)}"
            raise InputError(message, hint, row.where)
        previous = rank
        yield RunRow(columns[0], columns[1], -float(rank), rank, name=row.name, line=row.number)


def _headed_rows(header: Header, stream: Iterable[Row], first: Row) -> Iterator[RunRow]:
    """CSV, TSV or blanks with a header, as PyTerrier's qid, docno, rank, score."""
    score, rank, label = header.column(SCORE_KEYS), header.column(("rank",)), header.column((LABEL, "label"))
    if score is None and rank is None:
        if label:
            raise InputError("these are judgements, not a run", "pass them with --qrels", first.where)
        hint = "a run has the columns qid, docno, and score or rank"
        raise InputError("the header names neither a score nor a rank", hint, first.where)
    for cells, row in headed_rows(header, stream):
        place = number(cells.get(rank, ""), "rank", row.where) if rank and (not score or rank in cells) else None
        yield RunRow(
            query=named_cell(header, cells, HEADER_QUERIES, row),
            document=named_cell(header, cells, HEADER_DOCUMENTS, row),
            score=number(cells.get(score, ""), "score", row.where) if score else -(place or 0.0),
            rank=int(place) if place is not None and place.is_integer() else None,
            label=cells.get(label) if label else None,
            name=row.name,
            line=row.number,
        )


def _json_rows(record: Mapping[str, Any], row: Row) -> Iterator[RunRow]:
    """The rows of one JSON object: a response with `results`, or one result."""
    results = record.get("results")
    if isinstance(results, list):
        yield from _response(record, results, row)
        return
    if is_nested(record):
        for query, scores in record.items():
            for document, score in scores.items():
                ids = replace_surrogates(query), replace_surrogates(document)
                yield RunRow(*ids, number(str(score), "score", row.where), name=row.name, line=row.number)
        return
    yield _result(record_id(record, QUERY_KEYS, row.where) or ANONYMOUS, record, row)


def _response(record: Mapping[str, Any], results: list[Any], row: Row) -> Iterator[RunRow]:
    """A response, `{"id", "results": […]}`; without ranks its own order counts if scores fall along it."""
    query = record_id(record, ("id", *QUERY_KEYS), row.where) or ANONYMOUS
    if not all(isinstance(result, dict) for result in results):
        raise InputError("`results` must hold objects", RESULT_HINT, row.where)
    run = [_result(query, result, row) for result in results]
    scores = [result.score for result in run if result.score is not None]
    if any(result.rank is None for result in run) and all(above >= below for above, below in pairwise(scores)):
        run = [result._replace(rank=rank) for rank, result in enumerate(run, 1)]
    yield from run


def _result(query: str, record: Mapping[str, Any], row: Row) -> RunRow:
    document = record.get("document")
    inner: Mapping[str, Any] = document if isinstance(document, dict) else {}
    name = record_id(record, DOCUMENT_KEYS, row.where) or record_id(inner, DOCUMENT_KEYS, row.where)
    numbers = _numbers(record)
    index, rank = numbers.get("index"), numbers.get("rank")
    if name is None and (isinstance(index, bool) or not isinstance(index, int)):
        raise InputError("a result needs an id or an index", RESULT_HINT, row.where)
    return RunRow(
        query=query,
        document=str(index) if name is None else name,
        score=_score(numbers, row.where),
        rank=rank if isinstance(rank, int) else None,
        by_index=name is None,
        label=record.get(LABEL, inner.get(LABEL)),
        name=row.name,
        line=row.number,
    )


def _numbers(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The member that holds index, rank and score: the one under --result-key, else the record itself.

    A record may have a score of its own, the retriever's: the one under --result-key is recognised by all its keys.
    """
    scored = any(key in record for key in SCORE_KEYS)
    required = {"index", "rank", "relevance_score"} if scored else {"relevance_score"}
    members = (value for key, value in record.items() if key != "document" and isinstance(value, dict))
    nested = [value for value in members if required <= value.keys()]
    return nested[0] if len(nested) == 1 else record


def _score(numbers: Mapping[str, Any], where: str) -> float | None:
    key = next((key for key in SCORE_KEYS if key in numbers), None)
    if key is None:
        raise InputError("a result needs a relevance_score (or score)", "is this the output of rank or batch?", where)
    value = numbers[key]
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InputError(f"{key} `{value}` is not a number", RESULT_HINT, where)
    return None if value is None else float(value)
