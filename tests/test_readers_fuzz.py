"""Two thousand mutated inputs of `tests/fuzz/fuzz_readers.py` raise nothing but RerankError."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent / "fuzz" / "fuzz_readers.py"


def test_two_thousand_mutated_inputs_give_only_rerank_errors() -> None:
    outcomes, failures = runpy.run_path(str(SCRIPT))["fuzz"](2000, 7)
    assert not failures, failures[0]
    assert outcomes["read"] > 200
    assert outcomes["InputError"] > 200
