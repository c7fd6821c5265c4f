"""How far it is from the command line to the pipeline: a newcomer reads every function on the way."""

from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

MOST = 60


def test_few_functions_stand_before_the_pipeline(env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.run_path"], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    passed = done.stdout.splitlines()
    assert passed[-1].endswith("functions before pipeline.rank")
    assert int(passed[-1].split()[0]) <= MOST, done.stdout
