"""The sentences of the shown documents that answer best: which are scored, and what their scores come to.

They are scored by the same model in one further call, each with the query alone, and with several queries joined as the
documents are. A provider's own spans come first.
It knows neither formats nor files.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import UsageError
from rerank_cli.ranking import sigmoid
from rerank_cli.records import LOG_ODDS, Highlight, Pair, Staged
from rerank_cli.scoring import UniquePairs
from rerank_cli.sentences import LONGEST, sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Hit, Ranking, Score
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.settings import RankSettings

MOST = 200  # sentences of a document that are scored


class Candidates(NamedTuple):
    """The sentences to score: distinct texts with each query, and for each hit its spans and the text of each."""

    unique: UniquePairs
    spans: list[list[tuple[int, int, int]]]  # start, end, position of the text

    @property
    def pairs(self) -> list[Pair]:
        """What is to be scored."""
        return self.unique.pairs

    @property
    def total(self) -> int:
        """Sentences, equal ones too."""
        return sum(map(len, self.spans))


def highlighted(ranking: Ranking, scorer: Scorer, settings: RankSettings) -> Ranking:
    """The ranking with the best sentences of each hit, if they are asked for, and with a provider's spans in any case.

    Raises UsageError for a listwise model, and what the scorer raises.
    """
    candidates = candidates_of(ranking, settings, scorer.info)
    scores = scorer.score(candidates.pairs, settings.limits) if candidates.pairs else []
    return attach(ranking, candidates, scores, scorer.info, settings)


def check(settings: RankSettings, model: str, *, listwise: bool) -> None:
    """Raise UsageError for highlights by a model whose scores of sentences would depend on each other."""
    if settings.stages.highlight and listwise:
        message = f"--highlight needs a model that scores each text alone; `{model}` compares texts with each other"
        raise UsageError(message, "leave --highlight out, or choose another model with `-m`")


def candidates_of(ranking: Ranking, settings: RankSettings, info: ScorerInfo) -> Candidates:
    """The sentences of all hits that have a score and no spans of a provider; none unless they are asked for.

    Raises UsageError for a listwise model.
    """
    if not settings.stages.highlight:
        return Candidates(UniquePairs([], None), [[] for _ in ranking.hits])
    check(settings, info.model, listwise=info.listwise)
    places: dict[str, int] = {}
    spans: list[list[tuple[int, int, int]]] = []
    for hit in ranking.hits:
        own = sentences_of(hit) if hit.relevance_score is not None and hit.score.spans is None else []
        text = hit.document.text
        spans.append([(start, end, places.setdefault(text[start:end], len(places))) for start, end in own])
    queries = ranking.meta.queries or (ranking.query,)
    return Candidates(
        UniquePairs([Pair(query, text) for query in queries for text in places], None, len(queries)), spans
    )


def sentences_of(hit: Hit) -> list[tuple[int, int]]:
    """The sentences of the best window, or of the whole text if the model read it at once.

    None of what a token budget cut off; if that is the whole best window, those of what is left.
    """
    text, score = hit.document.text, hit.score
    place = hit.staged.place if hit.staged else None
    first, last = score.best if score.best and score.windows > 1 else (0, len(text))
    if place and first >= place.end:
        first = 0
    last = min(last, place.end) if place else last
    begin = max(0, first - LONGEST)  # a window may begin within a sentence
    found = ((begin + start, begin + end) for start, end in sentences(text[begin : last + LONGEST]))
    stop = place.end if place else len(text)
    return list(islice(((start, min(end, stop)) for start, end in found if end > first and start < last), MOST))


def attach(
    ranking: Ranking, candidates: Candidates, scores: Sequence[Score], info: ScorerInfo, settings: RankSettings
) -> Ranking:
    """The ranking with the highlights that the scores of the candidates come to, and what was done in its `meta`."""
    most = settings.stages.highlight
    values = [score.value for score in candidates.unique.spread(list(scores), settings.join)]
    hits = []
    for hit, spans in zip(ranking.hits, candidates.spans, strict=True):
        if hit.score.spans is not None:
            own = [span for span in hit.score.spans if 0 <= span.start < span.end <= len(hit.document.text)]
        else:
            own = [Highlight(start, end, shown(values[place], info, settings)) for start, end, place in spans]
        own = sorted((one for one in own if one.score is not None), key=lambda one: (-(one.score or 0.0), one.start))
        wanted = most is not None or hit.score.spans is not None
        staged = hit.staged or Staged()
        hits.append(hit._replace(staged=staged._replace(highlights=tuple(own[:most]))) if wanted else hit)
    if not most:
        return replace(ranking, hits=hits)
    report = {"stage": "highlights", "documents": len(hits), "kept": len(hits), "moved": 0}
    report |= {"sentences": candidates.total, "tokens": sum(score.tokens for score in scores)}
    return replace(ranking, hits=hits, meta=replace(ranking.meta, stages=(*ranking.meta.stages, report)))


def shown(value: float | None, info: ScorerInfo, settings: RankSettings) -> float | None:
    """A sentence's score as a document's is shown; None for one that is not a number."""
    if value is None or not isfinite(value):
        return None
    return sigmoid(value) if info.scale == LOG_ODDS and not settings.raw_scores else value
