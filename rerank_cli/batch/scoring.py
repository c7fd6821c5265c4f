"""Rows to outcomes, in order: pairs of several requests share batches, and a bad row does not stop the others.

It knows neither formats nor files.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import pipeline, scoring
from rerank_cli.errors import InputError, NonFiniteError, RemoteError, RerankError, UsageError
from rerank_cli.report import Report
from rerank_cli.request import as_members
from rerank_cli.scorers.base import DocumentError
from rerank_cli.stage_checks import check_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rerank_cli.batch.rows import BatchRow
    from rerank_cli.records import Document, Queries, Ranking, Request, RequestOptions, Score
    from rerank_cli.scorers.base import Advance, Scorer
    from rerank_cli.settings import Limits, RankSettings

    SettingsOf = Callable[[RequestOptions], RankSettings]

BLOCK_PAIRS = 2048  # pairs scored together: enough to fill batches of similar length
BLOCK_ROWS = 512
BLOCK_TEXT = 8_000_000  # characters: long documents fill batches by themselves
MAX_REFUSED = 5  # rows that a provider refuses before it answers one: then the rows are not the cause


class Outcome(NamedTuple):
    """A row and its ranking, or its error."""

    row: BatchRow
    ranking: Ranking | None
    error: RerankError | None


class Prepared(NamedTuple):
    """A row's documents and distinct pairs, ready to score."""

    row: BatchRow
    query: Queries
    settings: RankSettings
    documents: Sequence[Document]
    unique: scoring.UniquePairs


def blocks_of(rows: Iterable[BatchRow]) -> Iterator[list[BatchRow]]:
    """Rows in blocks of about BLOCK_PAIRS documents; a large request ends its block."""
    block: list[BatchRow] = []
    documents = size = 0
    for row in rows:
        block.append(row)
        if row.request:
            documents += len(row.request.documents)
            size += sum(len(document.text) for document in row.request.documents)
        if documents >= BLOCK_PAIRS or size >= BLOCK_TEXT or len(block) == BLOCK_ROWS:
            yield block
            block, documents, size = [], 0, 0
    if block:
        yield block


def rank_block(
    block: Sequence[BatchRow], scorer: Scorer, settings_of: SettingsOf, report: Report, advance: Advance | None = None
) -> list[Outcome]:
    """One outcome per row, in order.

    Raises only what would meet every row: a usage error, a remote failure, a provider that refuses row after row.
    """
    prepared = [prepare(row, row.request, settings_of, report) for row in block if row.request]
    refused_stages = {each.row.number: error for each in prepared if (error := stage_error(each, scorer, report))}
    prepared = [each for each in prepared if each.row.number not in refused_stages]
    scored = iter(zip(prepared, score_together(prepared, scorer, advance), strict=True))
    outcomes = []
    refused = answered = 0
    for row in block:
        if row.error or not row.request or row.number in refused_stages:
            outcomes.append(Outcome(row, None, row.error or refused_stages.get(row.number)))
            continue
        outcome = rank_row(*next(scored), scorer, report, advance)
        outcomes.append(outcome)
        refused += isinstance(outcome.error, RemoteError)
        answered += outcome.error is None
        if outcome.error and refused == MAX_REFUSED and not answered:
            raise outcome.error
    return outcomes


def stage_error(prepared: Prepared, scorer: Scorer, report: Report) -> InputError | None:
    """What is wrong with the stages that a row asks for itself, if this model cannot do them.

    Raises UsageError for stages that every row has.
    """
    row, query, settings, *_ = prepared
    try:
        check_stages(query, scorer.info, settings, report)
    except UsageError as error:
        if not (row.request and row.request.body.stages):
            raise
        return InputError(as_members(error.message), error.hint, row.where)
    return None


def prepare(row: BatchRow, request: Request, settings_of: SettingsOf, report: Report) -> Prepared:
    """What is to be scored of a row."""
    settings = settings_of(request.body)
    if isinstance(request.query, str) and settings.join == "rrf":
        settings = replace(settings, join="max")
    documents = (
        pipeline.without_repeats(request.documents, set(), report) if settings.stages.dedupe else request.documents
    )
    return Prepared(row, request.query, settings, documents, scoring.unique_pairs(request.query, documents))


def score_together(prepared: Sequence[Prepared], scorer: Scorer, advance: Advance | None) -> list[list[Score] | None]:
    """The scores of each row's pairs; None for a row that is to be scored alone."""
    result: list[list[Score] | None] = [None] * len(prepared)
    for numbers in group(prepared, listwise=scorer.info.listwise):
        members = [prepared[number] for number in numbers]
        scores = score_group(members, scorer, advance) if len(members) > 1 else None
        if scores is None:
            continue
        start = 0
        for number, member in zip(numbers, members, strict=True):
            end = start + len(member.unique.pairs)
            own = [score for score in scores[start:end] if score is not None]
            result[number] = own if len(own) == end - start else None
            start = end
    return result


def group(prepared: Sequence[Prepared], *, listwise: bool) -> Iterable[list[int]]:
    """Positions of rows that are scored in one call, because their limits are the same: their pairs share batches.

    For a listwise model only one row per query is in a group, since documents of a query are compared with each other.
    """
    groups: dict[tuple[Limits, int], list[int]] = {}
    before: Counter[str] = Counter()
    for number, row in enumerate(prepared):
        queries = {pair.query for pair in row.unique.pairs} if listwise else set()
        turn = max((before[query] for query in queries), default=0)
        groups.setdefault((row.settings.limits, turn), []).append(number)
        before |= dict.fromkeys(queries, turn + 1)
    return groups.values()


def score_group(members: Sequence[Prepared], scorer: Scorer, advance: Advance | None) -> Sequence[Score | None] | None:
    """The scores of all pairs of a group; None where they failed because of one row: alone, each gets its own error."""
    pairs = [pair for member in members for pair in member.unique.pairs]
    try:
        return scorer.score(pairs, members[0].settings.limits, advance) if pairs else []
    except DocumentError:
        return None
    except RemoteError as error:
        if not error.refused:
            member = next((member for member in members if error.pair in member.unique.pairs), None)
            if member:
                scoring.name_pair(error, member.documents)
            raise
        scores: Sequence[Score | None] = getattr(error, "scores", ())  # what was answered is paid for
        return scores if len(scores) == len(pairs) else None


def rank_row(
    prepared: Prepared, scores: list[Score] | None, scorer: Scorer, report: Report, advance: Advance | None
) -> Outcome:
    """A row's ranking from its scores; without scores it is scored alone."""
    row, query, settings, documents, unique = prepared
    own = Report()
    try:
        if scores is None:
            scores = scoring.score_pairs(unique.pairs, documents, scorer, settings, advance)
        else:
            scoring.require_finite(scores, unique.pairs, documents)
    except (InputError, NonFiniteError, RemoteError) as error:  # anything else would meet every row
        if isinstance(error, RemoteError) and not error.refused:
            raise
        return Outcome(row, None, error)
    scores = unique.spread(scores, settings.join)
    pipeline.tally(scores, own, scorer.info)
    pipeline.check_language(query, documents, scorer.info, own)
    ranking = pipeline.assemble(query, documents, scores, scorer.info, settings, own)
    report.add(own)
    try:
        return Outcome(row, pipeline.with_highlights(ranking, scorer, settings), None)
    except (InputError, RemoteError) as error:
        if isinstance(error, RemoteError) and not error.refused:
            raise
        return Outcome(row, None, error)
