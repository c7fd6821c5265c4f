"""What a state file says: how far an output got, and digests of what it vouches for. Bytes to records and back.

A state that is damaged anywhere is not a state: its checksum covers all of it. Nothing here opens files but to digest
them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rerank_cli import nesting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from hashlib import _Hash
    from pathlib import Path

VERSION = 2
OLD_VERSION = 1  # of rerank 0.1: without digests and checksum
_START = b'{"version": '  # of every state file
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class State:
    """What is done: the next row, the bytes of output and errors of finished rows, and the counts so far."""

    next_row: int = 0
    output_bytes: int = 0
    errors_bytes: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    complete: bool = False  # the output has its name; the state is kept until all outputs of the run are done
    output_sha256: str = field(default="", compare=False)  # of the first `output_bytes` bytes; "": not known
    errors_sha256: str = field(default="", compare=False)


def encode(state: State, identity: Mapping[str, str]) -> bytes:
    """A state and what must not change between runs, as the bytes of a state file."""
    record = {"version": VERSION, "identity": dict(identity), **asdict(state), "counts": dict(state.counts)}
    return json.dumps({**record, "checksum": _checksum(record)}).encode()


def decode(raw: bytes) -> tuple[State, dict[str, str]]:
    """The state and identity in the bytes of a state file. Raises ValueError for anything else."""
    try:
        record = nesting.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict) or "version" not in record:
        raise ValueError("it is not a state file of rerank")
    version = record["version"]
    if type(version) is not int or version not in {OLD_VERSION, VERSION}:
        raise ValueError("another version of rerank wrote it")
    checksum = record.pop("checksum", None)
    if version == OLD_VERSION and checksum is None:
        record = {"complete": False, "output_sha256": "", "errors_sha256": "", **record}
    elif not _is_checksum(checksum, record):
        raise ValueError("it is damaged")
    if not _has_right_types(record):
        raise ValueError("it is damaged")
    counts = tuple(sorted(record["counts"].items()))
    names = ("next_row", "output_bytes", "errors_bytes", "complete", "output_sha256", "errors_sha256")
    return State(**{name: record[name] for name in names}, counts=counts), record["identity"]


def _is_checksum(checksum: object, record: Mapping[str, Any]) -> bool:
    try:
        return checksum == _checksum(record)
    except (ValueError, RecursionError):  # lone surrogates, or too deep to write again
        return False


def may_be_ours(raw: bytes) -> bool:
    """Whether a file under the name of a state is one, whole or damaged: not a file of another program."""
    start = raw.lstrip(b"\0")[: len(_START)]  # a power cut may leave zeros
    return _START.startswith(start)


def digest_of_start(path: Path, size: int) -> _Hash | None:
    """SHA-256 over the first `size` bytes of a file, to be continued; None if it is shorter or cannot be read."""
    whole = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while size and (block := file.read(min(size, BLOCK))):
                whole.update(block)
                size -= len(block)
    except OSError:
        return None
    return None if size else whole


def ends_line(path: Path, size: int) -> bool:
    """Whether the first `size` bytes of a file, at least one, end a line: all that an old state can be checked by."""
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 over the bytes of files, each after its length. Raises OSError."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
            whole.update(file.tell().to_bytes(8, "little") + part.digest())
    return whole.hexdigest()


def _checksum(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _has_right_types(record: dict[str, Any]) -> bool:
    numbers = [record.get(name) for name in ("next_row", "output_bytes", "errors_bytes")]
    counts, identity = record.get("counts"), record.get("identity")
    texts = [record.get("output_sha256"), record.get("errors_sha256")]
    if not isinstance(counts, dict) or not isinstance(identity, dict) or not isinstance(record.get("complete"), bool):
        return False
    texts += identity.values()
    numbers += counts.values()
    return all(type(number) is int and 0 <= number < 1 << 63 for number in numbers) and all(
        isinstance(text, str) for text in texts
    )
