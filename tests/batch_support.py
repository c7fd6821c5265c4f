"""Requests for the tests of `rerank batch`, the same on every run."""

from __future__ import annotations

import json
import random
from typing import Any

from conftest import PROGRAM

BATCH = [*PROGRAM, "batch"]
WORDS = "capital city bread butter state river bank water loan money".split()


def rows(count: int, documents: int = 3, bad: frozenset[int] = frozenset()) -> str:
    """JSON Lines of requests without ids whose documents begin with a number; the `bad` rows are not JSON."""
    lines = []
    for number in range(count):
        texts = [f"{number * 31 + i} {WORDS[(number + i) % 10]}" for i in range(documents)]
        lines.append("{broken" if number in bad else json.dumps({"query": WORDS[number % 10], "documents": texts}))
    return "\n".join(lines) + "\n"


def random_request(chance: random.Random) -> dict[str, Any]:
    """One to six documents of random words, and a query of three."""
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(2, 12))) for _ in range(chance.randint(1, 6))]
    return {"query": " ".join(chance.choices(WORDS, k=3)), "documents": texts}


def many(count: int) -> str:
    """JSON Lines of random requests with ids."""
    chance = random.Random(7)
    return "".join(json.dumps({"id": f"r{number}", **random_request(chance)}) + "\n" for number in range(count))


def lines(count: int, name: str = "") -> list[str]:
    """Random requests as JSON; two of three have an id, which begins with `name`."""
    chance = random.Random(name)
    requests = [random_request(chance) for _ in range(count)]
    return [
        json.dumps(request | ({"id": f"{name}{number}"} if number % 3 else {}))
        for number, request in enumerate(requests)
    ]
