"""Training lists: no negative repeats the query, and held-out templates are not trained on."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

TRAINING = Path(__file__).parent.parent / "training"
QUESTION = "How do I reset my password?"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TRAINING))

    def load(name: str) -> ModuleType:
        return sys.modules.get(name) or importlib.import_module(name)

    return load


@pytest.fixture
def config() -> dict:
    return tomllib.loads((TRAINING / "config.toml").read_text())["train"]


def record(source: str = "faqs") -> dict:
    answer = "Open the settings, choose Security and follow the link. A mail with a code arrives within a minute."
    others = ["The canteen opens at noon.", "Parcels are weighed at the counter.", "Invoices are sent on Mondays."]
    negatives = [{"text": text, "kind": "dense", "cos": 0.3} for text in (*others, "Printers need paper.", "It rains.")]
    positives = [{"text": answer, "cos": 0.6}]
    return {"source": source, "query": QUESTION, "positives": positives, "best": 0, "negatives": negatives}


def test_no_negative_repeats_the_query(module, config: dict) -> None:
    wished = config | {"traps": 1.0, "swap": 0.0, "kinds": 0.0}
    words = {"how", "do", "i", "reset", "my", "password"}
    for seed in range(300):
        shown = module("augment").build(record(), str(seed), wished)
        for document in shown.documents[1:]:
            text = document.text.lower().strip(" ?.\n")
            assert text != QUESTION.lower().strip("?")
            assert document.kind == "soup" or not words <= set(text.split())


def test_the_query_itself_is_shown_as_an_answer(module, config: dict) -> None:
    kinds = [module("augment").build(record(), str(seed), config).documents[0].kind for seed in range(400)]
    assert 5 <= kinds.count("echo") <= 60


def test_a_list_is_the_same_for_the_same_seed(module, config: dict) -> None:
    build = module("augment").build
    assert build(record(), "7", config) == build(record(), "7", config)
    assert len({build(record(), str(seed), config).query for seed in range(50)}) > 3


def test_contrasts_differ_from_the_answer(module) -> None:
    records = module("contrast_templates").template_records("seed", 200, heldout=False)
    for made in records:
        assert len(made["positives"]) == 1
        assert made["positives"][0] not in made["negatives"]
        assert 4 <= len(made["negatives"]) <= 7


def test_held_out_contrasts_and_log_events_are_not_trained_on(module) -> None:
    templates = module("contrast_templates").template_records
    assert not queries(templates("a", 300, heldout=False)) & queries(templates("b", 300, heldout=True))
    events = module("loglines").records
    train, held = (lines(events(seed, 200, heldout=heldout)) for seed, heldout in ((1, False), (2, True)))
    assert not train & held


def queries(records: list[dict]) -> set[str]:
    return {r["query"] for r in records}


def lines(records: list[dict]) -> set[str]:
    return {r["positives"][0] for r in records}
