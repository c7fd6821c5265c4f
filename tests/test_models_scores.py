"""Published models give the scores that sentence-transformers' own tests expect of them (`pytest -m hub`).

None of these rows was run when they were written: the development machine has no access to the hub.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tiny_models import ours, own_caches  # noqa: F401 fixtures

from rerank_cli.errors import ModelError

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "models_scores.json").read_text())
PINNED = {row["name"]: row["revision"] for row in json.loads((HERE / "models_published.json").read_text())}
PAIRS = [(PUBLISHED["query"], document) for document in PUBLISHED["documents"]]


def shown(logit: float, name: str) -> float:
    """The score that sentence-transformers prints: the model's own activation of its logit.

    zerank-1's own code (modeling_zeranker.py) divides the logit first.
    """
    logit /= PUBLISHED["divided"].get(name, 1)
    if name in PUBLISHED["identity"]:
        return logit
    return math.tanh(logit) if name in PUBLISHED["tanh"] else 1 / (1 + math.exp(-logit))


@pytest.mark.hub
@pytest.mark.parametrize("name", PUBLISHED["scores"])
def test_a_published_model_gives_its_published_scores(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    revision = PINNED.get(name) or PUBLISHED["revisions"].get(name)
    reference = f"{name}@{revision}" if revision else name
    how = {"backend": PUBLISHED["backends"].get(name, "torch"), "allow_pickle": True}
    if name in PUBLISHED["refused"]:
        with pytest.raises(ModelError, match=PUBLISHED["refused"][name]):
            ours(reference, PAIRS, **how)
        return
    found = [shown(logit, name) for logit in ours(reference, PAIRS, **how)]
    assert found == pytest.approx(PUBLISHED["scores"][name], abs=PUBLISHED["tolerance"])


def test_every_row_is_complete() -> None:
    assert all(len(scores) == len(PAIRS) for scores in PUBLISHED["scores"].values())
    for group in ("identity", "tanh", "backends", "divided", "refused", "revisions"):
        assert set(PUBLISHED[group]) <= set(PUBLISHED["scores"]), group
    outside = {name for name, scores in PUBLISHED["scores"].items() if not all(0 <= score <= 1 for score in scores)}
    assert outside == {*PUBLISHED["identity"], *PUBLISHED["tanh"]}
