"""The long checks of what is kept on disk, shortened: tests/fuzz/state.py and tests/fuzz/kills.py."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["state.py", "--seconds", "30"], ["kills.py", "--count", "100"]], ids=lambda a: a[0])
@pytest.mark.timeout(600)
def test_nothing_is_lost(argv: list[str]) -> None:
    command = [sys.executable, str(ROOT / "tests" / "fuzz" / argv[0]), *argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
