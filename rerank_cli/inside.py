"""What is opened stays inside the folder in which it was named; a revision is a word, a commit forty hex digits.

Names come from manifests, indexes, graphs, references and servers. It knows names and paths, not what they are for.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError
from rerank_cli.text import shortened

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")
# A branch or tag may have parts (refs/pr/5); no part is empty or begins with a dot, so none leads elsewhere.
REVISION = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
MOST_NAME = 255  # characters of a revision; files have no longer names
_DRIVE = re.compile(r"[A-Za-z]:")


def is_commit(text: str) -> bool:
    """Whether a text is a full commit."""
    return COMMIT.fullmatch(text) is not None


def is_revision(text: str) -> bool:
    """Whether a text may be a branch, tag or commit: words of letters, digits, `.`, `_` and `-`, joined by `/`."""
    return len(text) <= MOST_NAME and REVISION.fullmatch(text) is not None


def is_hub_name(reference: str) -> bool:
    """Whether a reference is written as a hub repository: `owner/name`, optionally with `@revision`."""
    repository, at, revision = reference.partition("@")
    return HUB_NAME.fullmatch(repository) is not None and (not at or is_revision(revision))


def is_relative(name: str) -> bool:
    """Whether a name is a plain relative path: not absolute on any system, without `..`, backslash or control."""
    parts = name.split("/")
    if not name or "\\" in name or _DRIVE.match(name) or any(not part or part == ".." for part in parts):
        return False
    return name.isprintable()


def joined(folder: Path, name: str, home: Path | None = None) -> Path:
    """The path of a name within a folder. Raises ModelError if it leaves `home` (None: the folder), also by a link."""
    if not is_relative(name):
        raise ModelError(f"{folder} names the path {shortened(repr(name), 80)}, which leaves the folder")
    return check_inside(folder / name, folder if home is None else home)


def check_inside(path: Path, folder: Path) -> Path:
    """The path, if it is really inside the folder; the hub's cache keeps files as links into its `blobs`.

    Raises ModelError for a link or a name that leads elsewhere: otherwise a shared folder could make us read any file.
    """
    try:
        real = os.path.realpath(path)
    except ValueError:  # a NUL in it
        raise ModelError(f"{str(path)!r} is not the name of a file") from None
    home = os.path.realpath(folder)
    allowed = [home]
    repository, parent = os.path.split(os.path.dirname(home))  # noqa: PTH120 text of resolved paths
    if parent == "snapshots" and os.path.basename(repository).startswith("models--"):  # noqa: PTH119
        # A repository's own blobs, or the store that the repositories of one cache share.
        allowed += [f"{repository}{os.sep}blobs", f"{os.path.dirname(repository)}{os.sep}blobs"]  # noqa: PTH120
    if not any(real == place or real.startswith(place + os.sep) for place in allowed):
        raise ModelError(f"{path} is a link out of the model folder, to {real}", "copy the file into the folder")
    if os.path.islink(real):  # noqa: PTH114 it was not resolved
        raise ModelError(f"{path} is a link that leads to itself", "copy the file into the folder")
    return path
