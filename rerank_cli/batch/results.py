"""Outcomes as bytes: one response a line, `rank`'s records with their query_id, or a TREC run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_cli.writers import envelope, jsonl, trec
from rerank_cli.writers.members import Names, encode_string
from rerank_cli.writers.results import blocks_of, score_members, shape_of

if TYPE_CHECKING:
    from rerank_cli.batch.jobs import Job
    from rerank_cli.batch.scoring import Outcome
    from rerank_cli.errors import RerankError
    from rerank_cli.records import Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings


def render(outcome: Outcome, form: str, settings: OutputSettings, report: Report) -> bytes:
    """The bytes of one ranked row in one of the --batch-format. Raises InputError where a format cannot hold it."""
    ranking, request = outcome.ranking, outcome.job.request
    if ranking is None:
        return b""
    if settings.as_requested and request and request.body.return_documents is False:
        settings = replace(settings, documents=False)
    if form == "responses":
        return response(outcome, ranking, settings)
    if form == "rows":
        return rows(outcome.job.name, ranking, settings, report)
    own = replace(settings, query_id=outcome.job.name)
    trec.require_column("query id", own.query_id)
    return b"".join(trec.blocks(ranking, own, report))


class Repeats:
    """Told of every row of an output, warns once if it is a TREC run where two requests become one query."""

    def __init__(self, form: str, report: Report) -> None:
        self._seen: set[str] | None = set() if form == "trec" else None  # None: nothing left to warn of
        self._report = report

    def look(self, job: Job) -> None:
        """One row that is written."""
        if self._seen is None:
            return
        if job.name not in self._seen:
            self._seen.add(job.name)
            return
        self._seen = None
        self._report.warn(f"{job.where}: the id `{job.name}` came before: the TREC run makes one query of the two")


def response(outcome: Outcome, ranking: Ranking, settings: OutputSettings) -> bytes:
    """`{"id": …, "results": […]}`: the request's own id as text, else its line as a number."""
    job = outcome.job
    name = b"%d" % job.line if job.id is None else encode_string(job.id)
    found = b",".join(result for some in envelope.results(ranking, settings) for result in some)
    return b'{"id":%b,"results":[%b]}\n' % (name, found)


def rows(name: str, ranking: Ranking, settings: OutputSettings, report: Report) -> bytes:
    """`rank`'s JSON lines with `query_id` before the other keys."""
    shape = shape_of(ranking, settings)
    names = Names(("query_id", settings.result_key) if settings.result_key else ("query_id", *shape.keys))
    key = b'"query_id":%b,' % encode_string(name)
    lines: list[bytes] = []
    for hits in blocks_of(ranking.hits):
        members = [key + member for member in jsonl.nested(score_members(hits, shape), settings.result_key)]
        lines += jsonl.lines(hits, members, names, settings, report)
    return b"".join(lines)


def told(job: Job, error: RerankError) -> str:
    """A bad row for the eye: `file:line: message`."""
    return error.message if error.message.startswith(job.where) else f"{job.where}: {error.message}"


def error_line(job: Job, error: RerankError) -> bytes:
    """A bad row as one JSON line for --errors."""
    record = {"where": job.where, "id": job.id, "error": error.message, "exit_code": int(error.code)}
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def counts_of(outcome: Outcome, *, failed: bool) -> dict[str, int]:
    """What one row adds to the counts."""
    if failed or outcome.ranking is None:
        return {"rows": 1, "failed": int(failed)}
    meta = outcome.ranking.meta
    return {"rows": 1, "documents": meta.documents, "tokens": meta.tokens}
