"""Judgements: TREC qrels, CSV or TSV with a header, JSON, and requests whose documents carry labels.

It knows nothing of measures. Equal repetitions are ignored, contradictions are errors: an evaluation must not depend on
which of two grades comes last.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
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
)
from rerank_cli.readers.folders import in_folder
from rerank_cli.readers.rows import Row, grade, name_of_file, record_id, rows
from rerank_cli.readers.trec import ANONYMOUS, DOCUMENT_KEYS, LABEL, QUERY_KEYS
from rerank_cli.settings import DECODING, Decoding
from rerank_cli.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rerank_cli.readers.columns import Header
    from rerank_cli.readers.trec import Run
    from rerank_cli.report import Report

QRELS_HINT = "is it the right file? its lines are query, 0, document and grade, as in `q1 0 d7 1`"
GRADES_HINT = 'as in `"documents": ["a", "b"], "relevance": [1, 0]`'
GRADE_KEYS = (LABEL, "label", "rel", "grade", "score")


class Judgement(NamedTuple):
    """One document judged for one query."""

    query: str
    document: str
    relevance: int
    where: str


@dataclass(frozen=True, slots=True)
class Qrels:
    """Judgements by query and document. Requests also give query texts, and names by input position."""

    name: str
    judgements: dict[str, dict[str, int]]
    texts: dict[str, str] = field(default_factory=dict)  # query id -> query
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # query id -> document ids by index


def read_qrels(
    path: str, stdin: BinaryIO | None = None, decoding: Decoding = DECODING, report: Report | None = None
) -> Qrels:
    """All judgements of a file, or of a folder as BEIR has it.

    Raises InputError with `file:line`; also if it holds none at all.
    """
    path = in_folder(path, "qrels", report)
    qrels = Qrels(name_of_file(path), {})
    stream = rows(path, stdin, decoding)
    first = next(stream, None)
    if first is None:
        raise InputError("holds no judgements", QRELS_HINT, qrels.name)
    if first.text.lstrip()[:1] in {"{", "["}:
        _read_json(qrels, first, stream)
    elif header := header_of(first):
        for judgement in _headed(header, stream, first):
            _add(qrels.judgements, judgement)
    else:
        for row in chain([first], stream):
            _add(qrels.judgements, _columns(row))
    if not qrels.judgements:
        raise InputError("holds no judgements", QRELS_HINT, qrels.name)
    return qrels


def labels_of(runs: list[Run]) -> Qrels:
    """The inline `relevance` labels of runs, joined. Raises InputError if there are none, or if they contradict."""
    qrels = Qrels("inline labels", {})
    for run in runs:
        for query, labels in run.labels.items():
            for document, (relevance, where) in labels.items():
                _add(qrels.judgements, Judgement(query, document, grade(relevance, where), where))
    if not qrels.judgements:
        raise InputError("there are no judgements: neither --qrels nor `relevance` in the runs", "give `--qrels FILE`")
    return qrels


def _add(judgements: dict[str, dict[str, int]], new: Judgement) -> None:
    earlier = judgements.setdefault(new.query, {}).setdefault(new.document, new.relevance)
    if earlier != new.relevance:
        message = (
            f"document `{new.document}` of query `{new.query}` is judged {new.relevance} here and {earlier} before"
        )
        raise InputError(message, "remove one of the two", new.where)


def _columns(row: Row) -> Judgement:
    """A line of TREC qrels (query 0 document grade) or BEIR (query document grade), also with commas."""
    columns = row.text.split("\t") if row.text.count("\t") == 2 else row.text.split()
    if len(columns) not in {3, 4} and row.text.count(",") in {2, 3}:
        columns = [cell.strip() for cell in row.text.split(",")]
    if len(columns) == 4:
        return Judgement(columns[0], columns[2], grade(columns[3], row.where), row.where)
    if len(columns) == 3:
        return Judgement(columns[0], columns[1], grade(columns[2], row.where), row.where)
    hint = "columns are separated by blanks or tabs; CSV and TSV may have a header such as qid,docno,label"
    if len(columns) == 6:
        hint = "this looks like a run: runs are given without an option"
    raise InputError(
        f"qrels have 4 columns (query 0 document relevance) or BEIR's 3, this line has {len(columns)}", hint, row.where
    )


def _headed(header: Header, stream: Iterator[Row], first: Row) -> Iterator[Judgement]:
    """CSV, TSV or blanks with a header, as BEIR's query-id, corpus-id, score and PyTerrier's qid, docno, label."""
    relevance = header.column(GRADE_KEYS)
    if relevance is None:
        hint = "qrels have the columns qid, docno and label"
        raise InputError("the header names no relevance", hint, first.where)
    for cells, row in headed_rows(header, stream):
        query = named_cell(header, cells, HEADER_QUERIES, row)
        document = named_cell(header, cells, HEADER_DOCUMENTS, row)
        yield Judgement(query, document, grade(cells.get(relevance, ""), row.where), row.where)


def _read_json(qrels: Qrels, first: Row, stream: Iterator[Row]) -> None:
    for record, row in json_records(first, stream):
        if isinstance(record.get("documents"), list):
            _add_request(qrels, record, row)
        elif is_nested(record):
            for query, grades in record.items():
                for document, value in grades.items():
                    ids = replace_surrogates(query), replace_surrogates(document)
                    _add(qrels.judgements, Judgement(*ids, grade(value, row.where), row.where))
        else:
            _add(qrels.judgements, _json_judgement(record, row.where))


def _json_judgement(record: Mapping[str, Any], where: str) -> Judgement:
    query = record_id(record, QUERY_KEYS, where)
    document = record_id(record, DOCUMENT_KEYS, where)
    relevance = next((record[key] for key in GRADE_KEYS if record.get(key) is not None), None)
    if document is None or relevance is None:
        raise InputError(
            "a judgement needs a document id and a relevance",
            'for example {"query_id": "1", "doc_id": "a", "relevance": 2}',
            where,
        )
    return Judgement(ANONYMOUS if query is None else query, document, grade(relevance, where), where)


def _add_request(qrels: Qrels, record: Mapping[str, Any], row: Row) -> None:
    """A request with a parallel list of grades (`relevance`) or with `relevance` inside its documents."""
    documents: list[Any] = record["documents"]
    own = record_id(record, ("id", *QUERY_KEYS), row.where)
    query = own or str(row.number)  # as batch does without an id
    if own is None and query in qrels.judgements:
        raise InputError(
            "two requests have no id", "give each an `id`: the judgements are for one query each", row.where
        )
    names = tuple(_document_name(document, index, row.where) for index, document in enumerate(documents))
    grades = record.get(LABEL)
    if grades is None:
        grades = [document.get(LABEL) if isinstance(document, dict) else None for document in documents]
    if not isinstance(grades, list) or len(grades) != len(documents):
        raise InputError("`relevance` must be a list with one grade per document", GRADES_HINT, row.where)
    qrels.judgements.setdefault(query, {})
    for name, value in zip(names, grades, strict=True):
        if value is not None:
            _add(qrels.judgements, Judgement(query, name, grade(value, row.where), row.where))
    qrels.names[query] = names
    text = record.get("query")
    if isinstance(text, str):
        qrels.texts[query] = text


def _document_name(document: Any, index: int, where: str) -> str:
    name = record_id(document, DOCUMENT_KEYS, where) if isinstance(document, dict) else None
    return str(index) if name is None else name
