"""Kendall's tau-b and rank-biased overlap equal their definitions, written out naively."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_cli.evaluation.correlation import Move, compare, compare_query, kendall_tau, rank_biased_overlap

numbers = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12)
order = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10)


def naive_tau(pairs):
    concordant = discordant = only_a = only_b = 0
    for (a, b), (c, d) in itertools.combinations(pairs, 2):
        if a == c and b == d:
            continue
        if a == c:
            only_a += 1
        elif b == d:
            only_b += 1
        elif (a - c) * (b - d) > 0:
            concordant += 1
        else:
            discordant += 1
    scale = ((concordant + discordant + only_a) * (concordant + discordant + only_b)) ** 0.5
    return (concordant - discordant) / scale if scale else None


@given(numbers)
@settings(deadline=None)
def test_tau_b_equals_its_definition(pairs):
    found = kendall_tau([a for a, _ in pairs], [b for _, b in pairs])
    expected = naive_tau(pairs)
    assert found is expected is None or found == pytest.approx(expected)


def naive_rbo_ext(first, second, p):
    """Webber et al., equation 32, with the agreement of each depth counted from sets."""
    short, long = sorted((first, second), key=len)
    few, many = len(short), len(long)
    x = [0] + [len(set(short[:d]) & set(long[:d])) for d in range(1, many + 1)]
    total = sum(x[d] / d * p**d for d in range(1, many + 1))
    total += sum(x[few] * (d - few) / (few * d) * p**d for d in range(few + 1, many + 1))
    return (1 - p) / p * total + ((x[many] - x[few]) / many + x[few] / few) * p**many


@given(order, order, st.sampled_from([0.5, 0.9, 0.98]))
@settings(deadline=None)
def test_rbo_equals_webbers_extrapolation(first, second, p):
    found = rank_biased_overlap(first, second, p)
    if first and second:
        assert found == pytest.approx(naive_rbo_ext(first, second, p))
    else:
        assert found == (1.0 if first == second else 0.0)
    assert found == pytest.approx(rank_biased_overlap(second, first, p))


def test_rbo_has_known_values():
    assert rank_biased_overlap("abc", "abc") == pytest.approx(1.0)
    assert rank_biased_overlap("abc", "xyz") == 0.0
    # one swap at the top of two: agreement 0 at depth 1, full at depth 2
    assert rank_biased_overlap("ab", "ba", 0.9) == pytest.approx(0.1 / 0.9 * 0.81 + 0.81)


def test_a_comparison_lists_moved_new_and_lost_documents():
    change = compare_query("q", {"a": 3.0, "b": 2.0, "c": 1.0}, {"b": 3.0, "a": 2.0, "d": 1.0})
    assert change.moves == (Move("b", 2, 1), Move("a", 1, 2), Move("d", None, 3), Move("c", 3, None))
    assert (change.common, change.tau, change.top_changed) == (2, -1.0, True)
    cut = compare_query("q", {"a": 3.0, "b": 2.0}, {"a": 3.0, "x": 2.5, "b": 2.0}, depth=1)
    assert cut.moves == (Move("a", 1, 1),)
    assert cut.tau is None


def test_queries_of_either_run_are_listed_once():
    changes = compare({"1": {"a": 1.0}, "2": {}}, {"2": {}, "3": {"a": 1.0}})
    assert [(c.query, c.rbo) for c in changes] == [("1", 0.0), ("2", 1.0), ("3", 0.0)]
