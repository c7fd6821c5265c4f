"""Names of what `batch` writes, and the checks before it: no output is an input or another, all can be written.

It reads no content.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from rerank_cli.compression import SUFFIXES as COMPRESSED
from rerank_cli.descriptors import is_plain_target
from rerank_cli.errors import OutputError, UsageError
from rerank_cli.files import cannot_write, reason_of, require_writable_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.batch.plan import BatchPlan, Output
    from rerank_cli.terminal import Terminal

SUFFIXES = {"responses": ".responses.jsonl", "rows": ".rows.jsonl", "trec": ".trec"}


def require_distinct(outputs: list[tuple[str, str]]) -> None:
    """Raise UsageError if two inputs, given as (input, output), would write one file."""
    first: dict[str, str] = {}
    for name, target in outputs:
        key = folded(target)
        if first.setdefault(key, name) != name or outputs.count((name, target)) > 1:
            raise UsageError(
                f"`{first[key]}` and `{name}` would both be written to {target}",
                "rename one, or give it its own --out-dir",
            )


def require_apart(options: Mapping[str, Any], read: list[tuple[str, str]], outputs: tuple[Output, ...]) -> None:
    """Raise UsageError if outputs would mix, or one is an input or another: opening it would lose what it holds.

    `read` has the option and the name of every input file.
    """
    if str(options["errors"]) == "-":
        raise UsageError("--errors -: bad rows do not mix with results", "name a file; stderr reports them anyway")
    if str(options["summary"]) == "-" and any(str(target or "-") == "-" for _, target in outputs):
        raise UsageError("--summary -: the counts would mix with the results", "name a file, or send the results to -o")
    flag = "-o" if options["output"] else "--out-dir"
    targets = [target for _, target in outputs if target and is_plain(target)]
    written = [(flag, target) for target in targets]
    follow = options["output"] is not None
    written += [(f"{flag}'s journal", path) for target in targets for path in journal_of(target, follow=follow)]
    written += [(f"--{key}", options[key]) for key in ("errors", "summary") if options[key]]
    seen = {file_of(path): flag for flag, path in read if is_plain(path)}
    if any(path == "-" for _, path in read) and (stdin := file_of_stdin()):
        seen[stdin] = "standard input"
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
        return folded(os.path.realpath(path))
    return known.st_dev, known.st_ino


def folded(path: str) -> str:
    """A path as the system compares names of new files: Windows and macOS ignore case, macOS how accents are stored."""
    return normalize("NFC", path).casefold() if sys.platform in {"darwin", "win32"} else path


def file_of_stdin() -> object:
    """What identifies the file behind standard input; None if there is none."""
    try:
        known = os.fstat(0)
    except OSError:
        return None
    return (known.st_dev, known.st_ino) if stat.S_ISREG(known.st_mode) else None


def is_plain(path: str | Path) -> bool:
    """Whether a path names something that can be overwritten: not `-`, a stream, a pipe or a device."""
    return str(path) != "-" and is_plain_target(path)


def journal_of(target: str | Path, *, follow: bool) -> tuple[Path, ...]:
    """The files that a journal writes beside an output, or beside the file that a link of the user's points to."""
    from rerank_cli.batch.journal import files_beside

    return files_beside(Path(os.path.realpath(target)) if follow else Path(target))


def make_folder(path: Path | None) -> None:
    """Create the folder of --out-dir. Raises OutputError, also for a folder where no file can be created."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be created: {reason_of(error)}", "choose another folder with `--out-dir`", str(path)
        ) from None
    try:
        require_writable_folder(path)
    except OSError as error:
        raise cannot_write(error, path) from None


def require_writable(plan: BatchPlan, summary: Path | None, terminal: Terminal) -> None:
    """Raise OutputError for any output that cannot be written, before a model is opened. It makes no file."""
    from rerank_cli.batch.local import is_stream
    from rerank_cli.writers.output import check_output

    if summary is not None:
        check_output(summary, terminal)
    if plan.errors is not None and plan.out_dir is None:
        check_output(plan.errors, terminal, grows=True)
    for output in plan.outputs:
        target = output.target
        if plan.out_dir is None:
            check_output(target, terminal)
        if target is not None and (plan.out_dir is not None or not is_stream(target)):
            _require_journal(plan, target)


def _require_journal(plan: BatchPlan, target: Path) -> None:
    """Raise OutputError if an output or a file beside it cannot be written."""
    beside = journal_of(target, follow=plan.out_dir is None)
    if plan.out_dir is not None and plan.errors is not None:
        beside = (*beside, target.with_name(target.name + ".errors"))
    for path in (target, *beside):
        try:
            known = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # `make_folder` and `check_output` speak of folders
        except OSError as error:
            raise cannot_write(error, path) from None
        if path is target and plan.out_dir is None:
            continue
        if not stat.S_ISREG(known.st_mode):
            hint = f"remove it, or choose another {'--out-dir' if plan.out_dir else '-o'}"
            raise OutputError("cannot write: it is not a plain file, and links are not followed here", hint, str(path))
        if not os.access(path, os.W_OK):
            raise cannot_write(PermissionError(errno.EACCES, os.strerror(errno.EACCES)), path)


def stem_of(name: str) -> str:
    """An output's name from its input's: without folder, compression and format."""
    stem = "stdin" if name == "-" else Path(name).name
    for suffix in (*COMPRESSED, ".parquet", ".jsonl", ".ndjson", ".json", ".trec", ".txt", ".tsv", ".run"):
        stem = stem.removesuffix(suffix)
    return stem
