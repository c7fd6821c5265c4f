"""Runs every fuzz program for a time, one after the other; and what they share: folders, and the report at the end.

    python tests/fuzz/campaign.py --seconds 3600 --seed 1

The time is shared out equally. The exit code is 1 if any program failed. Each can be run alone.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence


PROGRAMS = ("readers", "fuzz_config", "models", "state", "serve")
FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a file system in memory: nothing waits for a disk


@contextlib.contextmanager
def in_own_folder() -> Iterator[None]:
    """Work in an empty folder with an empty home; both are removed afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(dir=FAST) as folder, tempfile.TemporaryDirectory(dir=FAST) as home:
        os.environ["HOME"] = home
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def report(outcomes: Counter[str], failures: Sequence[str], what: str) -> int:
    """Print the outcomes and the first failures; returns the exit code."""
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:8,} {outcome}")
    print(f"{sum(outcomes.values()):,} {what}, {len(failures)} failed")
    for failure in failures[:10]:
        print(f"\n{failure}")
    return 1 if failures else 0


def main() -> int:
    """Run all and report; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="of all together")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    failed = []
    for name in PROGRAMS:
        print(f"--- {name}", flush=True)
        program = Path(__file__).with_name(f"{name}.py")
        argv = [sys.executable, program, "--seconds", str(chosen.seconds / len(PROGRAMS)), "--seed", str(chosen.seed)]
        if subprocess.run(argv, check=False).returncode:
            failed.append(name)
    print(f"--- failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
