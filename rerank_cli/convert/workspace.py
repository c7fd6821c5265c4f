"""Where a copy is made: a folder beside its target, locked while a process uses it, so that what a kill left is known.

`new` in it becomes the target, and `old` is the copy that was there. It knows nothing of models.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.owned import remove
from rerank_cli.sync import sync_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PREFIX = ".converting-"
NEW, OLD = "new", "old"


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty folder to be renamed to `target`; what is left of it at the end is removed. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    workspace, lock = _locked_workspace(target.parent)
    try:
        (workspace / NEW).mkdir()
        yield workspace / NEW
    finally:
        shutil.rmtree(workspace / NEW, ignore_errors=True)
        with contextlib.suppress(OSError):  # a file of somebody else in the old copy stays
            workspace.rmdir()
        _unlock(lock)


def remove_left(parent: Path, names: Collection[str]) -> None:
    """Remove the workspaces of killed processes; of old copies only files of these names. `parent` must be our own."""
    for workspace in parent.glob(f"{PREFIX}*"):
        try:
            lock = _lock(workspace, wait=False)
        except OSError:  # in use, or gone
            continue
        if lock is None:  # Windows: it cannot be known
            return
        shutil.rmtree(workspace / NEW, ignore_errors=True)
        remove(workspace / OLD, names)
        with contextlib.suppress(OSError):
            workspace.rmdir()
        _unlock(lock)


def sync_files(folder: Path) -> None:
    """Return when the files of a folder are on the disk: before it gets the name by which it counts as finished."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            sync_file(file.fileno())


def _locked_workspace(parent: Path) -> tuple[Path, int | None]:
    while True:
        workspace = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = _lock(workspace, wait=True)
        except OSError:  # a file system without locks, or it is gone
            lock = None
        if workspace.is_dir():
            return workspace, lock
        _unlock(lock)  # `remove_left` of another process was faster


def _lock(folder: Path, *, wait: bool) -> int | None:
    """A lock that ends with the process; None where folders cannot be locked. Raises OSError if another holds it."""
    try:
        import fcntl
    except ImportError:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
