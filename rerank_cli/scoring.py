"""Documents to pairs, and pairs to one finite score for each document.

Errors about one pair get the name of its document here. It knows neither order nor formats.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import repeat
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import InputError, NonFiniteError, RemoteError
from rerank_cli.records import Pair, Score
from rerank_cli.scorers.base import DocumentError
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Document, Queries
    from rerank_cli.scorers.base import Advance, Scorer
    from rerank_cli.settings import Join, RankSettings

EMPTY = Score(None, 0, 0)
make_pair = partial(tuple.__new__, Pair)  # from a row, without a Python call each


class UniquePairs(NamedTuple):
    """The distinct pairs of some documents, and for each document the position of its pair (-1: blank, no pair).

    None instead of positions: every document has a pair of its own, in order (the usual case, four times as fast).
    With several queries, the pairs of each follow those of the one before, and positions are within a query.
    """

    pairs: list[Pair]
    places: Sequence[int] | None
    queries: int = 1

    def spread(self, scores: list[Score], how: Join = "max") -> list[Score]:
        """The scores of the documents from those of the pairs; those for several queries are joined."""
        if self.queries > 1:
            count = len(scores) // self.queries
            columns = [scores[number * count : (number + 1) * count] for number in range(self.queries)]
            scores = [joined(of_queries, how) for of_queries in zip(*columns, strict=True)]
        if self.places is None:
            return scores
        return [EMPTY if place < 0 else scores[place] for place in self.places]


def score_documents(
    query: Queries,
    documents: Sequence[Document],
    scorer: Scorer,
    settings: RankSettings,
    advance: Advance | None = None,
) -> list[Score]:
    """One score per document, in order; identical texts are scored once, blank ones not at all."""
    unique = unique_pairs(query, documents)
    return unique.spread(score_pairs(unique.pairs, documents, scorer, settings, advance), settings.join)


def joined(scores: Sequence[Score], how: Join) -> Score:
    """A document's scores for several queries as one, with the window of the query that fits it best.

    The mean is that of `Score.value`, so it is of log-odds where scores are log-odds. With rrf the value is the
    highest, which breaks ties: `ranking.fuse_queries` makes the order.
    """
    values = tuple(score.value for score in scores)
    known = [value for value in values if value is not None]
    best = max(scores, key=lambda score: -math.inf if score.value is None else score.value)
    value = math.fsum(known) / len(known) if known and how == "mean" else best.value
    tokens = sum(score.tokens for score in scores)
    return best._replace(
        value=value, tokens=tokens, truncated=any(score.truncated for score in scores), by_query=values
    )


def unique_pairs(query: Queries, documents: Sequence[Document]) -> UniquePairs:
    """The distinct pairs to score. Blank documents have none."""
    if not isinstance(query, str):
        pairs, places, _ = unique_pairs(query[0], documents)
        return UniquePairs([pair._replace(query=one) for one in query for pair in pairs], places, len(query))
    texts = [document.text for document in documents]
    if len(set(texts)) == len(texts) and all(map(str.strip, texts)):  # none is blank
        titles = [document.title_chars for document in documents]
        return UniquePairs(list(map(make_pair, zip(repeat(query), texts, titles))), None)
    first: dict[tuple[str, int], int] = {}
    places = []
    for document in documents:
        text = document.text
        if is_blank(text):
            places.append(-1)
        else:
            places.append(first.setdefault((text, document.title_chars), len(first)))
    return UniquePairs([Pair(query, text, title_chars) for text, title_chars in first], places)


def score_pairs(
    pairs: Sequence[Pair],
    documents: Sequence[Document],
    scorer: Scorer,
    settings: RankSettings,
    advance: Advance | None,
) -> list[Score]:
    """Scores of the pairs, every one a finite number or None.

    Raises InputError, RemoteError or NonFiniteError with the document's name, and what else the scorer raises.
    """
    try:
        scores = scorer.score(pairs, settings.limits, advance) if pairs else []
    except DocumentError as error:
        name = describe(document_of(error.pair, documents))
        raise InputError(f"document {name} {error.problem}", error.hint) from None
    except RemoteError as error:
        name_pair(error, documents)
        raise
    require_finite(scores, pairs, documents)
    return scores


def require_finite(scores: Sequence[Score], pairs: Sequence[Pair], documents: Sequence[Document]) -> None:
    """Raise NonFiniteError naming query and document if a score is NaN or infinite: such scores cannot be ordered."""
    if all(map(isfinite, filter(None, map(itemgetter(0), scores)))):  # in C; 0 and None are both filtered out
        return
    number = next(i for i, score in enumerate(scores) if score.value is not None and not isfinite(score.value))
    raise NonFiniteError(
        f"the model gave {scores[number].value} for query {pairs[number].query[:80]!r} and document "
        f"{describe(document_of(pairs[number], documents))}",
        "such scores cannot be ordered; for a local model, try `--dtype fp32` and `rerank doctor -m MODEL`",
    )


def name_pair(error: RemoteError, documents: Sequence[Document]) -> None:
    """Add query and document to the message of an error that is about one pair."""
    if error.pair is not None:
        document = describe(document_of(error.pair, documents))
        error.message += f"; at query {error.pair.query[:80]!r}, document {document}"


def document_of(pair: Pair, documents: Sequence[Document]) -> Document:
    """The first document that a pair stands for."""
    return next(document for document in documents if (document.text, document.title_chars) == pair[1:])


def describe(document: Document) -> str:
    """How messages name a document: its id, else its input position."""
    return repr(document.id) if document.id is not None else f"{document.index} (0-based) of {document.source.name}"
