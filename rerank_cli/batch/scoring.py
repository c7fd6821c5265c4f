"""Jobs to outcomes, in order: the pairs of several requests share batches, and a bad row does not stop the others.

It knows neither formats nor files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import pipeline
from rerank_cli.errors import InputError, NonFiniteError, RemoteError, RerankError
from rerank_cli.records import Ranking
from rerank_cli.report import Report
from rerank_cli.scorers.base import TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rerank_cli.batch.jobs import Job
    from rerank_cli.records import Body, Document, Pair, Score
    from rerank_cli.scorers.base import Advance, Limits, Scorer
    from rerank_cli.settings import RankSettings

    SettingsOf = Callable[[Body], RankSettings]

BLOCK_PAIRS = 2048  # pairs scored together: enough to fill batches of like length
BLOCK_JOBS = 512
BLOCK_TEXT = 8_000_000  # characters: long documents fill batches by themselves


class Outcome(NamedTuple):
    """A job and its ranking, or the error that it met."""

    job: Job
    ranking: Ranking | None
    error: RerankError | None


class Prepared(NamedTuple):
    """A job's documents and distinct pairs, ready to score."""

    job: Job
    settings: RankSettings
    documents: Sequence[Document]
    pairs: list[Pair]
    places: Sequence[int] | None


def blocks_of(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Jobs in blocks of about BLOCK_PAIRS documents; a large request ends its block."""
    block: list[Job] = []
    held = size = 0
    for job in jobs:
        block.append(job)
        if job.request:
            held += len(job.request.documents)
            size += sum(len(document.text) for document in job.request.documents)
        if held >= BLOCK_PAIRS or size >= BLOCK_TEXT or len(block) == BLOCK_JOBS:
            yield block
            block, held, size = [], 0, 0
    if block:
        yield block


def rank_block(
    block: Sequence[Job], scorer: Scorer, settings_of: SettingsOf, report: Report, advance: Advance | None = None
) -> list[Outcome]:
    """One outcome a job, in order. Raises only what would meet every row: a remote failure, a usage error."""
    prepared = [prepare(job, settings_of, report) for job in block if job.request]
    scores = score_together(prepared, scorer, advance)
    outcomes = []
    rest = iter(zip(prepared, scores, strict=True))
    for job in block:
        if job.error or not job.request:
            outcomes.append(Outcome(job, None, job.error))
            continue
        made, found = next(rest)
        outcomes.append(finish(made, found, scorer, report, advance))
    return outcomes


def prepare(job: Job, settings_of: SettingsOf, report: Report) -> Prepared:
    """What is to be scored of a job."""
    request = job.request
    assert request is not None  # the caller filters
    settings = settings_of(request.body)
    documents = pipeline.without_repeats(request.documents, set(), report) if settings.dedupe else request.documents
    return Prepared(job, settings, documents, *pipeline.unique_pairs(request.query, documents))


def score_together(prepared: Sequence[Prepared], scorer: Scorer, advance: Advance | None) -> list[list[Score] | None]:
    """The scores of each job's pairs; None where the shared call failed and the job is to be tried alone.

    Jobs with the same limits are scored in one call, so that their pairs share batches.
    """
    found: list[list[Score] | None] = [None] * len(prepared)
    groups: dict[Limits, list[int]] = {}
    for number, made in enumerate(prepared):
        groups.setdefault(made.settings.limits, []).append(number)
    for limits, numbers in groups.items():
        if len(numbers) == 1:
            continue  # nothing to share
        pairs = [pair for number in numbers for pair in prepared[number].pairs]
        try:
            scores = scorer.score(pairs, limits, advance) if pairs else []
        except TooLongError:
            continue  # one of them is at fault: alone, each gets its own error
        except RemoteError as error:
            name_job(error, [prepared[number] for number in numbers])
            raise
        start = 0
        for number in numbers:
            end = start + len(prepared[number].pairs)
            found[number] = scores[start:end]
            start = end
    return found


def name_job(error: RemoteError, together: Sequence[Prepared]) -> None:
    """Add query and document to an error of a shared call, which counts the pairs of all its jobs."""
    if error.pair is None:
        return
    for made in together:
        if error.pair < len(made.pairs):
            pipeline.name_pair(error, made.pairs, made.documents, made.places)
            return
        error.pair -= len(made.pairs)


def finish(
    made: Prepared, scores: list[Score] | None, scorer: Scorer, report: Report, advance: Advance | None
) -> Outcome:
    """A job's ranking from its scores, scoring it alone if the shared call failed or there was none."""
    own = Report()
    try:
        if scores is None:
            scores = pipeline.checked(made.pairs, made.documents, made.places, scorer, made.settings, advance)
        else:
            pipeline.require_finite(scores, made.pairs, made.documents, made.places)
    except (InputError, NonFiniteError) as error:  # the row's own fault; anything else would meet every row
        return Outcome(made.job, None, error)
    found = scores if made.places is None else [pipeline.EMPTY if place < 0 else scores[place] for place in made.places]
    pipeline.tally(found, own)
    for name, count in own.counts.items():
        report.count(name, count)
    hits = pipeline.select(made.documents, found, made.settings, scorer.facts)
    query = made.job.request.query if made.job.request else ""
    return Outcome(made.job, Ranking(query, hits, pipeline.meta_of(scorer, made.settings, own)), None)
