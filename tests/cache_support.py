"""Small score caches for tests, and what SQLite may hold in place of a value."""

from __future__ import annotations

import random

from rerank_cli.cache import ScoreCache
from rerank_cli.records import Score
from rerank_cli.report import Report

VALUES = [
    "NULL",
    "1",
    "-1",
    "1.5",
    "9e999",
    "''",
    "'text'",
    "X'00'",
    "zeroblob(29)",
    "CAST(X'FFFE' AS TEXT)",
    "1 << 62",
]


def opened(path, report=None, **options):
    return ScoreCache(path, report or Report(), **options)


def key(number: int) -> bytes:
    return random.Random(number).randbytes(16)


def fill(path, count: int, first: int = 0) -> dict[bytes, Score]:
    known = {key(i): Score(i / 7, i, 1, (0, i), False) for i in range(first, first + count)}
    store = opened(path)
    store.put(known)
    store.close()
    return known
