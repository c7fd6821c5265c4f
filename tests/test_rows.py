"""Columns in place of objects: what comes out of `Rows` and `Hits` is what went in, whatever the values are."""

from __future__ import annotations

from typing import Any, NamedTuple

from free_scorer import FreeScorer
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import hits, pipeline, rows
from rerank_cli.records import Document, Score, Source
from rerank_cli.report import Report
from rerank_cli.settings import RankSettings

SOURCES = (Source("a", "line"), Source("b", "json"))
texts = st.one_of(st.text(max_size=9), st.sampled_from(["", "x" * 5000, "\ud800", "né", "漢字"]))
integers = st.one_of(st.integers(0, 9), st.integers(-(1 << 70), 1 << 70))
floats = st.one_of(st.none(), st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 1.0]))


class Record(NamedTuple):
    raw: bytes
    text: str
    number: int
    value: float | None
    flag: bool
    source: Source
    spans: tuple[Any, ...] | None


records = st.builds(
    Record,
    st.binary(max_size=9),
    texts,
    integers,
    floats,
    st.booleans(),
    st.sampled_from(SOURCES),
    st.one_of(st.none(), st.just(()), st.tuples(st.integers(0, 3))),
)


def written(some: list[Record]) -> list[str]:
    """Values with their types, so that 0.0, -0.0, 0 and False differ."""
    return [repr(row) for row in some]


@given(st.lists(records, min_size=1, max_size=6), st.integers(1, 2 * rows.BLOCK + 9), st.integers(1, 3000), st.data())
def test_rows_give_back_what_they_were_given(some, count, chunk, data) -> None:
    """In any chunks, over the ends of blocks, one by one and by column."""
    expected = [some[number * number % len(some)] for number in range(count)]
    kept = rows.Rows(Record)
    for start in range(0, count, chunk):
        kept.extend(expected[start : start + chunk])
    assert len(kept) == count
    assert written(list(kept)) == written(expected)
    positions = data.draw(st.lists(st.integers(0, count - 1), max_size=5))
    assert written(kept.take(positions)) == written([expected[place] for place in positions])
    assert [repr(kept[place]) for place in positions] == written([expected[place] for place in positions])
    for name in Record._fields:
        assert list(map(repr, kept.column(name))) == [repr(getattr(row, name)) for row in expected]
    assert written(kept[-2:]) == written(expected[-2:])


@given(st.lists(floats, min_size=1, max_size=rows.BLOCK), st.lists(floats, min_size=1, max_size=9))
def test_numbers_keep_their_sign_and_absence_over_blocks(first, second) -> None:
    values = [*(first * rows.BLOCK)[: rows.BLOCK], *(second * rows.BLOCK)[: rows.BLOCK]]
    kept = rows.Rows(Score, [Score(value) for value in values])
    assert list(map(repr, kept.column("value"))) == list(map(repr, values))


def test_hits_of_rows_are_those_of_lists() -> None:
    """Through slices, single places, iteration and columns, in score order and in input order."""
    documents = [
        Document(
            index, b"%d" % index, f"{index * 7919 % 3001} é", SOURCES[index > 1500], f"d{index}" if index % 3 else None
        )
        for index in range(3000)
    ]
    scorer, report = FreeScorer(), Report()
    for settings in (RankSettings(), RankSettings(keep_order=True, top_n=2500), RankSettings(min_score=0.9)):
        found = pipeline.rank("q", [documents[:700], documents[700:]], scorer, settings, report).hits
        expected = list(found)
        assert [found[place] for place in range(-1, len(found) - 1)] == [expected[-1], *expected[:-1]]
        assert found[10:30] == expected[10:30]
        for name in ("index", "rank", "relevance_score", "fused_score", "staged", "raw", "text", "source", "id"):
            assert hits.column(found, name) == hits.column(expected, name)
        scores = scorer.score([(0, document.text, 0) for document in documents], None)
        assert list(pipeline.select(documents, scores, settings, scorer.info)) == expected
