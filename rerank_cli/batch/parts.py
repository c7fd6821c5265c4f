"""Request files cut into parts that can be ranked anywhere, in any order and again: which bytes, and which output.

A part of a plain file is a range of whole lines, a part of a Parquet file some row groups, a compressed file one part.
Its results appear by a rename, so a part is done or not there. Nothing here knows who runs the parts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli import lookup
from rerank_cli.absence import FieldCheck
from rerank_cli.batch.rows import row_of
from rerank_cli.batch.run import run_rows
from rerank_cli.batch.state import digest_of_start
from rerank_cli.compression import SUFFIXES as COMPRESSED
from rerank_cli.errors import InputError, RowsFailed, UsageError
from rerank_cli.files import cannot_write, read_own, replacing
from rerank_cli.readers.rows import raw_rows
from rerank_cli.report import Report
from rerank_cli.sync import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.batch.plan import BatchSettings
    from rerank_cli.batch.rows import BatchRow
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.settings import FieldSettings

SMALLEST, LARGEST = 256 << 10, 64 << 20  # bytes per part: work for some seconds at least, a retry of minutes at most
PARTS = 256  # how many parts to aim at between these
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
_NUMBERED = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
MARKER_BYTES = 1 << 20
MAX_REPORTED = 20  # bad rows of a part that are reported on stderr; --errors has all
GROWN = "start again when nobody writes to it"


class Part(NamedTuple):
    """Some rows of one file: bytes from `start` to `end` (None: everything), or row groups of Parquet."""

    name: str  # as messages call the file
    path: str  # absolute
    output: str  # the file's name in the output folder
    start: int = 0
    end: int | None = None
    first_line: int = 1
    groups: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class RankingJobConfig:
    """How parts are ranked: everything but the scorer. It travels to other processes."""

    folder: str  # of the outputs, absolute
    settings: BatchSettings
    errors: bool  # write bad rows next to each output
    identity: str  # options and model: a part that was ranked with others does not count as done


class Done(NamedTuple):
    """The result of a part: counts, the messages of its first bad rows, and warnings."""

    counts: dict[str, int]
    failures: list[str]
    warnings: list[str]


def files_of(names: Sequence[str]) -> list[str]:
    """The request files of some files and folders, those of a folder by name, `_SUCCESS` and the like left out.

    Raises InputError.
    """
    from rerank_cli.readers.input_stream import check_file

    files: list[str] = []
    for name in names:
        folder = Path(name)
        if not lookup.is_folder(folder):
            check_file(name)
            files.append(name)
            continue
        inside = sorted(path for path in folder.iterdir() if path.is_file() and _is_request_file(path.name))
        if not inside:
            hint = "name files that end in .jsonl or .parquet"
            raise InputError("no request files (jsonl or parquet) in this folder", hint, name)
        files += map(str, inside)
    return files


def _is_request_file(name: str) -> bool:
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return name.endswith(SUFFIXES) and not name.startswith(("_", "."))


def cut(named: Sequence[tuple[str, str, str]]) -> list[Part]:
    """The parts of files, each given as (name, stem of its outputs, suffix of its outputs). Raises InputError."""
    total = sum(Path(name).stat().st_size for name, _, _ in named)
    size = min(LARGEST, max(SMALLEST, total // PARTS))
    parts: list[Part] = []
    for name, stem, suffix in named:
        path = Path(name).resolve()
        if name.lower().endswith(COMPRESSED):
            ranges = [Part(name, str(path), "")]
        elif name.lower().endswith(".parquet"):
            ranges = _cut_groups(name, path, size)
        else:
            ranges = _cut_lines(name, path, size)
        for number, part in enumerate(ranges, 1):
            middle = f"-{number:05d}-of-{len(ranges):05d}" if len(ranges) > 1 else ""
            parts.append(part._replace(output=f"{stem}{middle}{suffix}"))
    return parts


def _cut_lines(name: str, path: Path, size: int) -> list[Part]:
    """Ranges of whole lines. A file of several is read once, to know the number of each range's first line."""
    total = path.stat().st_size
    if total <= size:
        return [Part(name, str(path), "")]
    parts = []
    start, line = 0, 1
    with path.open("rb") as file:
        while start < total:
            end, lines = _next_end(file, start + size)
            if end == start:
                raise InputError("became shorter while it was read", GROWN, name)
            parts.append(Part(name, str(path), "", start, end, line))
            start, line = end, line + lines
    return parts


def _next_end(file: Any, wanted: int) -> tuple[int, int]:
    """The end of the line in which byte `wanted` lies, and the lines up to there; the file stands at their start."""
    lines = 0
    while (left := wanted - file.tell()) > 0 and (block := file.read(min(left, 1 << 20))):
        lines += block.count(b"\n")
    lines += file.readline().endswith(b"\n")
    return file.tell(), lines


def _cut_groups(name: str, path: Path, size: int) -> list[Part]:
    """Row groups, together as long as they are small."""
    from rerank_cli.readers.parquet import group_rows

    rows = group_rows(str(path))
    each = max(1, len(rows) * size // max(1, path.stat().st_size))
    parts = []
    for first in range(0, len(rows), each):
        groups = tuple(range(first, min(first + each, len(rows))))
        parts.append(Part(name, str(path), "", first_line=1 + sum(rows[:first]), groups=groups))
    return parts


def rows_of(part: Part, fields: FieldSettings, report: Report) -> Iterator[BatchRow]:
    """The rows of a part under their own line numbers. Raises InputError for a file that cannot be read."""
    lines = raw_rows(part.path) if part.end is None and part.groups is None else _numbered(part)
    check = FieldCheck(fields)
    for number, (line, raw) in enumerate(lines):
        yield row_of(number, part.name, line, raw, check, report)
    check.finish(report, strict=False)


def _numbered(part: Part) -> Iterator[tuple[int, bytes]]:
    """The lines of a range that are not blank, with their numbers."""
    line = part.first_line
    for block in _blocks(part):
        for raw in block.splitlines() if part.groups is not None else (block,):
            stripped = (raw.removeprefix(b"\xef\xbb\xbf") if line == 1 else raw).strip(b" \r\n")
            if stripped and not stripped.isspace():
                yield line, stripped
            line += 1


def _blocks(part: Part) -> Iterator[bytes]:
    if part.groups is not None:
        from rerank_cli.readers.parquet import json_blocks

        yield from json_blocks(part.path, part.name, part.groups)
        return
    try:
        with open(part.path, "rb") as file:  # noqa: PTH123 a str is what travelled
            file.seek(part.start)
            while part.end is None or file.tell() < part.end:
                if not (line := file.readline()):
                    raise InputError("became shorter while it was read", GROWN, part.name)
                yield line
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", "can every worker read this path?", part.name) from error


def rank_part(part: Part, scorer: Scorer, config: RankingJobConfig) -> Done:
    """Rank a part and rename its results into place. Raises what would meet every part, and RowsFailed if strict."""
    report, counts, failures, digest = Report(), Counter[str](), list[str](), hashlib.sha256()
    target = Path(config.folder, part.output)
    rows = rows_of(part, config.settings.fields, report)
    try:
        with _appears(target) as write, _appears(_errors_of(target) if config.errors else None) as write_errors:
            for block in run_rows(rows, scorer, config.settings, report):
                write(block.output)
                digest.update(block.output)
                write_errors(block.errors)
                counts.update(block.counts)
                failures = (failures + block.failures)[:MAX_REPORTED]
    except RowsFailed as error:
        error.hint = "finished parts are kept: --resume continues without them"
        raise
    done = Done(dict(counts), failures, list(report.warnings()))
    sync_folder(target.parent)  # the results have their names before the marker that vouches for them
    with _appears(done_marker(target)) as write:
        record = {"identity": identity_of(part, config), "sha256": digest.hexdigest(), **done._asdict()}
        write(json.dumps(record).encode())
    return done


def done_before(part: Part, config: RankingJobConfig) -> Done | None:
    """The result of a part that a previous run finished, else None. Raises UsageError if it is not the same part."""
    target = Path(config.folder, part.output)
    try:
        record = json.loads(read_own(done_marker(target), target, MARKER_BYTES))
        done = Done(*(record[name] for name in Done._fields))
        right = _has_right_types(done)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if record.get("identity") != identity_of(part, config):
        hint = "restore it, or start over without --resume"
        raise UsageError(f"--resume: the input, an option or the model changed since {target} was written", hint)
    try:
        same = digest_of_start(target, target.stat().st_size)
    except OSError:
        return None
    return done if right and same and same.hexdigest() == record.get("sha256") else None


def _has_right_types(done: Done) -> bool:
    lists = (done.failures, done.warnings)
    return (
        isinstance(done.counts, dict)
        and all(type(number) is int and number >= 0 for number in done.counts.values())
        and all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists)
    )


def drop_numbered(folder: Path, parts: Sequence[Part]) -> int:
    """Remove the results of another cut of the same files, as when a file has grown; returns how many."""
    outputs = {part.output for part in parts}
    cuts = Counter(part.path for part in parts)
    # a number that the input's own name has is not one of ours
    wholes = {part.output if cuts[part.path] == 1 else _NUMBERED.sub("", part.output) for part in parts}
    left = [
        path
        for path in folder.iterdir()
        if path.name not in outputs and _NUMBERED.search(path.name) and _NUMBERED.sub("", path.name) in wholes
    ]
    for path in left:
        for each in (path, _errors_of(path), done_marker(path)):
            each.unlink(missing_ok=True)
    return len(left)


def identity_of(part: Part, config: RankingJobConfig) -> str:
    """What a part's results depend on; for the input its size and time, because a digest would cost a reading."""
    known = Path(part.path).stat()
    return json.dumps([config.identity, part[:2], part[3:], known.st_size, known.st_mtime_ns])


def done_marker(target: Path) -> Path:
    """The file that says that a part is done, until the whole run is."""
    return target.with_name(f".{target.name}.done")


def delete_markers(config: RankingJobConfig, parts: Sequence[Part]) -> None:
    """The whole run is over: its markers are not needed any more."""
    for part in parts:
        done_marker(Path(config.folder, part.output)).unlink(missing_ok=True)


def _errors_of(target: Path) -> Path:
    return target.with_name(target.name + ".errors")


@contextlib.contextmanager
def _appears(target: Path | None) -> Iterator[Any]:
    """A writer of a file that appears whole at the end of the block, or not at all."""
    if target is None:
        yield lambda _data: None
        return
    # Two workers may hold one part for a moment, when the first was given up but still runs: each has its own file.
    with replacing(target, partial(cannot_write, path=target)) as write:
        yield write
