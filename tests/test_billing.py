"""Search units follow Cohere's published table."""

from __future__ import annotations

import itertools

import pytest

from rerank_cli.billing import search_units


# Cohere's table of search units.
@pytest.mark.parametrize(
    ("chunk", "documents", "query", "length", "expected"),
    [(500, 100, 20, 300, 1), (500, 101, 20, 300, 2), (500, 100, 20, 480, 1), (500, 100, 20, 481, 2), (500, 100, 20, 1000, 3),
     (500, 1000, 50, 600, 20), (500, 100, 300, 700, 4), (4096, 100, 20, 1000, 1), (4096, 100, 20, 5000, 2)],
)  # fmt: skip
def test_search_units_follow_coheres_table(chunk, documents, query, length, expected):
    assert search_units(query, itertools.repeat(length, documents), chunk) == expected
