"""Measures equal those of trec_eval, ties included; significance tests, thresholds and alignment of ids are right."""

from __future__ import annotations

import gzip
import json
import math
import random
from pathlib import Path

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank_cli.errors import AssertionFailed, InputError, UsageError
from rerank_cli.evaluation.align import aligned
from rerank_cli.evaluation.assertions import check, parse_thresholds, require
from rerank_cli.evaluation.before import LabelObserver, RelevanceDelta
from rerank_cli.evaluation.measures import MEASURES, Measure, parse_measure, parse_measures
from rerank_cli.evaluation.significance import bootstrap_interval, randomisation_p
from rerank_cli.evaluation.summary import Sampling, before_after, summarise, worst
from rerank_cli.evaluation.trec_eval import evaluate, mean
from rerank_cli.ranking import trec_order
from rerank_cli.readers.qrels import Qrels
from rerank_cli.readers.trec import Run
from rerank_cli.records import Document, Hit, Score, Source
from rerank_cli.report import Report

DEV = Path(__file__).resolve().parents[2] / "shared" / "data" / "dev"
NAMES = ("nDCG@10", "nDCG", "RR", "AP", "AP@100", "P@5", "R@100", "Success@1", "Rprec", "Bpref", "SetP", "SetR")
ENGINE = (
    "ndcg_cut_10", "ndcg", "recip_rank", "map", "map_cut_100", "P_5", "recall_100", "success_1", "Rprec", "bpref",
    "set_P", "set_recall",
)  # fmt: skip


def random_case(seed: int):
    """Few distinct scores (ties), documents nobody judged, empty rankings, queries missing on either side."""
    dice = random.Random(seed)
    judged, scores = {}, {}
    for number in range(dice.randint(1, 12)):
        pool = [f"d{i}" for i in range(dice.randint(1, 40))]
        judged[f"q{number}"] = {d: dice.choice((-1, 0, 0, 1, 2, 3)) for d in pool if dice.random() < 0.6}
        if dice.random() < 0.85:
            kept = [d for d in pool if dice.random() < 0.7] if dice.random() < 0.9 else []
            scores[f"q{number}"] = {d: dice.choice((0.5, 0.25, 0.1, dice.random(), 0.1 + 1e-10)) for d in kept}
    scores["unjudged"] = {"d1": 1.0}
    return judged, scores


@pytest.mark.parametrize("seed", range(60))
def test_values_equal_pytrec_eval_and_missing_queries_count_zero(seed):
    judged, scores = random_case(seed)
    ours = evaluate(judged, scores, parse_measures(NAMES))
    askable = {query: found for query, found in judged.items() if max(found.values(), default=-1) >= 0}
    oracle = pytrec_eval.RelevanceEvaluator(askable, set(ENGINE)).evaluate(scores) if askable else {}
    for name, engine in zip(NAMES, ENGINE, strict=True):
        values = ours[parse_measure(name)]
        assert set(values) == set(judged)
        for query in judged:
            expected = oracle.get(query, {}).get(engine, 0.0)
            assert values[query] == pytest.approx(expected, abs=1e-6), (name, query)


def test_ids_with_nul_do_not_end_the_process():
    """pytrec_eval reads ids as C strings: those that differ after a NUL only ended in an assertion. Found by fuzzing."""
    names = ["q", "q\0", "q\0a", "q\1", "q\1\1", "q\1\2"]
    judgements = {query: {f"d{end}": grade for grade, end in enumerate(["\0", "\0b", "", "\1"])} for query in names}
    scores = {query: dict.fromkeys(judgements[query], 1.0) for query in names}
    found = evaluate(judgements, scores, [parse_measure("nDCG@10"), parse_measure("RR")])
    order = sorted(judgements["q"], reverse=True)  # ties: by id, descending
    for values in found.values():
        assert list(values) == names
        assert len(set(values.values())) == 1
    assert found[parse_measure("nDCG@10")]["q"] == pytest.approx(plain_ndcg(judgements["q"], order, 10))


def test_a_query_with_only_negative_grades_counts_zero():
    """pytrec_eval 0.5.11 loops for ever on it."""
    found = evaluate({"q": {"a": -1}, "r": {"a": 1}}, {"q": {"a": 1.0}, "r": {"a": 1.0}}, parse_measures(NAMES))
    assert all(values["q"] == 0.0 and values["r"] > 0 for measure, values in found.items() if measure.name != "P")


def plain_ndcg(judged: dict[str, int], order: list[str], k: int) -> float:
    gain = sum(max(judged.get(d, 0), 0) / math.log2(i + 2) for i, d in enumerate(order[:k]))
    best = sorted((max(r, 0) for r in judged.values()), reverse=True)[:k]
    ideal = sum(r / math.log2(i + 2) for i, r in enumerate(best))
    return gain / ideal if ideal else 0.0


@pytest.mark.parametrize("seed", range(30))
def test_ties_break_by_document_id_descending_on_float32_scores(seed):
    judged, scores = random_case(seed)
    for query in judged:
        order = trec_order(scores.get(query, {}))
        relevant = [i for i, d in enumerate(order, 1) if judged[query].get(d, 0) >= 1]
        found = {
            m: v[query]
            for m, v in evaluate(judged, scores, parse_measures(["nDCG@10", "RR", "RR@3", "Judged@5"])).items()
        }
        assert found[Measure("nDCG", 10)] == pytest.approx(plain_ndcg(judged[query], order, 10), abs=1e-9)
        assert found[Measure("RR")] == pytest.approx(1 / relevant[0] if relevant else 0.0)
        assert found[Measure("RR", 3)] == pytest.approx(1 / relevant[0] if relevant and relevant[0] <= 3 else 0.0)
        top = order[:5]
        assert found[Measure("Judged", 5)] == (sum(d in judged[query] for d in top) / len(top) if top else 0.0)


def test_the_order_of_ties_is_written_down():
    assert trec_order({"a": 1.0, "c": 1.0, "b": 1.0 + 1e-9, "z": 0.5}) == ["c", "b", "a", "z"]
    assert trec_order({"é": 1.0, "z": 1.0, "𝒜": 1.0}) == ["𝒜", "é", "z"]  # by code point, as by UTF-8 bytes
    assert trec_order({}) == []


def test_the_relevance_level_decides_which_grades_are_relevant():
    judged, scores = {"q": {"a": 1, "b": 2}}, {"q": {"a": 2.0, "b": 1.0}}
    found = {
        str(m): v["q"] for m, v in evaluate(judged, scores, parse_measures(["RR", "RR(rel=2)", "P(rel=2)@1"])).items()
    }
    assert found == {"RR": 1.0, "RR(rel=2)": 0.5, "P(rel=2)@1": 0.0}


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 3), min_size=1), st.randoms())
@settings(deadline=None, max_examples=60)
def test_the_ideal_order_has_ndcg_one_and_the_reverse_is_not_better(judged, dice):
    ideal = {d: float(r) for d, r in judged.items()}
    shuffled = {d: dice.random() for d in judged}
    measure = parse_measure("nDCG")
    best = evaluate({"q": judged}, {"q": ideal}, [measure])[measure]["q"]
    other = evaluate({"q": judged}, {"q": shuffled}, [measure])[measure]["q"]
    assert best == pytest.approx(1.0 if any(judged.values()) else 0.0)
    assert 0 <= other <= best + 1e-9


@pytest.mark.parametrize("name", ["wikiqa", "trecqa", "mediqa"])
def test_metrics_equal_trec_eval_on_the_dev_sets(name):
    """Word overlap as the score, which ties often; runs where the project's data lies beside the repository."""
    path = DEV / f"{name}.jsonl.gz"
    if not path.exists():
        return  # the same check runs on random data above
    judged, scores = {}, {}
    for line in gzip.decompress(path.read_bytes()).splitlines():
        record = json.loads(line)
        words = set(record["query"].lower().split())
        judged[record["id"]] = {str(i): r for i, r in enumerate(record["relevance"])}
        scores[record["id"]] = {str(i): float(len(words & set(d.split()))) for i, d in enumerate(record["documents"])}
    ours = evaluate(judged, scores, parse_measures(NAMES))
    oracle = pytrec_eval.RelevanceEvaluator(judged, set(ENGINE)).evaluate(scores)
    for name_, engine in zip(NAMES, ENGINE, strict=True):
        expected = sum(values[engine] for values in oracle.values()) / len(judged)
        assert mean(ours[parse_measure(name_)]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nDCG@10", "nDCG@10"), ("ndcg", "nDCG"), ("MRR@10", "RR@10"), ("map", "AP"), ("AP(rel=2)@100", "AP(rel=2)@100"),
        ("recall@5", "R@5"), ("hit@1", "Success@1"), ("rprec", "Rprec"), ("P(rel=1)@5", "P@5"),
    ],
)  # fmt: skip
def test_measures_are_read_in_any_case_and_written_canonically(text, canonical):
    assert str(parse_measure(text)) == canonical
    assert parse_measure(canonical) == parse_measure(text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nDGC@10", "unknown measure `nDGC@10`", "did you mean `nDCG@10`?"),
        ("ndgc_cut_10", "unknown measure `ndgc_cut_10`", "did you mean `nDCG@10`?"),
        ("P", "measure `P` needs a cutoff", "for example `P@10`"),
        ("Rprec@5", "measure `Rprec@5` takes no cutoff", "write `Rprec`"),
        ("nDCG@0", "the cutoff of `nDCG@0` must be 1 or more", "for example `nDCG@10`"),
        ("nDCG(rel=2)", "measure `nDCG` takes no (rel=N)", "it uses the grades themselves"),
        ("AP(rel=0)", "the relevance level of `AP(rel=0)` must be 1 or more", "for example `AP(rel=1)`"),
    ],
)
def test_a_misspelt_measure_gets_a_suggestion(text, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_measure(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_an_unknown_measure_lists_the_available_ones():
    with pytest.raises(UsageError) as caught:
        parse_measure("xyzzy")
    assert all(kind.name in caught.value.hint for kind in MEASURES)


def test_lists_of_measures_keep_order_and_drop_repetitions():
    assert [str(m) for m in parse_measures(["nDCG@10,RR", "rr ndcg@10 AP"])] == ["nDCG@10", "RR", "AP"]


# --- chance ---------------------------------------------------------------------------------------------------------


def exact_p(deltas):
    n, total = len(deltas), sum(deltas)
    sums = [sum(-d if mask >> i & 1 else d for i, d in enumerate(deltas)) for mask in range(1 << n)]
    return sum(abs(s) >= abs(total) - 1e-12 for s in sums) / len(sums)


@given(st.lists(st.sampled_from([-0.5, -0.1, 0.0, 0.2, 0.3]), max_size=8))
@settings(deadline=None, max_examples=50)
def test_the_randomisation_test_is_exact_for_few_queries(deltas):
    assert randomisation_p(deltas) == pytest.approx(exact_p(deltas) if any(deltas) else 1.0)


def test_the_randomisation_test_detects_differences_and_is_seeded():
    dice = random.Random(1)
    noise = [dice.gauss(0, 1) for _ in range(200)]
    shifted = [x + 0.5 for x in noise]
    assert randomisation_p(shifted) < 0.001
    assert randomisation_p([x if i % 2 else -x for i, x in enumerate(noise)]) > 0.05
    assert randomisation_p(shifted, seed=3) == randomisation_p(shifted, seed=3)


def test_a_sampled_p_value_agrees_with_the_exact_one(monkeypatch):
    dice = random.Random(5)
    deltas = [dice.gauss(0.3, 1) for _ in range(12)]
    monkeypatch.setattr("rerank_cli.evaluation.significance.EXACT_UP_TO", 0)
    assert randomisation_p(deltas, resamples=20_000) == pytest.approx(exact_p(deltas), abs=0.02)


def test_the_bootstrap_interval_has_its_nominal_coverage():
    dice = random.Random(2)
    hits = 0
    for trial in range(200):
        sample = [dice.gauss(0.4, 0.3) for _ in range(60)]
        low, high = bootstrap_interval(sample, resamples=1000, seed=trial)
        hits += low <= 0.4 <= high
    assert 175 <= hits <= 200
    assert bootstrap_interval([]) == (0.0, 0.0)
    assert bootstrap_interval([0.7]) == (0.7, 0.7)
    assert bootstrap_interval([0.5] * 9) == (0.5, 0.5)


# --- several runs ---------------------------------------------------------------------------------------------------

JUDGED = {"q1": {"a": 1, "b": 0}, "q2": {"a": 1}, "q3": {"c": 1}}
BEFORE = {"q1": {"a": 1.0, "b": 2.0}, "q2": {"a": 1.0}, "q3": {"c": 1.0, "x": 0.0}}
AFTER = {"q1": {"a": 2.0, "b": 1.0}, "q2": {"a": 1.0}}
QUICK = Sampling(resamples=500)


def test_runs_are_compared_query_by_query():
    found = summarise(("qrels", JUDGED), [("before", BEFORE), ("after", AFTER)], parse_measures(["RR", "P@1"]), QUICK)
    first = found.comparisons[0]
    assert (first.run, first.baseline, str(first.measure)) == ("after", "before", "RR")
    assert first.deltas == {"q1": 0.5, "q2": 0.0, "q3": -1.0}
    assert (first.wins, first.losses, first.ties) == (1, 1, 1)
    assert first.delta.mean == pytest.approx(-0.5 / 3)
    assert first.delta.low <= first.delta.mean <= first.delta.high
    assert found.queries == 3
    assert [run.queries for run in found.runs] == [3, 2]
    assert [row.query for row in worst(found, 2)] == ["q3"]  # only what was lost


def test_no_resamples_means_no_intervals_and_no_tests():
    found = summarise(("q", JUDGED), [("a", BEFORE), ("b", AFTER)], parse_measures(["RR"]), Sampling(resamples=0))
    assert found.comparisons[0].p is None
    assert found.runs[0].means[Measure("RR")].low is None


def test_without_a_baseline_the_worst_queries_have_the_lowest_values():
    found = summarise(("q", JUDGED), [("after", AFTER)], parse_measures(["RR"]), QUICK)
    assert [(row.query, row.value, row.delta) for row in worst(found, 1)] == [("q3", 0.0, None)]


def test_before_and_after_take_one_line_per_measure():
    assert before_after(JUDGED, BEFORE, AFTER, parse_measures(["RR"])) == ["RR 0.8333 → 0.6667 (-0.1667)"]


def test_thresholds_include_their_bound_and_all_failures_are_named():
    found = summarise(("q", JUDGED), [("base", BEFORE), ("new", AFTER)], parse_measures(["RR", "P@1"]), QUICK)
    mean_rr = found.runs[1].means[Measure("RR")].mean
    held = parse_thresholds([f"RR={mean_rr!r}", "P@1=0"], "--fail-under")
    require(check(found, held, baseline=True))
    broken = parse_thresholds(["RR=0.9"], "--fail-under") + parse_thresholds(["RR=0.1"], "--fail-on-drop")
    with pytest.raises(AssertionFailed) as caught:
        require(check(found, broken, baseline=True))
    assert caught.value.message == (
        "--fail-under RR=0.9: RR of new is 0.6667; --fail-on-drop RR=0.1: drop of new is 0.1667"
    )
    require(check(found, parse_thresholds(["RR=0.2"], "--fail-on-drop"), baseline=True))


@pytest.mark.parametrize("text", ["nDCG@10", "=0.5", "nDCG@10=high", "nDCG@10=-1", "nDCG@10=nan", "nDCG@10=inf"])
def test_a_threshold_without_a_number_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is not MEASURE=NUMBER"):
        parse_thresholds([text], "--fail-under")


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_ranking_without_query_id_belongs_to_the_only_judged_query():
    report = Report()
    assert aligned(Run("r", {"": {"a": 1.0}}), Qrels("q", {"7": {"a": 1}}), report) == {"7": {"a": 1.0}}
    with pytest.raises(InputError, match="does not name a query, and q judges 2"):
        aligned(Run("r", {"": {"a": 1.0}}), Qrels("q", {"7": {"a": 1}, "8": {"a": 1}}), report)


def test_documents_named_by_position_take_the_ids_of_the_labelled_request():
    qrels = Qrels("q", {"1": {"x": 1, "y": 0}}, names={"1": ("x", "y")})
    run = Run("r", {"1": {"0": 2.0, "1": 1.0, "9": 0.5}}, by_index={"1": frozenset({"0", "1", "9"})})
    assert aligned(run, qrels, Report()) == {"1": {"x": 2.0, "y": 1.0, "9": 0.5}}


def test_an_id_that_looks_like_a_position_stays_an_id():
    qrels = Qrels("q", {"7": {"1": 1, "0": 0, "2": 0}}, names={"7": ("1", "0", "2")})
    run = Run("r", {"7": {"1": 3.0, "0": 2.0, "2": 1.0}}, by_index={"7": frozenset({"2"})})
    assert aligned(run, qrels, Report()) == {"7": {"1": 3.0, "0": 2.0, "2": 1.0}}


def test_two_id_spaces_are_an_error_for_queries_and_a_warning_for_documents():
    with pytest.raises(InputError, match=r"no query of r is judged in q \(`q1` against `1`\)"):
        aligned(Run("r", {"q1": {"a": 1.0}}), Qrels("q", {"1": {"a": 1}}), Report())
    report = Report()
    aligned(Run("r", {"1": {"a": 1.0}}), Qrels("q", {"1": {"b": 1}}), report)
    assert "no document of r is judged (`a` against `b`)" in report.warnings()[0]


def test_missing_and_unjudged_queries_are_noted():
    report = Report()
    aligned(Run("r", {"1": {"a": 1.0}, "x": {"a": 1.0}}), Qrels("q", {"1": {"a": 1}, "2": {"a": 1}}), report)
    assert report.notes == [
        "r: 1 queries are not judged and left out",
        "r: 1 of 2 judged queries are missing and count 0",
    ]
    assert aligned(Run("empty", {}), Qrels("q", {"1": {"a": 1}}), Report()) == {}


# --- before and after -----------------------------------------------------------------------------------------------


def documents_of(*records):
    source = Source("docs.jsonl", "json")
    return [
        Document(i, json.dumps(record).encode(), "text", source, record.get("id") if isinstance(record, dict) else None)
        for i, record in enumerate(records)
    ]


def test_ranking_labelled_documents_reports_before_and_after():
    documents = documents_of(
        {"text": "x", "relevance": 0}, {"id": "b", "relevance": 2}, {"text": "relevance"}, "relevance"
    )
    watched = LabelObserver()
    assert list(watched.chunks([documents[:3], documents[3:]])) == [documents[:3], documents[3:]]
    assert watched.labels == {"0": 0, "b": 2}
    assert watched.first == ["0", "b", "2", "3"]
    hits = [Hit(1, 1, 0.9, documents[1], Score(2.0)), Hit(0, 2, 0.1, documents[0], Score(-2.0))]
    told = RelevanceDelta(None, None)
    told.add("q", watched, hits)
    assert told.lines() == ["nDCG@10 0.6309 → 1.0000 (+0.3691)", "RR@10 0.5000 → 1.0000 (+0.5000)"]


def test_qrels_override_inline_labels_and_without_labels_nothing_is_reported():
    watched = LabelObserver({"0": 1})
    watched.observe(documents_of({"relevance": 0}, {"relevance": 3}))
    assert watched.labels == {"0": 1}
    told = RelevanceDelta(None, None)
    told.add("q", LabelObserver(), [])
    assert told.lines() == []


@pytest.mark.parametrize("value", ["high", 0.5, True, None, [1]])
def test_an_invalid_relevance_is_not_a_label(value):
    watched = LabelObserver()
    watched.observe(documents_of({"relevance": value}))
    assert watched.labels == {}


def test_only_the_first_ranks_are_kept():
    watched = LabelObserver()
    many = documents_of(*({"id": str(i)} for i in range(1000)))
    for start in range(0, 1000, 7):
        watched.observe(many[start : start + 7])
    assert watched.first == [str(i) for i in range(10)]
