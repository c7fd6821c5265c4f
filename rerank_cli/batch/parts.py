"""Request files cut into parts that can be ranked anywhere, in any order and again: which bytes, and which output.

A part of a plain file is a range of whole lines, a part of a Parquet file some row groups, a compressed file one part.
Its results appear by a rename, so a part is done or not there. Nothing here knows who runs the parts.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.batch import results, scoring
from rerank_cli.batch.jobs import job_of
from rerank_cli.errors import InputError, RowsFailed, UsageError
from rerank_cli.files import cannot_write, replacing
from rerank_cli.readers.input_stream import COMPRESSED
from rerank_cli.readers.rows import raw_rows
from rerank_cli.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.batch.jobs import Job
    from rerank_cli.batch.scoring import SettingsOf
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.settings import FieldSettings, OutputSettings

SMALLEST, LARGEST = 256 << 10, 64 << 20  # bytes a part: work for some seconds at least, a retry of minutes at most
PARTS = 256  # how many parts to aim at between these
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
_NUMBERED = re.compile(r"-\d{5}-of-\d{5}(?=\.)")
MAX_REPORTED = 20  # bad rows of a part that are told on stderr; --errors has all


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
    form: str
    fields: FieldSettings
    settings_of: SettingsOf
    output: OutputSettings
    errors: bool  # write bad rows beside each output
    strict: bool
    identity: str  # options and model: a part that another recipe made does not count as done


class Done(NamedTuple):
    """What became of a part: counts, the first bad rows in words, and what was warned of."""

    counts: dict[str, int]
    told: list[str]
    warnings: list[str]


def files_of(names: Sequence[str]) -> list[str]:
    """The request files of some files and folders, those of a folder by name, `_SUCCESS` and the like left out.

    Raises InputError.
    """
    from rerank_cli.readers.input_stream import check_file

    found: list[str] = []
    for name in names:
        folder = Path(name)
        if not folder.is_dir():
            check_file(name)
            found.append(name)
            continue
        inside = sorted(path for path in folder.iterdir() if path.is_file() and _is_request_file(path.name))
        if not inside:
            raise InputError("no request files (jsonl or parquet) in this folder", where=name)
        found += map(str, inside)
    return found


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
                raise InputError("became shorter while it was read", where=name)
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


def jobs_of(part: Part, fields: FieldSettings, report: Report) -> Iterator[Job]:
    """The rows of a part under their own line numbers. Raises InputError for a file that cannot be read."""
    if part.end is None and part.groups is None:
        for number, (line, raw) in enumerate(raw_rows(part.path)):
            yield job_of(number, part.name, line, raw, fields, report)
        return
    for number, (line, raw) in enumerate(_numbered(part)):
        yield job_of(number, part.name, line, raw, fields, report)


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
                    raise InputError("became shorter while it was read", where=part.name)
                yield line
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=part.name) from error


def rank_part(part: Part, scorer: Scorer, recipe: RankingJobConfig) -> Done:
    """Rank a part and put its results into place. Raises what would meet every part, and RowsFailed if strict."""
    report, counts = Report(), Counter[str]()
    repeats = results.Repeats(recipe.form, report)
    told: list[str] = []
    target = Path(recipe.folder, part.output)
    with _appears(target) as write, _appears(_errors_of(target) if recipe.errors else None) as note:
        for block in scoring.blocks_of(jobs_of(part, recipe.fields, report)):
            for outcome in scoring.rank_block(block, scorer, recipe.settings_of, report):
                error = outcome.error
                try:
                    write(results.render(outcome, recipe.form, recipe.output, report))
                except InputError as fault:
                    error = fault
                counts.update(results.counts_of(outcome, failed=error is not None))
                if error is None:
                    repeats.look(outcome.job)
                    continue
                if recipe.strict:
                    raise RowsFailed(
                        f"stopped at the first bad row (--strict): {results.told(outcome.job, error)}",
                        "finished parts are kept: --resume goes on without them",
                    )
                note(results.error_line(outcome.job, error))
                if len(told) < MAX_REPORTED:
                    told.append(results.told(outcome.job, error))
    done = Done(dict(counts), told, list(report.warnings()))
    with _appears(done_marker(target)) as mark:
        mark(json.dumps({"identity": identity_of(part, recipe), **done._asdict()}).encode())
    return done


def done_before(part: Part, recipe: RankingJobConfig) -> Done | None:
    """What a former run made of a part; None if it is to be ranked. Raises UsageError if that was of other things."""
    target = Path(recipe.folder, part.output)
    try:
        record = json.loads(done_marker(target).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if record.get("identity") != identity_of(part, recipe):
        raise UsageError(
            f"--resume: the input, an option or the model changed since {target} was made",
            "restore it, or start over without --resume",
        )
    return Done(record["counts"], record["told"], record["warnings"]) if target.exists() else None


def drop_numbered(folder: Path, parts: Sequence[Part]) -> int:
    """Remove what another cut of the same files left, as when a file has grown; how many results went."""
    outputs = {part.output for part in parts}
    wholes = {_NUMBERED.sub("", output) for output in outputs}
    left = [
        path
        for path in folder.iterdir()
        if path.name not in outputs and _NUMBERED.search(path.name) and _NUMBERED.sub("", path.name) in wholes
    ]
    for path in left:
        for each in (path, _errors_of(path), done_marker(path)):
            each.unlink(missing_ok=True)
    return len(left)


def identity_of(part: Part, recipe: RankingJobConfig) -> str:
    """What a part's results depend on; of the input its size and time, because digests would cost a reading."""
    known = Path(part.path).stat()
    return json.dumps([recipe.identity, part[:2], part[3:], known.st_size, known.st_mtime_ns])


def done_marker(target: Path) -> Path:
    """Where it is noted that a part is done, until the whole run is."""
    return target.with_name(f".{target.name}.done")


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
