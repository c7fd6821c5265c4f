"""What a batch ranks: Cohere-shaped requests, queries × documents, or a TREC run with its queries and corpus.

Each becomes a `BatchRow`: one query with its documents, or what was wrong with the row. It scores and writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rerank_cli import nesting
from rerank_cli.absence import FieldCheck, without_empty
from rerank_cli.errors import InputError, RerankError
from rerank_cli.field_hints import EMPTY_HINT
from rerank_cli.fields import build_document
from rerank_cli.ranking import trec_order
from rerank_cli.readers.request import parse_request
from rerank_cli.readers.rows import name_of_file, raw_rows
from rerank_cli.readers.titles import note_titles
from rerank_cli.readers.trec import named
from rerank_cli.records import Document, Request, RequestOptions, Source
from rerank_cli.text import to_utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rerank_cli.batch.plan import Shard
    from rerank_cli.fields import DocumentBuilder
    from rerank_cli.readers.corpus import Corpus
    from rerank_cli.readers.queries import Query
    from rerank_cli.readers.trec import RunRow
    from rerank_cli.report import Report
    from rerank_cli.settings import Decoding, FieldSettings


class BatchRow(NamedTuple):
    """One row: `request`, or `error` if it is bad. `id` is the request's own; without one its line is its name."""

    number: int  # 0-based among the rows of the input
    where: str
    id: str | None
    line: int
    request: Request | None
    error: RerankError | None = None

    @property
    def name(self) -> str:
        """How the output calls the row: its id, else its line number."""
        return str(self.line) if self.id is None else self.id


def numbered_lines(paths: Sequence[str], stdin: BinaryIO, decoding: Decoding) -> Iterator[tuple[str, int, bytes]]:
    """The lines of files, each with the file's name and its number. Raises InputError for an unreadable file."""
    for path in paths:
        name = name_of_file(path)
        for line, raw in raw_rows(path, stdin, decoding):
            yield name, line, raw


def requests_of(
    lines: Iterable[tuple[str, int, bytes]], fields: FieldSettings, report: Report, shard: Shard, start: int = 0
) -> Iterator[BatchRow]:
    """The requests in JSON lines, numbered across files, from row `start` on; a bad row carries its error."""
    check = FieldCheck(fields)
    for number, (name, line, raw) in enumerate(lines):
        if number >= start and shard.has(number):
            yield row_of(number, name, line, raw, check, report)
    check.finish(report, strict=False)


def row_of(number: int, name: str, line: int, raw: bytes, check: FieldCheck, report: Report) -> BatchRow:
    """One line of a file as a row; `check` is that of the whole file."""
    where = f"{name}:{line}"
    try:
        request = parse_request(raw, where, check.fields, report, check)
    except InputError as error:
        return BatchRow(number, where, _id_of(raw), line, None, error)
    return BatchRow(number, where, request.body.id or request.body.query_id, line, request)


def _id_of(raw: bytes) -> str | None:
    """The id of a bad row if it has one, for --errors."""
    try:
        value = nesting.loads(raw)
    except (ValueError, RecursionError):
        return None
    names = [value.get(key) for key in ("id", "query_id")] if isinstance(value, dict) else []
    return next((str(name) for name in names if isinstance(name, str | int) and not isinstance(name, bool)), None)


def crossed(
    queries: Iterable[Query], documents: Sequence[Document], shard: Shard, start: int = 0
) -> Iterator[BatchRow]:
    """Every query with all documents, which are held once."""
    for number, query in enumerate(queries):
        if number >= start and shard.has(number):
            yield BatchRow(
                number, query.where, query.id, number + 1, Request(query.text, documents, RequestOptions(id=query.id))
            )


@dataclass(frozen=True, slots=True)
class TrecSources:
    """What the rows of a TREC run need besides the run: texts of its queries, the corpus, documents per query."""

    queries: Mapping[str, str]
    corpus: Corpus
    depth: int | None  # documents per query; None: all
    fields: FieldSettings


def from_run(
    groups: Iterable[tuple[str, list[RunRow]]], sources: TrecSources, report: Report, shard: Shard, start: int = 0
) -> Iterator[BatchRow]:
    """The queries of a run with their first `depth` documents, looked up in the corpus."""
    fields = replace(sources.fields, prior_field=None)
    render, check = build_document(fields, report), FieldCheck(fields)
    noted = False
    for number, (query, rows) in enumerate(groups):
        if number < start or not shard.has(number):
            continue
        where = rows[0].where
        try:
            request, known = _request(query, rows, sources, render, report)
            check.begin(where)
            check.observe(known)
            check.end()
        except InputError as error:
            yield BatchRow(number, where, query, number + 1, None, error)
        else:
            if not noted and request.documents and sources.fields.join_titles:
                note_titles(request.documents[0], report)
                noted = True
            documents = without_empty(list(request.documents), fields, report)
            yield BatchRow(number, where, query, number + 1, replace(request, documents=documents))
    check.finish(report, strict=False)


def _request(
    query: str, rows: list[RunRow], sources: TrecSources, render: DocumentBuilder, report: Report
) -> tuple[Request, list[Document]]:
    """One query's request, and those of its documents that the corpus has.

    Raises InputError for a query that is missing, for a document that appears twice, for documents if none is in the
    corpus, or if settings say so.
    """
    text = sources.queries.get(query)
    if text is None:
        hint = "do --queries and --run belong together?"
        raise InputError(f"{named(query)} of the run is not among the queries", hint, rows[0].where)
    _refuse_repeated(query, rows)
    kept = best_rows(rows, sources.depth)
    raws = sources.corpus.get([row.document for row in kept])
    if kept and not raws:
        message = f"no document of {named(query)} is in the corpus; the first is `{kept[0].document}`"
        raise InputError(message, "do the ids of run and corpus match?", rows[0].where)
    source = Source(sources.corpus.name, "json")
    documents: list[Document] = []
    for index, row in enumerate(kept):
        raw = raws.get(row.document)
        if raw is None:
            report.count("not_in_corpus")
            documents.append(_unknown(index, row, source, sources.fields))
        else:
            documents.append(_document(index, row, raw, source, render))
    known = [document for document in documents if document.id in raws]
    return Request(text, documents, RequestOptions(id=query)), known


def _refuse_repeated(query: str, rows: list[RunRow]) -> None:
    """Raises InputError for a document that a query has twice, as `eval` does: which score counts is unknown."""
    seen: dict[str, RunRow] = {}
    for row in rows:
        if (first := seen.setdefault(row.document, row)) is not row:
            hint = f"first on line {first.line}; leave one of the two out"
            raise InputError(f"document `{row.document}` appears twice for {named(query)}", hint, row.where)


def best_rows(rows: list[RunRow], depth: int | None) -> list[RunRow]:
    """The first `depth` rows by score, as trec_eval sees them: ties by document id, descending."""
    by_name = {row.document: row for row in rows}
    scores = {row.document: row.score for row in rows if row.score is not None}
    empty = [row for row in rows if row.score is None]  # a run that we wrote: they are last
    return [*(by_name[name] for name in trec_order(scores)), *empty][:depth]


def _unknown(index: int, row: RunRow, source: Source, fields: FieldSettings) -> Document:
    """An empty document for one that the corpus does not have. Raises InputError if the settings ask for an error."""
    if fields.on_missing == "error":
        raise InputError(f"document `{row.document}` of the run is not in the corpus", EMPTY_HINT, row.where)
    scored = fields.rank_fields or (fields.text_field,)
    raw = json.dumps({"_id": row.document, **dict.fromkeys(scored)}, ensure_ascii=False)
    return Document(index, to_utf8(raw), "", source, row.document, 0, row.score)


def _document(index: int, row: RunRow, raw: bytes, source: Source, render: DocumentBuilder) -> Document:
    """A corpus record under the run's id, with the run's score as its prior."""
    from rerank_cli.readers.values import exact

    value = exact(raw.decode("utf-8", "replace"), row.where)  # as `rank` reads: big integers keep their digits
    document = render(value, f"{source.name}: document `{row.document}`", index, raw, source)
    return document._replace(id=row.document, prior=row.score if document.prior is None else document.prior)
