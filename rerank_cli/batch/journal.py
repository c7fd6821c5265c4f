"""An output file that grows and can be gone on with: `F.partial`, and beside it `F.state` saying what is in it.

A killed run leaves both. `--resume` checks that input, options and model are the same, cuts the partial file back to
the last row that the state vouches for, and goes on from there. It knows nothing of queries or scores.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rerank_cli.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class State:
    """What is done: the next row, the bytes of output and errors of finished rows, and the counts so far."""

    next_row: int = 0
    output_bytes: int = 0
    errors_bytes: int = 0
    counts: tuple[tuple[str, int], ...] = ()


class Journal:
    """The growing output of one batch, and its errors file if there is one.

    Args:
        target: the file that stands at the end.
        errors: where bad rows are written, or None.
        identity: what must not change between runs, each under a name for messages.
        resume: go on where a former run stopped, if there is one.

    Raises:
        UsageError: the former run was made of something else.
        OutputError: a file cannot be written.
    """

    def __init__(self, target: Path, errors: Path | None, identity: Mapping[str, str], *, resume: bool) -> None:
        self.target = target
        self._partial = target.with_name(target.name + ".partial")
        self._state_path = target.with_name(target.name + ".state")
        self._identity = dict(identity)
        self.state = self._former() if resume else State()
        self._output = _open_cut(self._partial, self.state.output_bytes)
        self._errors = _open_cut(errors, self.state.errors_bytes) if errors else None
        self._save(self.state)

    @property
    def resumed(self) -> bool:
        """Whether rows of a former run are kept."""
        return self.state.next_row > 0

    def add(self, output: bytes, errors: bytes, next_row: int, counts: Mapping[str, int]) -> None:
        """Finish some rows: their bytes first, then the state that vouches for them."""
        try:
            self._output.write(output)
            self._output.flush()
            if self._errors:
                self._errors.write(errors)
                self._errors.flush()
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror}", where=str(self._partial)) from None
        state = State(
            next_row,
            self.state.output_bytes + len(output),
            self.state.errors_bytes + len(errors),
            tuple(sorted(counts.items())),
        )
        self._save(state)

    def finish(self) -> None:
        """Everything is written: give the file its name and drop the state."""
        try:
            self._output.flush()
            os.fsync(self._output.fileno())
            self._partial.replace(self.target)
            self._state_path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror}", where=str(self.target)) from None

    def close(self) -> None:
        """Close the files; what was not finished stays for --resume."""
        self._output.close()
        if self._errors:
            self._errors.close()

    def _save(self, state: State) -> None:
        record = {
            "version": VERSION,
            "identity": self._identity,
            "next_row": state.next_row,
            "output_bytes": state.output_bytes,
            "errors_bytes": state.errors_bytes,
            "counts": dict(state.counts),
        }
        temporary = self._state_path.with_name(self._state_path.name + ".new")
        try:
            temporary.write_text(json.dumps(record))
            temporary.replace(self._state_path)
        except OSError as error:
            raise OutputError(f"cannot write: {error.strerror}", where=str(self._state_path)) from None
        self.state = state

    def _former(self) -> State:
        """What a former run left, checked; the start if it left nothing."""
        try:
            record = json.loads(self._state_path.read_bytes())
            size = self._partial.stat().st_size
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:
            raise OutputError(
                f"cannot read the state of the former run: {error}", where=str(self._state_path)
            ) from None
        for name, value in self._identity.items():
            if record.get("identity", {}).get(name) != value:
                raise UsageError(
                    f"--resume: {name} changed since {self._partial} was begun",
                    f"restore it, or start over without --resume (this drops {self._partial.name})",
                )
        state = _state(record)
        if record.get("version") != VERSION or size < state.output_bytes:
            raise UsageError(f"--resume: {self._partial} is not what its state says", "start over without --resume")
        return state


def _state(record: dict[str, Any]) -> State:
    counts = tuple(sorted(record.get("counts", {}).items()))
    return State(record["next_row"], record["output_bytes"], record["errors_bytes"], counts)


def _open_cut(path: Path, size: int) -> BinaryIO:
    """A file to append to, cut to `size`: what lies beyond is a torn row."""
    try:
        stream = path.open("r+b" if size else "w+b")
        stream.truncate(size)
        stream.seek(size)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=str(path)) from None
    return stream


def digest_of(paths: Iterable[str]) -> str:
    """SHA-256 over the bytes of files, each after its length: what the input was."""
    whole = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
            whole.update(file.tell().to_bytes(8, "little") + part.digest())
    return whole.hexdigest()
