"""Two thousand mutated inputs of `tests/fuzz/readers.py` raise nothing but RerankError."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "fuzz" / "readers.py"


def test_two_thousand_mutated_inputs_give_only_rerank_errors() -> None:
    outcomes, failures = runpy.run_path(str(SCRIPT))["fuzz"](2000, 7)
    assert not failures, failures[0]
    for kind in ("documents", "answers", "run", "qrels", "queries", "corpus"):
        assert outcomes[f"{kind}: read"] > 20
        assert outcomes[f"{kind}: InputError"] > 5
