"""Sequence-to-sequence rerankers score as transformers' own logits say, on every backend."""

# ruff: noqa: F811
from __future__ import annotations

import numpy as np
import pytest
import tiny_seq2seq as tiny
from tiny_models import DOCUMENTS, LONG, QUERY, made, ours, own_caches  # noqa: F401 fixtures

PAIRS = [(QUERY, document) for document in [*DOCUMENTS, LONG, LONG[7:], DOCUMENTS[0] * 3]]
NAMES = list(tiny.MODELS)


def folder_of(made, name: str):
    return made.folder(name, tiny.BUILDERS[name])


def close(found: list[float], expected: list[float], tolerance: float = 1e-4) -> None:
    assert np.max(np.abs(np.array(found) - np.array(expected))) <= tolerance


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_torch_scores_equal_the_logits_of_transformers(made, name: str, alone: bool) -> None:
    folder = folder_of(made, name)
    expected = tiny.oracle(folder, name, PAIRS)
    assert np.std(expected) > 0.1
    close(ours(folder, PAIRS, alone=alone, backend="torch"), expected)
