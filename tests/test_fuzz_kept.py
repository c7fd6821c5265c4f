"""Inputs that tests/fuzz/state.py kept, and the long checks of what is on disk, shortened: state.py and kills.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT

FUZZ = ROOT / "tests" / "fuzz"


def run(*argv: str) -> str:
    done = subprocess.run([sys.executable, FUZZ / argv[0], *argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_kept_inputs_lose_nothing() -> None:
    """Damaged caches, states, runs and configuration files: one at least of every outcome."""
    written = run("state.py", "--kept")
    kept = len(list((FUZZ / "corpus_state").glob("*/*")))
    assert f"\n{kept} kept inputs, 0 failed" in written
    for outcome in (
        "Caches: all",
        "Caches: some",
        "Caches: none",
        "States: resumed",
        "States: refused",
        "Runs: eval 0",
    ):
        assert outcome in written


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["state.py", "--seconds", "30"], ["kills.py", "--count", "100"]], ids=lambda a: a[0])
@pytest.mark.timeout(600)
def test_nothing_is_lost(argv: list[str]) -> None:
    run(*argv)
