"""The report of `rerank compare` about two runs: sections for people, records for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.writers.sections import Section, csv_rows, json_text, markdown, number, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.evaluation.correlation import Move, RankChange

SCHEMA_VERSION = 1
MOVES = 3  # the largest moves of a query shown in its row


def render(names: tuple[str, str], changes: Sequence[RankChange], limit: int, report_format: str) -> str:
    """The comparison in one of `table`, `markdown`, `csv`, `json`; `limit` 0 shows all queries in tables."""
    if report_format == "json":
        return json_text(as_json(names, changes))
    if report_format == "csv":
        return csv_rows([_record(change) for change in changes])
    return (markdown if report_format == "markdown" else text)(sections(names, changes, limit))


def sections(names: tuple[str, str], changes: Sequence[RankChange], limit: int) -> list[Section]:
    """Means over the queries, then the queries that changed most (lowest overlap first)."""
    taus = [change.tau for change in changes if change.tau is not None]
    row = (
        str(len(changes)),
        number(sum(taus) / len(taus) if taus else None),
        number(sum(change.rbo for change in changes) / len(changes) if changes else None),
        str(sum(change.top_changed for change in changes)),
    )
    headers = ("queries", "Kendall tau", "RBO", "first changed")
    ordered = sorted((change for change in changes if change.rbo < 1), key=lambda change: change.rbo)
    rows = [
        (
            change.query or "–",
            ", ".join(map(_move, largest(change))),
            str(change.common),
            number(change.tau),
            number(change.rbo),
            "yes" if change.top_changed else "no",
        )
        for change in (ordered[:limit] if limit else ordered)
    ]
    first = Section(f"{names[0]} → {names[1]}", headers, [row], 0)
    return [first, Section("most changed", ("query", "moves", "common", "tau", "RBO", "first changed"), rows, 2)]


def largest(change: RankChange) -> list[Move]:
    """The largest moves among the documents of both runs; without any, those in one run only."""
    moved = [move for move in change.moves if move.before and move.after and move.before != move.after]
    moved.sort(key=lambda move: (-abs((move.before or 0) - (move.after or 0)), move.after or 0))
    return moved[:MOVES] or [move for move in change.moves if not (move.before and move.after)][:MOVES]


def _move(move: Move) -> str:
    return f"{move.document} {move.before or '–'}→{move.after or '–'}"


def as_json(names: tuple[str, str], changes: Sequence[RankChange]) -> dict[str, Any]:
    """Everything, with each document's ranks."""
    return {
        "schema_version": SCHEMA_VERSION,
        "runs": list(names),
        "queries": [_record(change) | {"documents": [move._asdict() for move in change.moves]} for change in changes],
    }


def _record(change: RankChange) -> dict[str, Any]:
    return {
        "query_id": change.query,
        "common": change.common,
        "tau": change.tau,
        "rbo": change.rbo,
        "top_changed": change.top_changed,
    }
