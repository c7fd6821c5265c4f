"""Names of what `batch` writes, and the check that no output is an input or another output. It reads no content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.compression import SUFFIXES as COMPRESSED
from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.batch.plan import Output

SUFFIXES = {"responses": ".responses.jsonl", "rows": ".rows.jsonl", "trec": ".trec"}


def require_distinct(outputs: list[tuple[str, str]]) -> None:
    """Raise UsageError if two inputs, given as (input, output), would write one file."""
    first: dict[str, str] = {}
    for name, target in outputs:
        if first.setdefault(target, name) != name or outputs.count((name, target)) > 1:
            raise UsageError(
                f"`{first[target]}` and `{name}` would both be written to {target}",
                "rename one, or give it its own --out-dir",
            )


def require_apart(options: Mapping[str, Any], read: list[tuple[str, str]], outputs: tuple[Output, ...]) -> None:
    """Raise UsageError if outputs would mix, or one is an input or another: opening it would lose what it holds.

    `read` has the option and the name of every input file.
    """
    from rerank_cli.batch.journal import files_beside

    if str(options["errors"]) == "-":
        raise UsageError("--errors -: bad rows do not mix with results", "name a file; stderr reports them anyway")
    if str(options["summary"]) == "-" and any(str(target or "-") == "-" for _, target in outputs):
        raise UsageError("--summary -: the counts would mix with the results", "name a file, or send the results to -o")
    flag = "-o" if options["output"] else "--out-dir"
    targets = [target for _, target in outputs if target and is_plain(target)]
    written = [(flag, target) for target in targets]
    written += [(f"{flag}'s journal", path) for target in targets for path in files_beside(target)]
    written += [(f"--{key}", options[key]) for key in ("errors", "summary") if options[key]]
    seen = {file_of(path): flag for flag, path in read if is_plain(path)}
    for flag, path in written:
        if not is_plain(path):
            continue
        if other := seen.get(file_of(path)):
            raise UsageError(f"{flag} {path} is also {other}: writing it would lose what it holds", "name another file")
        seen[file_of(path)] = flag


def file_of(path: str | Path) -> object:
    """What identifies a file under all its names, links included; for a file that does not exist yet, its path."""
    try:
        known = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    return known.st_dev, known.st_ino


def is_plain(path: str | Path) -> bool:
    """Whether a path names something that can be overwritten: not `-`, a pipe or a device."""
    return str(path) != "-" and (not Path(path).exists() or Path(path).is_file())


def stem_of(name: str) -> str:
    """An output's name from its input's: without folder, compression and format."""
    stem = "stdin" if name == "-" else Path(name).name
    for suffix in (*COMPRESSED, ".parquet", ".jsonl", ".ndjson", ".json", ".trec", ".txt", ".tsv", ".run"):
        stem = stem.removesuffix(suffix)
    return stem
