"""TREC runs: `query-id Q0 document-id rank score tag`, one line per hit.

trec_eval holds scores as float32, ignores the rank column and breaks ties by id, so scores become strictly decreasing
float32 numbers, written with the nine digits that distinguish any two of them.
"""

from __future__ import annotations

import struct
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError, UsageError
from rerank_cli.writers.results import id_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rerank_cli.records import Hit, Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings

_FLOAT, _BITS = struct.Struct("<f"), struct.Struct("<i")
_LARGEST = 3.4028234663852886e38


def blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """The whole run at once: every id is checked before the first byte is written.

    Raises InputError for an id with white space in it, which would read as two columns, UsageError for such a
    `--query-id` or `--run-tag`.
    """
    for option, value in (("--query-id", settings.query_id), ("--run-tag", settings.run_tag)):
        if value.split() != [value]:
            message = f"`{option}` {value!r} cannot be used in a TREC run: it is empty or contains white space"
            raise UsageError(message, "give one word")
    placed = [
        (hit.relevance_score is None, hit.rank, document_id(hit, report), hit.order_score) for hit in ranking.hits
    ]
    placed.sort(key=itemgetter(0, 1))  # empty documents are last
    ids = [name for _, _, name, _ in placed]
    if len(set(ids)) < len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        report.warn(f"several documents share an id (for example {repeated!r}): trec_eval rejects such a run")
    scores = decreasing(score for *_, score in placed)
    lines = [
        f"{settings.query_id} Q0 {name} {rank} {score:.9g} {settings.run_tag}\n"
        for rank, (name, score) in enumerate(zip(ids, scores, strict=True), start=1)
    ]
    yield "".join(lines).encode("utf-8", "replace")


def require_column(what: str, value: str) -> None:
    """Raise InputError for a value from the input that cannot be used as a column."""
    if value.split() != [value]:
        message = f"the {what} {value!r} is empty or contains white space, which separates the columns of a TREC run"
        raise InputError(message, "choose another id, or another format such as `-f rows`")


def document_id(hit: Hit, report: Report) -> str:
    """The id, or the index of a document without one; never with white space."""
    name = id_of(hit.document)
    if name is None:
        report.count("missing_id")
        return str(hit.index)
    if name.split() != [name]:
        raise InputError(
            f"the id {name!r} contains white space, which separates the columns of a TREC run",
            "choose another id with `--id-field`, or another format such as `-f jsonl`",
            where=hit.document.source.name,
        )
    return name


def decreasing(scores: Iterable[float | None]) -> Iterator[float]:
    """Scores as float32, each below the one before: where rounding left a tie, the next smaller number is taken.

    So it is for an empty document, which has no score.
    """
    last: float | None = None
    for score in scores:
        if score is None and last is not None:
            last = next_below(last)
        else:
            number = _FLOAT.unpack(_FLOAT.pack(max(-_LARGEST, min(_LARGEST, score or 0.0))))[0]
            last = number if last is None or number < last else next_below(last)
        yield last


def next_below(number: float) -> float:
    """The largest float32 below one: in their bits, neighbours of one sign are neighbouring integers."""
    if number == 0.0:
        return float(_FLOAT.unpack(_BITS.pack(-0x7FFFFFFF))[0])
    bits = _BITS.unpack(_FLOAT.pack(number))[0]
    return float(_FLOAT.unpack(_BITS.pack(bits - 1 if bits > 0 else bits + 1))[0])
