"""What holds for any documents and any stages: nothing is lost or invented, and scores fall along the ranks."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from free_scorer import FreeScorer
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import pipeline
from rerank_cli.records import Document, Source
from rerank_cli.report import Report
from rerank_cli.settings import RankSettings, StageSettings
from rerank_cli.stages import boosts
from rerank_cli.stages.near_duplicates import duplicates, jaccard, shingles
from rerank_cli.stages.words import words_of

SOURCE = Source("test", "json")
WORDS = st.lists(st.sampled_from(["red", "green", "apple", "pear", "tree", "首都", "東京"]), max_size=12).map(" ".join)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "date": st.sampled_from(["2024-01-01", "2020-06-01T12:00:00+02:00", 1706659200, "soon", None]),
        "stars": st.integers(-5, 5) | st.just("many"),
        "group": st.sampled_from(["x", "y", "", None]),
    },
)
DOCUMENT = st.tuples(st.integers(-6, 6), WORDS, FIELDS)
QUERIES = st.sampled_from(["q", ("q", "r"), ("q", "r", "s")])
SETTINGS = st.builds(
    StageSettings,
    recency=st.sampled_from([None, "date"]),
    boost=st.sampled_from([(), ("group=x:3",), ("group=x:100", "stars=1:0.01")]),
    boost_field=st.sampled_from([None, "stars"]),
    dedupe=st.sampled_from([None, "exact", "near", "near=0.5"]),
    cutoff=st.sampled_from([None, "gap", "auto", "50%"]),
    group_by=st.just("group"),
    group_size=st.sampled_from([None, 2, 3]),
    diversity=st.sampled_from([None, 0.3, 1.0]),
    max_context_tokens=st.sampled_from([None, 3, 20, 60, 1000]),
    highlight=st.sampled_from([None, 1, 3]),
) | st.builds(
    StageSettings,
    recency=st.sampled_from([None, "date"]),
    dedupe=st.sampled_from([None, "near"]),
    cutoff=st.sampled_from([None, "gap", "auto"]),
    diversity=st.sampled_from([None, 0.3]),
    max_context_tokens=st.sampled_from([None, 20, 60]),
    highlight=st.sampled_from([None, 2]),
)


def documents(rows: list[tuple[int, str, dict[str, Any]]]) -> list[Document]:
    texts = [f"{logit} {words}" if logit < 6 else "" for logit, words, _ in rows]
    raws = [json.dumps({"text": text, **fields}).encode() for text, (_, _, fields) in zip(texts, rows, strict=True)]
    return [Document(i, raw, text, SOURCE) for i, (raw, text) in enumerate(zip(raws, texts, strict=True))]


class ByQuery(FreeScorer):
    """Each query orders the documents in another way."""

    def score(self, pairs, limits, advance=None):
        plain = super().score(pairs, limits, advance)
        turns = {"q": 0, "r": 3, "s": 5}
        return [
            score._replace(value=(score.value + len(pair.text) * turns[pair.query]) % 7 - 3 if turns[pair.query] else score.value)
            for pair, score in zip(pairs, plain, strict=True)
        ]  # fmt: skip


def rank(rows: list[Any], stages: StageSettings, query: Any = "q", **settings: Any) -> Any:
    report = Report()
    given = documents(rows)
    ranking = pipeline.rank(query, [given], ByQuery(), RankSettings(stages=stages, **settings), report)
    return ranking, report


@given(
    rows=st.lists(DOCUMENT, max_size=12),
    stages=SETTINGS,
    query=QUERIES,
    join=st.sampled_from(["max", "mean"]),
    top_n=st.sampled_from([None, 1, 3]),
)
def test_nothing_is_lost_uncounted_or_invented(rows, stages, query, join, top_n) -> None:
    ranking, report = rank(rows, stages, query, top_n=top_n, join=join)
    shown = [hit.index for hit in ranking.hits]
    removed = [row["index"] for stage in ranking.meta.stages for row in stage.get("removed", [])]
    assert len({*shown, *removed}) == len(shown) + len(removed)
    assert {*shown, *removed} <= set(range(len(rows)))
    kept = len(rows) - report.counts["duplicates"]
    cut = top_n or kept
    for stage in ranking.meta.stages:
        # -n is not reported; only a budget and highlights come after it.
        kept = min(kept, cut) if stage["stage"] in {"budget", "highlights"} else kept
        assert stage["documents"] == kept
        kept = stage["kept"]
        assert stage["documents"] - kept == len(stage.get("removed", ()))
    assert len(shown) == min(kept, cut)
    assert [hit.rank for hit in ranking.hits] == list(range(1, len(shown) + 1))
    assert report.counts["context_left_out"] == sum(
        len(stage.get("removed", ())) for stage in ranking.meta.stages if stage["stage"] == "budget"
    )


@given(rows=st.lists(DOCUMENT, max_size=12), stages=SETTINGS, query=QUERIES, join=st.sampled_from(["max", "mean"]))
def test_a_budget_holds_and_highlights_slice_what_is_shown(rows, stages, query, join) -> None:
    ranking, _ = rank(rows, stages, query, join=join)
    most, place = stages.max_context_tokens, None
    for hit in ranking.hits:
        place = hit.staged.place if hit.staged else None
        assert (place is None) == (most is None)
        for mark in hit.highlights or ():
            text = hit.document.text[mark.start : mark.end]
            assert text == text.strip() != ""
            assert place is None or mark.end <= place.end
        assert len(hit.highlights or ()) <= (stages.highlight or 0)
    if most is not None:
        assert sum(hit.staged.place.tokens for hit in ranking.hits) <= most
        assert not any(hit.staged.place.truncated for hit in ranking.hits[:-1]), "only the last one is cut"


@given(rows=st.lists(DOCUMENT, max_size=12), stages=SETTINGS)
def test_scores_fall_along_the_ranks_and_the_models_stay(rows, stages) -> None:
    ranking, _ = rank(rows, stages)
    scores = [hit.order_score for hit in ranking.hits if hit.relevance_score is not None]
    assert all(above >= below - 1e-9 for above, below in zip(scores, scores[1:], strict=False))
    empty = [hit.relevance_score is None for hit in ranking.hits]
    assert empty == sorted(empty), "empty documents are last"
    plain = {hit.index: hit.relevance_score for hit in rank(rows, StageSettings())[0].hits}
    assert all(hit.relevance_score == plain[hit.index] for hit in ranking.hits)
    assert rank(rows, stages)[0] == ranking, "the same input gives the same output"


@pytest.mark.parametrize(
    "stages",
    [StageSettings(dedupe="near=0.5"), StageSettings(cutoff="auto"), StageSettings(cutoff="50%"),
     StageSettings(group_by="group")],
    ids=["dedupe", "auto", "share", "group"],
)  # fmt: skip
@given(rows=st.lists(DOCUMENT, max_size=12))
def test_what_only_removes_removes_nothing_the_second_time(rows, stages) -> None:
    first = [hit.index for hit in rank(rows, stages)[0].hits]
    again = [hit.index for hit in rank([rows[index] for index in first], stages)[0].hits]
    assert again == list(range(len(first)))


@given(rows=st.lists(DOCUMENT, max_size=12), stages=SETTINGS)
def test_a_boost_alone_lifts_no_irrelevant_document_over_a_relevant_one(rows, stages) -> None:
    only = StageSettings(recency=stages.recency, boost=stages.boost, boost_field=stages.boost_field)
    relevant = [hit.score.value >= 0 for hit in rank(rows, only)[0].hits if hit.score.value is not None]
    assert relevant == sorted(relevant, reverse=True)


def of_all_pairs(texts: list[str], similarity: float) -> dict[int, tuple[int, float]]:
    """Near duplicates by comparing every text with all that stay before it."""
    sets = [shingles(text) for text in texts]
    stay: list[int] = []
    found: dict[int, tuple[int, float]] = {}
    for place, own in enumerate(sets):
        likeness = {other: jaccard(own, sets[other]) for other in stay if own and sets[other]}
        best = max(likeness, key=lambda other: likeness[other], default=None)
        if best is not None and likeness[best] >= similarity:
            found[place] = (best, likeness[best])
        else:
            stay.append(place)
    return found


@given(texts=st.lists(WORDS, max_size=15), similarity=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_near_duplicates_are_those_of_a_comparison_of_all_pairs(texts, similarity) -> None:
    assert duplicates(texts, similarity) == of_all_pairs(texts, similarity)


@pytest.mark.parametrize("similarity", [0.1, 0.4, 0.6, 0.8, 1.0])
def test_many_texts_of_one_template_are_compared_as_few_are(similarity) -> None:
    """Each is a candidate for all others."""
    chance = random.Random(20)
    words = [f"w{number}" for number in range(30)]
    template = chance.choices(words, k=25)
    texts = ["", "w1"]
    for _ in range(200):
        text = list(template)
        for _ in range(chance.randint(0, 6)):
            text[chance.randrange(len(text))] = chance.choice(words)
        texts.append(" ".join(text))
    assert duplicates(texts, similarity) == of_all_pairs(texts, similarity)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Quick, brown fox!", ["the", "quick", "brown", "fox"]),
        ("", []),
        ("?!", []),
        ("日本の首都", ["日", "本", "の", "首", "都"]),
        ("GPU 16GB 対応 版", ["gpu", "16gb", "対", "応", "版"]),
        ("Straße", ["strasse"]),
        ("don't", ["don", "t"]),
    ],
)
def test_words_of_any_script(text, words) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02T01:00:00+01:00", 86_400),
        ("1970-01-02 00:00:00.5", 86_400.5),
        ("19700102", 86_400),
        (19700102, 86_400),
        (1706659200, 1706659200),
        ("1706659200", 1706659200),
        (1706659200000, 1706659200),
        (1706659200.25, 1706659200.25),
        ("1971", 31_536_000),
        (1971, 31_536_000),
        ("Tue, 15 Nov 1994 12:45:26 GMT", 784_903_526),
        (None, None),
        ("1_000", None),
        ("Tue, 15 Nov 1994 12:45:26 +99999999999", None),
        ("soon", None),
        ("", None),
        (True, None),
        ([], None),
        (float("nan"), None),
        ("9999-99-99", None),
        ("2024-02-30", None),
        (10**400, None),
        ("Tue, 99 Nov 1994", None),
        ("0001-01-01T00:00:00+23:00", -62135679600),
    ],
)
def test_dates_are_read_as_they_are_written(value, seconds) -> None:
    assert boosts.parse_date(value) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("1.5h", 5400), ("2 w", 1_209_600), ("90S", 90), ("1y", 31_557_600)]
)
def test_times_have_a_unit(text, seconds) -> None:
    assert boosts.parse_time(text) == seconds


def test_a_date_in_the_future_is_no_newer_than_the_newest_of_the_past() -> None:
    assert boosts.recency([100.0, 50.0, 1e9], 50.0, now=200.0) == [1.0, 0.0, 1.0]
    assert boosts.recency([1e9], 50.0, now=200.0) == [1.0]
    assert boosts.recency([None, 0.0], 1.0) == [0.0, 1.0]
    assert boosts.recency([0.0, -1e300], 1e-300) == [1.0, -1.0]
