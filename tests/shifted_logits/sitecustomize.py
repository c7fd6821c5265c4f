"""Shifts the embedded model's logits as another processor might: Python loads it where this folder is on PYTHONPATH.

Instruction sets round differently, which 8-bit weights turn into hundredths of a logit. What a test or a page shows
must not depend on it. Nothing in the package reads these variables:

    SHIFTED_LOGITS=7      every window by +0.06 or -0.06, from a hash of 7 and its tokens
    SHIFTED_LOGITS=worst  neighbours of a ranking closer than 0.15 change places, the others shift as above
    NEAR_TIES=FILE        such neighbours are added to FILE, one JSON object per line
"""

from __future__ import annotations

import json
import math
import os
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

MOVED = 0.06  # logits
CLOSE = 0.15  # logits: more than two moves can turn round, with some room for the machine that recorded the page
SWAPPED = 0.005  # logits between two that changed places


class NearTie(NamedTuple):
    """Two neighbours of a ranking, or a document and --min-score, that are too close."""

    rank: int
    apart: float
    upper: float
    lower: float  # the threshold, if `other` is empty
    text: str
    other: str


def move(seed: str, what: str) -> float:
    """+0.06 or -0.06: the ends of the interval, because they turn round more than what is between them."""
    return MOVED if blake2b(f"{seed} {what}".encode(), digest_size=1).digest()[0] & 1 else -MOVED


def near_ties(rows: list[tuple[float, str]], top_n: int | None, threshold: float | None) -> list[NearTie]:
    """Neighbours closer than CLOSE of which at least one is shown. Equal logits are no near tie: they are equal anywhere.

    `rows` are (logit, text); `threshold` is --min-score as a logit.
    """
    best = sorted(dict(rows).items(), reverse=True)
    shown = len(best) if threshold is None else sum(value >= threshold for value, _ in best)
    shown = min(shown, len(best) if top_n is None else top_n)
    pairs = enumerate(zip(best[:shown], best[1:], strict=False), start=1)
    found = [
        NearTie(rank, one[0] - two[0], one[0], two[0], one[1], two[1])
        for rank, (one, two) in pairs
        if one[0] - two[0] < CLOSE and (threshold is None or two[0] >= threshold)
    ]
    for rank, (value, text) in enumerate(best[: shown + 1], start=1):
        if threshold is not None and abs(value - threshold) < CLOSE:
            found.append(NearTie(rank, abs(value - threshold), value, threshold, text, ""))
    return found


def worst(values: list[float], ties: list[NearTie]) -> dict[float, float]:
    """What each logit becomes: near ties swapped (of three in a row the first two), the others shifted."""
    moved = {value: value + move("worst", repr(value)) for value in values}
    done: set[float] = set()
    for tie in ties:
        if not tie.other:
            moved[tie.upper] = tie.lower + (-SWAPPED if tie.upper >= tie.lower else SWAPPED)
        elif not done & {tie.upper, tie.lower}:
            middle = (tie.upper + tie.lower) / 2
            moved[tie.upper], moved[tie.lower] = middle - SWAPPED / 2, middle + SWAPPED / 2
            done |= {tie.upper, tie.lower}
    return moved


def report(ties: list[NearTie], path: str) -> None:
    """Add near ties to a file that other processes may be adding to."""
    lines = "".join(json.dumps(tie._asdict()) + "\n" for tie in ties)
    with Path(path).open("a") as file:
        file.write(lines)


def move_windows(seed: str) -> None:
    """Every score of the embedded model moves before anything else sees it."""
    from rerank_cli.scorers.local import LocalScorer

    plain = LocalScorer._batch

    def batch(self, items):
        values = plain(self, items)
        if self.info.model != "builtin":
            return values
        return [value + move(seed, f"{item.ids}") for item, value in zip(items, values, strict=True)]

    LocalScorer._batch = batch


def watch_rankings(path: str | None, *, swap: bool) -> None:
    """Report near ties where rankings are cut, which is where all scores of a query are together; turn them round."""
    from rerank_cli import pipeline

    plain = pipeline.select

    def select(documents, scores, settings, facts):
        if facts.model != "builtin":
            return plain(documents, scores, settings, facts)
        rows = [(s.value, d.text) for s, d in zip(scores, documents, strict=True) if s.value is not None]
        limit = settings.min_score
        threshold = None if limit is None else limit if settings.raw_scores else logit(limit)
        ties = near_ties(rows, settings.top_n, threshold)
        if path and ties:
            report(ties, path)
        if swap:
            moved = worst([value for value, _ in rows], ties)
            scores = [s if s.value is None else s._replace(value=moved[s.value]) for s in scores]
        return plain(documents, scores, settings, facts)

    pipeline.select = select
    pipeline.trim = lambda documents, scores, _settings, _facts: (documents, scores)  # `select` cuts; trim saves memory


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    if not 0 < probability < 1:
        return math.copysign(math.inf, probability - 0.5)
    return math.log(probability / (1 - probability))


def install() -> None:
    """Do what the variables say."""
    seed, path = os.environ.get("SHIFTED_LOGITS"), os.environ.get("NEAR_TIES")
    if seed and seed != "worst":
        move_windows(seed)
    if seed == "worst" or path:
        watch_rankings(path, swap=seed == "worst")


install()
