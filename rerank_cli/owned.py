"""What is removed is what we wrote: a folder is ours file by file, by the digests that were recorded when it was made.

A name or a file of ours in a folder does not prove that the folder is ours. It knows folders and digests only.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from rerank_cli.files import sha256
from rerank_cli.inside import is_relative

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


def record(folder: Path) -> dict[str, str]:
    """Name and SHA-256 of every file of a folder that we have just written."""
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


def is_record(value: Any) -> bool:
    """Whether a value from a manifest may be such a record: plain names, without folders, and digests."""
    return isinstance(value, dict) and all(
        isinstance(digest, str) and "/" not in name and is_relative(name) for name, digest in value.items()
    )


def foreign(folder: Path, names: Collection[str]) -> list[str]:
    """Entries of a folder that are not among the names, or not plain files."""
    return sorted(
        entry.name for entry in folder.iterdir() if entry.name not in names or entry.is_symlink() or not entry.is_file()
    )


def changed(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Recorded files that are no longer what was written; those that are gone are not among them."""
    there = [name for name in sorted(files) if (folder / name).is_file()]
    return [name for name in there if sha256(folder / name) != files[name]]


def remove(folder: Path, names: Collection[str]) -> bool:
    """Remove the named files and then the folder; False, and the folder stays, if there is anything else in it."""
    for name in names:
        with contextlib.suppress(OSError):
            (folder / name).unlink()
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
