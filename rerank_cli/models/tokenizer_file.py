"""Which file `--tokenizer` names: a tokenizer.json, a folder that has one, or a model in the hub's cache.

Nothing is downloaded, and nothing is read of the file.
"""

from __future__ import annotations

from pathlib import Path

from rerank_cli import hub, lookup
from rerank_cli.errors import UsageError
from rerank_cli.inside import is_hub_name
from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER
from rerank_cli.text import shown

FILE = "tokenizer.json"


def tokenizer_file(name: str) -> Path:
    """The file that a name means. Raises UsageError if there is none."""
    if name == BUILTIN:
        return BUILTIN_FOLDER / FILE
    path = Path(name).expanduser()
    if lookup.is_folder(path) and lookup.is_file(path / FILE):
        return path / FILE
    if lookup.is_file(path):
        return path
    repository, _, revision = name.partition("@")
    if not lookup.exists(path) and is_hub_name(name):
        snapshot = hub.cached(repository, revision or None)
        if snapshot and (snapshot.folder / FILE).is_file():
            return snapshot.folder / FILE
        hint = f"fetch it: `hf download {repository} {FILE}`, or name a file"
        raise UsageError(f"--tokenizer: `{shown(name)}` has no {FILE} in the hub's cache", hint)
    what = f"has no {FILE}" if lookup.is_folder(path) else "is neither a file nor a folder"
    raise UsageError(
        f"--tokenizer: `{shown(name)}` {what}", f"name a {FILE}, its folder, or a model in the hub's cache"
    )
