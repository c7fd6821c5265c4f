"""The embedded model ranks hand-written cases, duplicates and the sample data well enough."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conftest import SAMPLES

from rerank_cli import Reranker

CASES = yaml.safe_load((Path(__file__).parent / "cases/quality_cases.yaml").read_text())["cases"]
TERSE = 24  # of twenty-four one-line answers
PARAPHRASE_FIRST, PARAPHRASE_SECOND = 85, 95  # of 102
BELOW_UNRELATED = 0  # of 102
MARKS = 0.1  # what a question mark may move a score by
RIGHT = 32  # of forty; the aim is 35 (training/README.md)


@pytest.fixture(scope="module")
def builtin():
    with Reranker("builtin") as model:
        yield model


def documents(case):
    return ["\n\n".join(d) if isinstance(d, list) else d for d in case["documents"]]


def test_the_cases_are_forty_and_well_formed():
    assert len(CASES) == len({case["id"] for case in CASES}) == 40
    assert all(0 <= case["best"] < len(case["documents"]) >= 3 for case in CASES)


def test_most_hand_written_cases_are_right(builtin):
    wrong = [c["id"] for c in CASES if builtin.rank(c["query"], documents(c), top_n=1).hits[0].index != c["best"]]
    assert len(CASES) - len(wrong) >= RIGHT, f"wrong: {wrong}"


def test_terse_answers_come_first(builtin):
    cases = yaml.safe_load((Path(__file__).parent / "cases/terse_cases.yaml").read_text())["cases"]
    wrong = [c["query"] for c in cases if builtin.rank(c["query"], c["documents"], top_n=1).hits[0].index != c["best"]]
    assert len(cases) - len(wrong) >= TERSE, f"wrong: {wrong}"


def test_washington_is_clearly_the_capital(builtin):
    lines = (SAMPLES / "capital.jsonl").read_text().splitlines()
    texts = {record["id"]: record["text"] for record in map(json.loads, lines)}
    asked = ["carson-city", "northern-mariana-islands", "charlotte-amalie", "washington-dc", "capital-punishment"]
    hits = builtin.rank("What is the capital of the United States?", [texts[name] for name in asked]).hits
    assert asked[hits[0].index] == "washington-dc"
    assert hits[0].relevance_score >= 0.8
    assert all(hit.relevance_score < 0.5 for hit in hits[1:])


def test_washington_comes_first_in_other_words(builtin):
    request = json.loads((SAMPLES / "capital_v2.json").read_text())
    hits = builtin.rank(request["query"], request["documents"]).hits
    assert "Washington, D.C." in hits[0].document
    assert hits[0].relevance_score > 0.5 > hits[1].relevance_score


def test_emails_about_returns_come_first(builtin):
    request = json.loads((SAMPLES / "emails.json").read_text())
    hits = builtin.rank(request["query"], request["documents"], rank_fields=request["rank_fields"]).hits
    about = [i for i, d in enumerate(request["documents"]) if "Return" in d["Title"] or "Wrong Item" in d["Title"]]
    assert sorted(hit.index for hit in hits[:5]) == about


def test_the_professional_camera_comes_last(builtin):
    request = json.loads((SAMPLES / "cameras.json").read_text())
    hits = builtin.rank(request["query"], request["documents"]).hits
    assert "Sony" in hits[-1].document


# --- duplicates: the exact text, or a paraphrase, among four related texts and ten of other cases


def duplicate_ranks(builtin, wanted):
    """For each case the place of the wanted text, and whether it is above every unrelated one."""
    cases = yaml.safe_load((Path(__file__).parent / "cases/duplicate_cases.yaml").read_text())["cases"]
    places = {}
    for number, case in enumerate(cases):
        others = [cases[(number + 7 * step) % len(cases)]["paraphrase"] for step in range(1, 11)]
        texts = [case[wanted], *case["related"], *others]
        if case["genre"] == "title_field":
            hits = builtin.rank(case["query"], [{"title": text} for text in texts], rank_fields=["title"]).hits
        else:
            hits = builtin.rank(case["query"], texts).hits
        order = [hit.index for hit in hits]
        places[case["id"]] = (order.index(0), min(order.index(i) for i in range(5, 15)))
    return places


def test_a_document_that_is_the_query_comes_first(builtin):
    places = duplicate_ranks(builtin, "query")
    assert [name for name, (place, _) in places.items() if place != 0] == []


def test_a_paraphrase_comes_first_or_second(builtin):
    places = duplicate_ranks(builtin, "paraphrase")
    first, second = (sum(place < n for place, _ in places.values()) for n in (1, 2))
    assert first >= PARAPHRASE_FIRST
    assert second >= PARAPHRASE_SECOND
    assert sum(place > unrelated for place, unrelated in places.values()) <= BELOW_UNRELATED


def test_a_question_is_a_likely_answer_to_itself(builtin):
    query = "How do I reset my password?"
    hits = builtin.rank(query, ["Lunch menu", query, "Office hours"]).hits
    assert hits[0].index == 1
    assert hits[0].relevance_score > 0.5


@pytest.mark.parametrize("name", ["capital.jsonl", "emails.json"])
def test_a_query_without_its_question_mark_or_capitals_means_the_same(builtin, name):
    query, documents, fields = seed_request(name)
    plain = builtin.rank(query, documents, rank_fields=fields).hits
    for asked in (query.rstrip("?"), query.lower(), query.lower().rstrip("?")):
        hits = builtin.rank(asked, documents, rank_fields=fields).hits
        scores = {hit.index: hit.relevance_score for hit in hits}
        assert max(abs(scores[hit.index] - hit.relevance_score) for hit in plain) <= MARKS


def seed_request(name):
    if name.endswith(".json"):
        request = json.loads((SAMPLES / name).read_text())
        return request["query"], request["documents"], request["rank_fields"]
    texts = [json.loads(line)["text"] for line in (SAMPLES / name).read_text().splitlines()]
    return "What is the capital of the United States?", texts, None
