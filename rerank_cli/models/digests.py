"""Whether a file of the hub's cache is intact: blobs are named by their own digests."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from rerank_cli.files import sha256

if TYPE_CHECKING:
    from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")  # of large files
SHA1 = re.compile(r"[0-9a-f]{40}")  # git's, of small ones


def problem_of(path: Path) -> str | None:
    """What is wrong with a file of a snapshot, or None; only links to a blob have a digest."""
    if not path.is_file():
        return "points to a file that is missing"
    blob = path.readlink().name if path.is_symlink() else ""
    if SHA256.fullmatch(blob):
        return None if sha256(path) == blob else "differs from its SHA-256"
    if SHA1.fullmatch(blob):
        data = path.read_bytes()
        git_name = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        return None if git_name == blob else "differs from its git digest"
    return "is not a link to a blob: it has no recorded digest"
