"""Diversity: each next document is relevant and unlike those before it (maximal marginal relevance).

Carbonell and Goldstein 1998, "The use of MMR": (1 - D) * relevance - D * the greatest similarity to a document above,
where similarity is the cosine of TF-IDF vectors. It does not know where relevance comes from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from zlib import crc32

from rerank_cli.stages.base import Change, with_effect
from rerank_cli.stages.words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rerank_cli.records import Hit
    from rerank_cli.settings import StageSettings
    from rerank_cli.stages.base import Context

NAME = "diversity"
POOL = 1000  # of the best documents: those below keep their order, since nobody reads so far
COLUMNS = 1024  # of the vectors; exact for as many words that documents share, and a sketch of them beyond


def make(settings: StageSettings) -> Callable[[list[Hit], Context], Change] | None:
    """The stage, None without diversity."""
    share = settings.diversity
    if not share:
        return None

    def apply(hits: list[Hit], context: Context) -> Change:
        scored = [hit for hit in hits if hit.relevance_score is not None]
        relevance = relevances(scored, context)
        pool = min(len(scored), POOL)
        picks = marginal([hit.document.text for hit in scored[:pool]], relevance[:pool], share, context.top_n or pool)
        order = [place for place, *_ in picks]
        chosen = [
            with_effect(
                scored[place], NAME, {"similarity": near, "to": scored[other].index if other >= 0 else None}, value
            )
            for place, value, near, other in picks
        ]
        rest = sorted(set(range(len(scored))) - set(order))
        # As if each had a double above it: no score of the rest exceeds one of the chosen.
        below = [with_effect(scored[place], NAME, {}, (1 - share) * relevance[place] - share) for place in rest]
        return Change([*chosen, *below, *(hit for hit in hits if hit.relevance_score is None)])

    return apply


def relevances(hits: Sequence[Hit], context: Context) -> list[float]:
    """Relevance between 0 and 1: the probability, or where scores are on another scale, the share of hits below."""
    if context.calibrated:
        return [context.probability(hit) or 0.0 for hit in hits]
    return [1.0 - place / len(hits) for place in range(len(hits))]


def marginal(
    texts: Sequence[str], relevance: Sequence[float], share: float, count: int
) -> list[tuple[int, float, float, int]]:
    """Position, marginal relevance, greatest similarity and to which position, of `count` documents, best first."""
    import numpy as np

    vectors = tf_idf(texts)
    similar = vectors @ vectors.T if count > len(texts) // 8 else None
    own = (1.0 - share) * np.asarray(relevance)
    nearest, to = np.zeros(len(texts)), np.full(len(texts), -1)
    value = own.copy()
    picks = []
    for _ in range(min(count, len(texts))):
        best = int(value.argmax())  # the first of equals: the more relevant one
        picks.append((best, float(value[best]), float(nearest[best]), int(to[best])))
        row = vectors @ vectors[best] if similar is None else similar[best]
        closer = row > nearest
        nearest[closer], to[closer] = row[closer], best
        value = np.where(np.isneginf(value), value, own - share * nearest)
        value[best] = -math.inf
    return picks


def tf_idf(texts: Sequence[str]) -> NDArray[Any]:
    """One row of length 1 per text, or of zeros for one without a word that others lack.

    (1 + ln tf) * ln(N / df). Words of one text only make its vector longer, so they need no column. Words beyond the
    number of columns share them, with signs that let them cancel out (Weinberger et al. 2009, "Feature hashing").
    """
    import numpy as np

    words = [words_of(text) for text in texts]
    number: dict[str, int] = {}
    every = np.array([number.setdefault(word, len(number)) for each in words for word in each], dtype=np.int64)
    row = np.repeat(np.arange(len(texts)), [len(each) for each in words])
    pairs, counts = np.unique(row * len(number) + every, return_counts=True)
    row, word = np.divmod(pairs, max(1, len(number)))
    frequency = np.bincount(word, minlength=len(number))
    value = (1.0 + np.log(counts)) * np.log(len(texts) / frequency[word])
    length = np.sqrt(np.bincount(row, value * value, minlength=len(texts)))
    value /= np.where(length > 0, length, 1.0)[row]
    place = np.cumsum(frequency > 1) - 1  # the column of each word that several texts have
    sign = np.ones(len(number))
    sign[place >= COLUMNS] = [
        1 - 2 * (crc32(name.encode()) & 1) for name, at in zip(number, place, strict=True) if at >= COLUMNS
    ]
    shared = frequency[word] > 1
    at = row[shared] * COLUMNS + place[word[shared]] % COLUMNS
    flat = np.bincount(at, (value * sign[word])[shared], minlength=len(texts) * COLUMNS)
    matrix: NDArray[Any] = flat.reshape(len(texts), COLUMNS).astype(np.float32)
    return matrix
