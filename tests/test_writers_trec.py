"""TREC runs keep our order in trec_eval, which stores narrow floats and breaks ties by id."""

from __future__ import annotations

import math
import struct

import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st
from writers_support import document, ranking, write

from rerank_cli.errors import InputError, UsageError
from rerank_cli.report import Report
from rerank_cli.writers.trec import decreasing, next_below


def order_by_trec_eval(run: bytes, ids: list[str]) -> list[str]:
    """The order trec_eval sees: with one relevant document at a time, its reciprocal rank tells its place."""
    parsed = pytrec_eval.parse_run(run.decode().splitlines())["1"]
    judged = {name: {name: 1} for name in ids}
    found = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(dict.fromkeys(ids, parsed))
    return sorted(ids, key=lambda name: -found[name]["recip_rank"])


@pytest.mark.parametrize("gap", [0.0, 1e-8, 1e-12])
@pytest.mark.parametrize("start", [1.0, 0.9, 1e-5, 0.0, -3.0])
def test_a_thousand_near_equal_scores_keep_their_order(gap: float, start: float) -> None:
    ids = [f"d{(i * 7919) % 1000:04}" for i in range(1000)]  # in no order of their own
    documents = [document("{}", id=name) for name in ids]
    run = write(ranking(documents, [start - i * gap for i in range(1000)]), "trec")
    assert order_by_trec_eval(run, ids) == ids


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_written_scores_fall_strictly_as_float32(scores: list[float]) -> None:
    scores.sort(reverse=True)
    written = [float(f"{score:.9g}") for score in decreasing(scores)]
    read = [struct.unpack("<f", struct.pack("<f", score))[0] for score in written if abs(score) < 3.4e38]
    assert all(a > b for a, b in zip(read, read[1:], strict=False))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**100)))
def test_next_below_is_the_neighbour(number: float) -> None:
    below = next_below(number)
    assert below < number
    middle = (below + number) / 2
    assert struct.unpack("<f", struct.pack("<f", middle))[0] in {below, number}
    assert math.copysign(1, below) == -1 or number > 0


def test_empty_documents_are_last_and_input_order_goes_by_rank() -> None:
    ranked = ranking([document("{}", id=name) for name in "abc"], [0.5, None, 0.25])
    shuffled = ranked.__class__(ranked.query, [ranked.hits[2], ranked.hits[1], ranked.hits[0]], ranked.meta)
    assert write(shuffled, "trec") == b"1 Q0 a 1 0.5 rerank\n1 Q0 c 2 0.25 rerank\n1 Q0 b 3 0.249999985 rerank\n"


def test_the_fused_score_orders_a_fused_run() -> None:
    ranked = ranking([document("{}", id=name) for name in "ab"], [0.1, 0.9])
    hits = [hit._replace(fused_score=score) for hit, score in zip(ranked.hits, (0.03125, 0.015625), strict=True)]
    assert (
        write(ranked.__class__("q", hits, ranked.meta), "trec")
        == b"1 Q0 a 1 0.03125 rerank\n1 Q0 b 2 0.015625 rerank\n"
    )


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "\u2003a", "a\u00a0b"])
def test_white_space_in_an_id_is_an_error_before_anything_is_written(name: str) -> None:
    with pytest.raises(InputError, match="white space"):
        write(ranking([document("{}", id="fine"), document("{}", id=name)]), "trec")


@pytest.mark.parametrize("settings", [{"query_id": "a b"}, {"run_tag": ""}])
def test_white_space_in_query_id_and_run_tag_is_a_usage_error(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="TREC"):
        write(ranking([document("{}", id="a")]), "trec", **settings)


def test_missing_and_repeated_ids_are_reported() -> None:
    report = Report()
    out = write(ranking([document("{}"), document("{}", id="a"), document("{}", id="a")]), "trec", report=report)
    assert out.startswith(b"1 Q0 3 1 ")
    assert report.counts["missing_id"] == 1
    assert any("share an id (for example 'a'" in warning for warning in report.warnings())
