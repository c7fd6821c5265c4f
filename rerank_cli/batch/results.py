"""Outcomes as bytes: one response per line, `rank`'s records with their query_id, or a TREC run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli.text import escape_line
from rerank_cli.writers import envelope, jsonl, trec
from rerank_cli.writers.members import Names, encode, encode_string
from rerank_cli.writers.results import blocks_of, score_members, shape_of

if TYPE_CHECKING:
    from rerank_cli.batch.plan import BatchSettings
    from rerank_cli.batch.rows import BatchRow
    from rerank_cli.batch.scoring import Outcome
    from rerank_cli.errors import RerankError
    from rerank_cli.records import Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings


def render(outcome: Outcome, settings: BatchSettings, report: Report) -> bytes:
    """The bytes of one ranked row in the batch's format. Raises InputError where a format cannot hold it."""
    row, ranking, _ = outcome
    if ranking is None:
        return b""
    output = settings.output
    if output.as_requested and row.request and row.request.body.return_documents is False:
        output = replace(output, documents=False)
    if settings.format == "responses":
        return response(row, ranking, output)
    if settings.format == "rows":
        return rows(row.name, ranking, output, report)
    trec.require_column("query id", row.name)
    return b"".join(trec.blocks(ranking, replace(output, query_id=row.name), report))


class Repeats:
    """Sees every row of an output, and warns once if it is a TREC run where two requests become one query."""

    def __init__(self, batch_format: str, report: Report) -> None:
        self._seen: set[str] | None = set() if batch_format == "trec" else None  # None: nothing left to warn about
        self._report = report

    def observe(self, row: BatchRow) -> None:
        """One row that is written."""
        if self._seen is None:
            return
        if row.name not in self._seen:
            self._seen.add(row.name)
            return
        self._seen = None
        self._report.warn(f"{row.where}: the id `{row.name}` came before: the TREC run makes one query of the two")


def response(row: BatchRow, ranking: Ranking, settings: OutputSettings) -> bytes:
    """`{"id": …, "results": […]}`: the request's own id as text, else its line as a number.

    `context` if asked for; `meta` with a chain of models, or with stages after the score.
    """
    name = b"%d" % row.line if row.id is None else encode_string(row.id)
    results = b",".join(result for block in envelope.results(ranking, settings) for result in block)
    further = b""
    if settings.context:
        from rerank_cli.writers.context import block_of

        further = b',"context":%b' % encode_string(block_of(ranking))
    meta = scored_by(ranking) if settings.names_model else {}
    if ranking.meta.stages:
        meta["stages"] = ranking.meta.stages
    if meta:
        further += b',"meta":%b' % encode(meta)
    return b'{"id":%b,"results":[%b]%b}\n' % (name, results, further)


def scored_by(ranking: Ranking) -> dict[str, Any]:
    """The model of a chain that scored, and how those before it failed."""
    meta = ranking.meta
    return {"model": meta.model, **({"fallback": meta.fallback} if meta.fallback else {})}


def rows(name: str, ranking: Ranking, settings: OutputSettings, report: Report) -> bytes:
    """`rank`'s JSON lines with `query_id` before the other keys."""
    shape = shape_of(ranking, settings)
    own = ("query_id", "model") if settings.names_model else ("query_id",)
    names = Names((*own, *((settings.result_key,) if settings.result_key else shape.keys)))
    model = b'"model":%b,' % encode_string(ranking.meta.model) if settings.names_model else b""
    key = b'"query_id":%b,%b' % (encode_string(name), model)
    lines: list[bytes] = []
    for hits in blocks_of(ranking.hits):
        members = [key + member for member in jsonl.nested(score_members(hits, shape), settings.result_key)]
        lines += jsonl.lines(hits, members, names, settings, report)
    return b"".join(lines)


def error_message(row: BatchRow, error: RerankError) -> str:
    """A bad row for people: `file:line: message`, and its hint on a line of its own."""
    placed = bool(getattr(error, "where", None)) or error.message.startswith(row.where)
    message = error.message if placed else f"{row.where}: {error.message}"
    message = escape_line(message)
    return f"{message}\nhint: {escape_line(error.hint)}" if error.hint else message


def error_line(row: BatchRow, error: RerankError) -> bytes:
    """A bad row as one JSON line for --errors."""
    record = {"where": row.where, "id": row.id, "error": error.message, "exit_code": int(error.code)}
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def counts_of(outcome: Outcome, *, failed: bool) -> dict[str, int]:
    """What one row adds to the counts."""
    if failed or outcome.ranking is None:
        return {"rows": 1, "failed": int(failed)}
    meta = outcome.ranking.meta
    fallback = {"fallback": 1} if meta.fallback else {}
    return {"rows": 1, "documents": meta.documents, "tokens": meta.tokens, **fallback}
