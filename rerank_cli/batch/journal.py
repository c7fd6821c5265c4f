"""An output file that grows and can be gone on with: `F.partial`, and beside it `F.state` saying what is in it.

A killed run leaves both. `--resume` checks that input, options and model are the same, cuts the partial file back to
the last row that the state vouches for, and goes on from there. It knows nothing of queries or scores.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import OutputError, UsageError
from rerank_cli.files import cannot_write, replacing

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Mapping

VERSION = 1


@dataclass(frozen=True, slots=True)
class State:
    """What is done: the next row, the bytes of output and errors of finished rows, and the counts so far."""

    next_row: int = 0
    output_bytes: int = 0
    errors_bytes: int = 0
    counts: tuple[tuple[str, int], ...] = ()
    complete: bool = False  # the output stands; the state is kept while other outputs of the run are not done


class Journal:
    """The growing output of one batch, and its errors file if there is one.

    Args:
        target: the file that stands at the end; a link keeps pointing and what it points at is replaced.
        errors: where bad rows are written, or None.
        identity: what must not change between runs, each under a name for messages.
        resume: go on where a former run stopped, if there is one.

    Raises:
        UsageError: the former run was made of something else.
        OutputError: a file cannot be written, or another process is writing it.
    """

    def __init__(self, target: Path, errors: Path | None, identity: Mapping[str, str], *, resume: bool) -> None:
        self.target = Path(os.path.realpath(target))
        self.partial, self._state_path, self._new_state = files_beside(self.target)
        self._identity = dict(identity)
        self._output = open_locked(self.partial)
        self._errors: io.FileIO | None = None
        try:
            former = self._former(strict=resume)
            self.state = former if resume else State()
            self.dropped = 0 if resume else former.next_row  # rows of a former run that this one begins anew
            if self.state.complete:
                return
            if errors:
                self._errors = open_locked(errors)
                _require_size(errors, self.state.errors_bytes)
                _cut(self._errors, self.state.errors_bytes, errors)
            _cut(self._output, self.state.output_bytes, self.partial)
            self._save(self.state)
        except BaseException:
            self.close()
            raise

    @property
    def resumed(self) -> bool:
        """Whether rows of a former run are kept."""
        return self.state.next_row > 0

    def add(self, output: bytes, errors: bytes, next_row: int, counts: Mapping[str, int]) -> None:
        """Finish some rows: their bytes first, then the state that vouches for them."""
        _write(self._output, output, self.partial)
        if self._errors is not None:
            _write(self._errors, errors, Path(str(self._errors.name)))
        state = State(
            next_row,
            self.state.output_bytes + len(output),
            self.state.errors_bytes + (len(errors) if self._errors is not None else 0),
            tuple(sorted(counts.items())),
        )
        self._save(state)

    def finish(self) -> None:
        """Everything is written: give the file its name. The state stays until `forget`."""
        try:
            if self.state.complete and self.target.exists() and not self.partial.stat().st_size:
                return  # a former run got this far
            os.fsync(self._output.fileno())
            with contextlib.suppress(FileNotFoundError):
                self.partial.chmod(stat.S_IMODE(self.target.stat().st_mode))
            self._save(replace(self.state, complete=True))  # a run killed before the next line renames when resumed
            self.partial.replace(self.target)
        except OSError as error:
            raise _failure(error, self.target) from None

    def forget(self) -> None:
        """The whole run is over: drop the state."""
        with contextlib.suppress(OSError):
            self._state_path.unlink()

    def close(self) -> None:
        """Close the files; what was begun stays for --resume, what was not leaves no trace."""
        self._output.close()
        if self._errors is not None:
            self._errors.close()
        state = getattr(self, "state", None)  # None: the former run was refused, and stays as it is
        with contextlib.suppress(OSError):
            if self.partial.stat().st_size == 0 and (state is None or state.complete or not state.next_row):
                self.partial.unlink()
        if state is not None and not state.complete and not state.next_row:
            self.forget()

    def _save(self, state: State) -> None:
        record = {
            "version": VERSION,
            "identity": self._identity,
            "next_row": state.next_row,
            "output_bytes": state.output_bytes,
            "errors_bytes": state.errors_bytes,
            "counts": dict(state.counts),
            "complete": state.complete,
        }
        before = self.state
        try:
            with replacing(self._state_path, partial(_failure, path=self._state_path), self._new_state) as write:
                write(json.dumps(record).encode())
                self.state = state  # before it counts on disk: a signal meanwhile must not make `close` forget it there
        except OutputError:
            self.state = before
            raise

    def _former(self, *, strict: bool) -> State:
        """What a former run left; the start if it left nothing. With `strict`, it must fit this run."""
        try:
            record = json.loads(self._state_path.read_bytes())
            state = _state(record)
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if not strict:
                return State()
            raise UsageError(
                f"--resume: cannot read {self._state_path}: {error}", "start over without --resume"
            ) from None
        if strict:
            self._check(record, state)
        return state

    def _check(self, record: dict[str, Any], state: State) -> None:
        """Raise UsageError unless the former run was of the same things, and its output is what its state says."""
        for name, value in self._identity.items():
            if record["identity"].get(name) != value:
                raise UsageError(
                    f"--resume: {name} changed since {self.partial} was begun",
                    f"restore it, or start over without --resume (this drops {self.partial.name})",
                )
        renamed = state.complete and not self.partial.stat().st_size
        whole = self.target if renamed else self.partial
        if record.get("version") != VERSION or not _holds(whole, state.output_bytes):
            raise UsageError(f"--resume: {whole} is not what its state says", "start over without --resume")


def files_beside(target: Path) -> tuple[Path, Path, Path]:
    """Where an output grows, where it is said what is in it, and where that is written anew."""
    own = Path(os.path.realpath(target))
    partial, state, new = (own.with_name(own.name + end) for end in (".partial", ".state", ".state.new"))
    return partial, state, new


def _state(record: dict[str, Any]) -> State:
    counts = tuple(sorted(record["counts"].items()))
    complete = bool(record.get("complete"))
    return State(record["next_row"], record["output_bytes"], record["errors_bytes"], counts, complete)


def _holds(path: Path, size: int) -> bool:
    """Whether a file has the bytes that a state vouches for, the last of which ends a row."""
    try:
        with path.open("rb") as file:
            if size == 0:
                return True
            file.seek(size - 1)
            return file.read(1) == b"\n"
    except OSError:
        return False


def is_regular(path: Path) -> bool:
    """Whether a path is, or can become, a plain file: not a pipe, a device or `/dev/fd/3`."""
    try:
        return stat.S_ISREG(path.stat().st_mode) and not str(path).startswith(("/dev/", "/proc/"))
    except OSError:
        return not str(path).startswith(("/dev/", "/proc/"))


def open_locked(path: Path) -> io.FileIO:
    """A file to write that no other process of ours is writing, unbuffered so that no write can fail unseen.

    Raises OutputError.
    """
    try:
        stream = open(path, "ab", buffering=0)  # noqa: SIM115, PTH123 lives as long as the journal
    except OSError as error:
        raise _failure(error, path) from None
    with contextlib.suppress(ImportError, AttributeError):  # Windows has no fcntl: there nobody is kept out
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:  # else: a file system without locks
                stream.close()
                raise OutputError("another rerank is writing this file", "wait for it", str(path)) from None
    return stream


def _require_size(path: Path, size: int) -> None:
    """Raise UsageError for a file that lost what a former run wrote: cutting it to size would fill it with NUL."""
    if is_regular(path) and path.stat().st_size < size:
        raise UsageError(f"--resume: {path} is not what its state says", "start over without --resume")


def _cut(stream: io.FileIO, size: int, path: Path) -> None:
    """Cut a file to `size`: what lies beyond is a torn row. A pipe or device is left as it is."""
    if not is_regular(path):
        return
    try:
        stream.truncate(size)
    except OSError as error:
        raise _failure(error, path) from None


def _write(stream: io.FileIO, data: bytes, path: Path) -> None:
    """Everything, or OutputError."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) or 0 :]
    except OSError as error:
        raise _failure(error, path) from None


def _failure(error: OSError, path: Path) -> OutputError:
    full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", None)}
    hint = "free some space, then go on with --resume" if full else None
    return cannot_write(error, path, hint)


def digest_of(paths: Iterable[str]) -> str:
    """SHA-256 over the bytes of files, each after its length: what the input was."""
    whole = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
            whole.update(file.tell().to_bytes(8, "little") + part.digest())
    return whole.hexdigest()
