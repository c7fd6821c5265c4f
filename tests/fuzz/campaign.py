"""What the fuzz programs share: a folder and a home of their own, and the report at the end."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence


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
