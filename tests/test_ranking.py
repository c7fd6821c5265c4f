"""From scores to a ranking: order, ties, thresholds, fusion, windows and deduplication."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from free_scorer import NO_NUMBER, FreeScorer
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import pipeline, ranking, windows
from rerank_cli.errors import ModelError
from rerank_cli.records import Document, Score, Source
from rerank_cli.report import Report
from rerank_cli.settings import RankSettings, StageSettings

SOURCE = Source("test", "line")
scores = st.one_of(st.none(), st.floats(-30, 30), st.sampled_from([0.0, 1.0, -1.0]))


def documents(texts: list[str], priors: list[float] | None = None) -> list[Document]:
    return [
        Document(i, text.encode(), text, SOURCE, None, 0, priors[i] if priors else None) for i, text in enumerate(texts)
    ]


def rank(texts: list[str], chunk: int = 1000, priors: list[float] | None = None, **settings):
    made = documents(texts, priors)
    chunks = [made[i : i + chunk] for i in range(0, len(made), chunk)]
    return pipeline.rank("q", chunks, FreeScorer(), RankSettings(**settings), Report())


def test_sigmoid_never_overflows_and_keeps_order() -> None:
    assert ranking.sigmoid(0) == 0.5
    assert ranking.sigmoid(1000) == 1.0
    assert ranking.sigmoid(-1000) == 0.0
    assert ranking.sigmoid(2) == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-15)


@given(st.lists(scores))
def test_order_is_total_empty_last_then_score_then_position(values) -> None:
    found = ranking.order(values)
    assert sorted(found) == list(range(len(values)))
    keys = [(values[i] is None, -(values[i] or 0.0), i) for i in found]
    assert keys == sorted(keys)


@given(
    st.lists(st.sampled_from(["3 x", "3 y", "1 z", "-2 w", "7 v", "", " "]), max_size=40),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_top_n_by_chunks_equals_the_head_of_the_whole_ranking(texts, n, chunk) -> None:
    whole = rank(texts)
    cut = rank(texts, chunk=chunk, top_n=n)
    assert [(h.index, h.rank) for h in cut.hits] == [(h.index, h.rank) for h in whole.hits[:n]]
    assert cut.meta.documents == len(texts)


@given(st.lists(st.sampled_from(["3 x", "0.1 y", "-1 z", ""]), max_size=30), st.floats(0, 1), st.integers(1, 7))
def test_min_score_compares_the_number_shown(texts, threshold, chunk) -> None:
    found = rank(texts, chunk=chunk, min_score=threshold)
    whole = [h for h in rank(texts).hits if h.relevance_score is not None and h.relevance_score >= threshold]
    assert [h.index for h in found.hits] == [h.index for h in whole]


def test_keep_order_prints_ranks_in_input_order() -> None:
    found = rank(["1 a", "5 b", "3 c"], keep_order=True)
    assert [(h.index, h.rank) for h in found.hits] == [(0, 3), (1, 1), (2, 2)]
    assert [h.index for h in rank(["1 a", "5 b", "3 c"], keep_order=True, top_n=2).hits] == [1, 2]


def test_identical_texts_are_scored_once_and_dedupe_drops_them() -> None:
    scorer = FreeScorer()
    made = documents(["2 same", "1 other", "2 same", ""])
    found = pipeline.rank("q", [made], scorer, RankSettings(), Report())
    assert scorer.seen == 2
    assert [h.index for h in found.hits] == [0, 2, 1, 3]
    report = Report()
    found = pipeline.rank(
        "q", [made[:2], made[2:]], FreeScorer(), RankSettings(stages=StageSettings(dedupe="exact")), report
    )
    assert [h.index for h in found.hits] == [0, 1, 3]
    assert "repeats the text" in report.warnings()[1]


def test_a_nan_score_names_query_and_document() -> None:
    with pytest.raises(ModelError, match=r"nan for query 'q' and document 1 \(0-based\) of test"):
        rank(["1 a", f"{NO_NUMBER} b"])


def test_raw_scores_show_logits() -> None:
    assert rank(["2 a"], raw_scores=True).hits[0].relevance_score == 2.0
    assert rank(["2 a"], raw_scores=True).meta.score_scale == "logit"
    assert rank(["2 a"]).hits[0].relevance_score == ranking.sigmoid(2.0)


def test_rrf_and_weighted_fusion_by_hand() -> None:
    priors = [0.1, 0.9, 0.5]
    found = rank(["3 a", "1 b", "2 c"], priors=priors, fusion="rrf", weight=2.0)
    by_index = {h.index: h.fused_score for h in found.hits}
    assert by_index[0] == pytest.approx(1 / 61 + 2 / 63)
    assert by_index[1] == pytest.approx(1 / 63 + 2 / 61)
    assert found.hits[0].index == 1
    assert found.hits[0].relevance_score == ranking.sigmoid(1.0)
    found = rank(["3 a", "1 b", "2 c"], priors=priors, fusion="weighted", weight=0.25)
    by_index = {h.index: h.fused_score for h in found.hits}
    assert by_index[1] == pytest.approx(0.25 * ranking.sigmoid(1) + 0.75 * 1.0)
    assert by_index[0] == pytest.approx(0.25 * ranking.sigmoid(3) + 0.0)


def test_rrf_of_two_documents_that_swap_is_a_tie_and_the_relevance_score_breaks_it() -> None:
    """By hand: 1/61 + 1/62 for both, so the retriever's first may lose its place."""
    found = rank(["1 a", "3 b"], priors=[9.0, 8.0], fusion="rrf", weight=1.0)
    assert [hit.index for hit in found.hits] == [1, 0]
    assert {hit.fused_score for hit in found.hits} == {(61 + 62) / (61 * 62)}
    assert [hit.rank for hit in found.hits] == [1, 2]


@pytest.mark.parametrize(
    ("logits", "order"),  # the retriever ranks the documents 0, 1, 2
    [
        ((3, 2, 1), [0, 1, 2]),
        ((2, 3, 1), [1, 0, 2]),  # 1/61+1/62 twice: a tie
        ((3, 1, 2), [0, 2, 1]),  # 1/62+1/63 twice: a tie
        ((1, 2, 3), [2, 0, 1]),  # 1/61+1/63 twice, above 1/62+1/62
        ((1, 3, 2), [1, 0, 2]),  # 1/61+1/62, then 1/61+1/63, then 1/62+1/63
        ((2, 1, 3), [0, 2, 1]),  # 1/61+1/62, then 1/61+1/63, then 1/62+1/63
    ],
)
def test_rrf_of_three_documents_by_hand(logits: tuple[int, ...], order: list[int]) -> None:
    found = rank(
        [f"{logit} {number}" for number, logit in enumerate(logits)], priors=[3.0, 2.0, 1.0], fusion="rrf", weight=1.0
    )
    assert [hit.index for hit in found.hits] == order


def test_equal_sums_of_other_ranks_are_equal_exactly() -> None:
    """1/70 + 1/105 = 1/84 + 1/84, which floats added one by one need not give."""
    values = [float(-n) for n in range(45)]
    priors = [0.0] * 45
    places = {9: 45, 23: 24}  # the position in the model's order: the rank by the prior
    others = iter(rank for rank in range(1, 46) if rank not in places.values())
    for position in range(45):
        priors[position] = -float(places.get(position) or next(others))
    fused = ranking.fuse(values, priors, "rrf", 1.0)
    assert fused[9] == fused[23] == 1 / 42


@given(st.permutations(range(8)))
def test_fused_ties_go_to_the_higher_relevance_score(logits: list[int]) -> None:
    found = rank([f"{n} t" for n in logits], priors=[float(-n) for n in range(8)], fusion="rrf", weight=1.0)
    keys = [(hit.fused_score, hit.relevance_score) for hit in found.hits]
    assert keys == sorted(keys, reverse=True)


@given(st.lists(st.tuples(scores, st.floats(-5, 5)), max_size=30), st.floats(0, 2))
def test_fusion_without_weight_on_the_prior_is_the_models_order(pairs, weight) -> None:
    values, priors = [v for v, _ in pairs], [p for _, p in pairs]
    fused = ranking.fuse(values, priors, "rrf", 0.0)
    assert ranking.order(fused) == ranking.order(values)
    again = ranking.fuse(values, priors, "rrf", weight)
    assert [f is None for f in again] == [v is None for v in values]


@given(st.lists(st.floats(-5, 5), max_size=30))
def test_percentile_ranks_lie_between_0_and_1_and_ties_share(values) -> None:
    found = ranking.percentile_ranks(values)
    assert all(0 <= share <= 1 for share in found)
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (a < b) <= (found[i] < found[j])
            assert (a == b) <= (found[i] == found[j])


@given(st.integers(1, 3000), st.integers(2, 300), st.integers(1, 200), st.integers(0, 10**9))
def test_windows_cover_everything_and_never_exceed_their_size(tokens, window, overlap, seed) -> None:
    import random

    chance = random.Random(seed)
    starts = [chance.random() < 0.5 for _ in range(tokens)]
    spans = windows.split(tokens, window, overlap, starts)
    assert spans[0].start == 0 or not any(starts[: spans[0].start])
    assert spans[-1].end == tokens
    assert all(0 < span.end - span.start <= window for span in spans)
    for before, after in zip(spans, spans[1:], strict=False):
        assert before.start < after.start <= before.end


def test_the_best_window_is_the_first_of_the_highest() -> None:
    assert windows.best([1.0, 3.0, 3.0]) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_window_with_a_nan_score_is_not_lost(bad: float) -> None:
    assert windows.best([1.0, bad, 3.0]) == 1


def test_mostly_non_latin_text_gives_one_warning_with_an_english_model() -> None:
    scorer = FreeScorer()
    scorer.info = replace(scorer.info, english_only=True)
    report = Report()
    pipeline.rank("столица", [documents(["Вашингтон столица", "Москва"])], scorer, RankSettings(), report)
    assert len(report.warnings()) == 1
    assert "multilingual" in report.warnings()[0]
    report = Report()
    pipeline.rank(
        "capital", [documents(["Zürich", "Orléans — Москва and more English words"])], scorer, RankSettings(), report
    )
    assert report.warnings() == ()


def test_an_empty_score_is_counted_and_last() -> None:
    report = Report()
    found = pipeline.rank("q", [documents(["", "1 a"])], FreeScorer(), RankSettings(), report)
    assert [h.index for h in found.hits] == [1, 0]
    assert found.hits[1].relevance_score is None
    assert found.hits[1].score == Score(None, 0, 0)
    assert "1 document is empty" in report.warnings()[0]
