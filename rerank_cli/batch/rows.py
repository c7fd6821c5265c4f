"""What a batch ranks: Cohere-shaped requests, queries × documents, or a TREC run with its queries and corpus.

Each becomes a `BatchRow`: one query with its documents, or what was wrong with the row. It scores and writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rerank_cli.errors import InputError, RerankError
from rerank_cli.fields import build_document
from rerank_cli.ranking import trec_order
from rerank_cli.readers.request import parse_request
from rerank_cli.readers.rows import name_of_file, raw_rows
from rerank_cli.readers.trec import named
from rerank_cli.records import Document, Request, RequestOptions, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rerank_cli.batch.plan import Shard
    from rerank_cli.fields import DocumentBuilder
    from rerank_cli.readers.corpus import Corpus
    from rerank_cli.readers.queries import Query
    from rerank_cli.readers.trec import RunRow
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings


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


def requests_of(
    paths: Sequence[str], stdin: BinaryIO, fields: FieldSettings, report: Report, shard: Shard, start: int = 0
) -> Iterator[BatchRow]:
    """The requests of JSON lines files (plain, gzip or zstd), numbered across files, from row `start` on.

    Raises InputError for a file that cannot be read; a bad row carries its error.
    """
    lines = ((name_of_file(path), line, raw) for path in paths for line, raw in raw_rows(path, stdin))
    for number, (name, line, raw) in enumerate(lines):
        if number >= start and shard.has(number):
            yield row_of(number, name, line, raw, fields, report)


def row_of(number: int, name: str, line: int, raw: bytes, fields: FieldSettings, report: Report) -> BatchRow:
    """One line of a file as a row."""
    where = f"{name}:{line}"
    try:
        request = parse_request(raw, where, fields, report)
    except InputError as error:
        return BatchRow(number, where, _id_of(raw), line, None, error)
    return BatchRow(number, where, request.body.id or request.body.query_id, line, request)


def _id_of(raw: bytes) -> str | None:
    """The id of a bad row if it has one, for --errors."""
    try:
        value = json.loads(raw)
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
    beir: bool  # score title and text joined, as BEIR does, because no field was named


def from_run(
    groups: Iterable[tuple[str, list[RunRow]]], sources: TrecSources, report: Report, shard: Shard, start: int = 0
) -> Iterator[BatchRow]:
    """The queries of a run with their first `depth` documents, looked up in the corpus."""
    render = build_document(replace(sources.fields, prior_field=None), report)
    for number, (query, rows) in enumerate(groups):
        if number < start or not shard.has(number):
            continue
        where = rows[0].where
        try:
            request = _request(query, rows, sources, render)
        except InputError as error:
            yield BatchRow(number, where, query, number + 1, None, error)
        else:
            yield BatchRow(number, where, query, number + 1, request)


def _request(query: str, rows: list[RunRow], sources: TrecSources, render: DocumentBuilder) -> Request:
    """One query's request. Raises InputError for a query or a document that is missing."""
    text = sources.queries.get(query)
    if text is None:
        hint = "do --queries and --run belong together?"
        raise InputError(f"{named(query)} of the run is not among the queries", hint, rows[0].where)
    _refuse_repeats(rows)
    kept = best_rows(rows, sources.depth)
    raws = sources.corpus.get([row.document for row in kept])
    source = Source(sources.corpus.name, "json")
    documents = []
    for index, row in enumerate(kept):
        raw = raws.get(row.document)
        if raw is None:
            hint = "do --corpus and --run belong together?"
            raise InputError(f"document `{row.document}` of the run is not in the corpus", hint, row.where)
        documents.append(_document(index, row, raw, source, sources, render))
    return Request(text, documents, RequestOptions(id=query))


def _refuse_repeats(rows: list[RunRow]) -> None:
    """Raises InputError for a document that a query has twice, as `eval` does."""
    seen: set[str] = set()
    for row in rows:
        if row.document in seen:
            hint = "remove one of the rows; which score counts would be a guess"
            raise InputError(f"document `{row.document}` appears twice for {named(row.query)}", hint, row.where)
        seen.add(row.document)


def best_rows(rows: list[RunRow], depth: int | None) -> list[RunRow]:
    """The first `depth` rows by score, as trec_eval sees them: ties by document id, descending."""
    by_name = {row.document: row for row in rows}
    scores = {row.document: row.score for row in rows if row.score is not None}
    return [by_name[name] for name in trec_order(scores)][:depth]


def _document(
    index: int, row: RunRow, raw: bytes, source: Source, sources: TrecSources, render: DocumentBuilder
) -> Document:
    """A corpus record under the run's id, with the run's score as its prior."""
    from rerank_cli.readers.corpus import title_and_text
    from rerank_cli.readers.values import exact

    value = exact(raw.decode("utf-8", "replace"), row.where)  # as `rank` reads: big integers keep their digits
    if sources.beir and isinstance(value.get("title"), str):
        document = Document(index, raw, title_and_text(value), source)
    else:
        document = render(value, row.where, index, raw, source)
    return document._replace(id=row.document, prior=row.score if document.prior is None else document.prior)
