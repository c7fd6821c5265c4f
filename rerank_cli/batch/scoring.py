"""Jobs to outcomes, in order: the pairs of several requests share batches, and a bad row does not stop the others.

It knows neither formats nor files.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import pipeline
from rerank_cli.errors import InputError, NonFiniteError, RemoteError, RerankError
from rerank_cli.records import Ranking
from rerank_cli.report import Report
from rerank_cli.scorers.base import TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rerank_cli.batch.jobs import Job
    from rerank_cli.records import Document, Pair, RequestOptions, Score
    from rerank_cli.scorers.base import Advance, Scorer
    from rerank_cli.settings import Limits, RankSettings

    SettingsOf = Callable[[RequestOptions], RankSettings]

BLOCK_PAIRS = 2048  # pairs scored together: enough to fill batches of like length
BLOCK_JOBS = 512
MOST_REFUSED = 5  # rows that a provider refuses before it answers one: then the fault is not the rows'
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
    """One outcome a job, in order.

    Raises only what would meet every row: a usage error, a remote failure, a provider that refuses row after row.
    """
    prepared = [prepare(job, settings_of, report) for job in block if job.request]
    scores = score_together(prepared, scorer, advance)
    outcomes = []
    rest = iter(zip(prepared, scores, strict=True))
    refused = answered = 0
    for job in block:
        if job.error or not job.request:
            outcomes.append(Outcome(job, None, job.error))
            continue
        made, found = next(rest)
        outcomes.append(finish(made, found, scorer, report, advance))
        error = outcomes[-1].error
        refused += isinstance(error, RemoteError)
        answered += error is None
        if error and refused == MOST_REFUSED and not answered:
            raise error
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

    Jobs with the same limits are scored in one call, so that their pairs share batches; for a listwise model only one
    of those with the same query, since its documents are compared with each other.
    """
    found: list[list[Score] | None] = [None] * len(prepared)
    groups: dict[tuple[Limits, int], list[int]] = {}
    before: Counter[str] = Counter()
    for number, made in enumerate(prepared):
        query = made.pairs[0].query if scorer.info.listwise and made.pairs else ""
        groups.setdefault((made.settings.limits, before[query] if query else 0), []).append(number)
        before[query] += 1
    for (limits, _), numbers in groups.items():
        if len(numbers) == 1:
            continue  # nothing to share
        pairs = [pair for number in numbers for pair in prepared[number].pairs]
        try:
            scores = scorer.score(pairs, limits, advance) if pairs else []
        except TooLongError:
            continue  # one of them is at fault: alone, each gets its own error
        except RemoteError as error:
            if not error.refused:
                name_job(error, [prepared[number] for number in numbers])
                raise
            scores = getattr(error, "scores", [])  # what was answered is paid for
            if len(scores) != len(pairs):
                continue  # likewise
        start = 0
        for number in numbers:
            end = start + len(prepared[number].pairs)
            found[number] = None if None in scores[start:end] else scores[start:end]
            start = end
    return found


def name_job(error: RemoteError, together: Sequence[Prepared]) -> None:
    """Add query and document to an error of a shared call, which may be about a pair of any of its jobs."""
    made = next((made for made in together if error.pair in made.pairs), None)
    if made:
        pipeline.name_pair(error, made.documents)


def finish(
    made: Prepared, scores: list[Score] | None, scorer: Scorer, report: Report, advance: Advance | None
) -> Outcome:
    """A job's ranking from its scores, scoring it alone if the shared call failed or there was none."""
    own = Report()
    try:
        if scores is None:
            scores = pipeline.checked(made.pairs, made.documents, scorer, made.settings, advance)
        else:
            pipeline.require_finite(scores, made.pairs, made.documents)
    except (InputError, NonFiniteError, RemoteError) as error:  # anything else would meet every row
        if isinstance(error, RemoteError) and not error.refused:
            raise
        return Outcome(made.job, None, error)
    found = scores if made.places is None else [pipeline.EMPTY if place < 0 else scores[place] for place in made.places]
    pipeline.tally(found, own)
    query = made.job.request.query if made.job.request else ""
    pipeline.check_language(query, made.documents, scorer.info, own)
    report.add(own)
    hits = pipeline.select(made.documents, found, made.settings, scorer.info)
    return Outcome(made.job, Ranking(query, hits, pipeline.meta_of(scorer, made.settings, own)), None)
