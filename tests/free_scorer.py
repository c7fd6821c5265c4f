"""A scorer that costs nothing, for tests of order, memory, streaming and throughput rather than of scores."""

from __future__ import annotations

import math

from rerank_cli.records import Score
from rerank_cli.scorers.base import ScorerInfo

NO_NUMBER = "no-number"  # a text that begins so has the logit NaN


class FreeScorer:
    """Logit = the finite number at the start of the text, else its length modulo 97."""

    info = ScorerInfo("free", None, "none", "fp64", "log-odds", lambda: "free")

    def __init__(self) -> None:
        self.calls = 0
        self.seen = 0

    def score(self, pairs, limits, advance=None):
        self.calls += 1
        self.seen += len(pairs)
        return [Score(value_of(text)) for _, text, _ in pairs]

    def usage(self):
        return {}

    def close(self):
        pass


def value_of(text: str) -> float:
    first = text.split(" ", 1)[0]
    if first == NO_NUMBER:
        return math.nan
    try:
        value = float(first)
    except ValueError:
        value = math.inf
    return value if math.isfinite(value) else float(len(text) % 97)
