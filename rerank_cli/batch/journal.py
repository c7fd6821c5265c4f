"""An output file that grows and can be resumed: `F.partial`, and next to it `F.state`, which records what is in it.

A killed run leaves both. `--resume` checks that input, options and model are the same, cuts the partial file back to
the last row in the state, and continues from there. It knows nothing of queries or scores.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, replace
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
    complete: bool = False  # the output has its name; the state is kept until all outputs of the run are done


class Journal:
    """The growing output of one batch, and its errors file if there is one.

    A `target` that is a link has the file it points to replaced; `errors` is where bad rows are written; `identity` is
    what must not change between runs, by its name in messages; `resume` continues where a previous run stopped.

    Raises UsageError: the previous run had another input, options or model; OutputError: a file cannot be written, or
    another process is writing it.
    """

    def __init__(self, target: Path, errors: Path | None, identity: Mapping[str, str], *, resume: bool) -> None:
        self.target = Path(os.path.realpath(target))
        self.partial, self._state_path, self._new_state = files_beside(self.target)
        self._identity = dict(identity)
        self._output = open_locked(self.partial)
        self._errors: io.FileIO | None = None
        try:
            previous = self._previous(strict=resume)
            self.state = previous if resume else State()
            self.dropped = 0 if resume else previous.next_row  # rows of a previous run that this one ranks again
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
        """Whether rows of a previous run are kept."""
        return self.state.next_row > 0

    def add(self, output: bytes, errors: bytes, next_row: int, counts: Mapping[str, int]) -> None:
        """Finish some rows: their bytes first, then the state that counts them."""
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
        """Everything is written: give the file its name. The state stays until `delete_state`."""
        try:
            if self.state.complete and self.target.exists() and not self.partial.stat().st_size:
                return  # a previous run got this far
            os.fsync(self._output.fileno())
            with contextlib.suppress(FileNotFoundError):
                self.partial.chmod(stat.S_IMODE(self.target.stat().st_mode))
            self._save(replace(self.state, complete=True))  # a run killed before the next line renames when resumed
            self.partial.replace(self.target)
        except OSError as error:
            raise _failure(error, self.target) from None

    def delete_state(self) -> None:
        """All outputs of the run are complete: the state is not needed any more."""
        with contextlib.suppress(OSError):
            self._state_path.unlink()

    def close(self) -> None:
        """Close the files; an output with rows stays for --resume, an empty one is removed."""
        self._output.close()
        if self._errors is not None:
            self._errors.close()
        state = getattr(self, "state", None)  # None: the previous run was refused, and stays as it is
        with contextlib.suppress(OSError):
            if self.partial.stat().st_size == 0 and (state is None or state.complete or not state.next_row):
                self.partial.unlink()
        if state is not None and not state.complete and not state.next_row:
            self.delete_state()

    def _save(self, state: State) -> None:
        record = {"version": VERSION, "identity": self._identity, **asdict(state), "counts": dict(state.counts)}
        before = self.state
        try:
            with replacing(self._state_path, partial(_failure, path=self._state_path), self._new_state) as write:
                write(json.dumps(record).encode())
                self.state = (
                    state  # before it is on disk: if a signal arrives meanwhile, `close` must not delete it there
                )
        except OutputError:
            self.state = before
            raise

    def _previous(self, *, strict: bool) -> State:
        """The state of a previous run; the start if there is none. With `strict`, it must match this run."""
        try:
            record = json.loads(self._state_path.read_bytes())
            numbers = (record["next_row"], record["output_bytes"], record["errors_bytes"])
            state = State(*numbers, tuple(sorted(record["counts"].items())), bool(record.get("complete")))
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if not strict:
                return State()
            hint = "start over without --resume"
            raise UsageError(f"--resume: cannot read {self._state_path}: {error}", hint) from None
        if strict:
            self._check(record, state)
        return state

    def _check(self, record: dict[str, Any], state: State) -> None:
        """Raise UsageError unless the previous run had the same identity, and its output matches its state."""
        for name, value in self._identity.items():
            if record["identity"].get(name) != value:
                hint = f"restore it, or start over without --resume (this drops {self.partial.name})"
                raise UsageError(f"--resume: {name} changed since {self.partial} was started", hint)
        renamed = state.complete and not self.partial.stat().st_size
        whole = self.target if renamed else self.partial
        if record.get("version") != VERSION or not _holds(whole, state.output_bytes):
            raise UsageError(f"--resume: {whole} does not match its state file", "start over without --resume")


def files_beside(target: Path) -> tuple[Path, Path, Path]:
    """The partial output, its state file, and the file that replaces the state file."""
    own = Path(os.path.realpath(target))
    partial, state, new = (own.with_name(own.name + end) for end in (".partial", ".state", ".state.new"))
    return partial, state, new


def _holds(path: Path, size: int) -> bool:
    """Whether a file has at least `size` bytes, the last of which ends a row."""
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
    """A file to write that no other rerank is writing, unbuffered so that every failed write is noticed.

    Raises OutputError.
    """
    try:
        stream = open(path, "ab", buffering=0)  # noqa: SIM115, PTH123 lives as long as the journal
    except OSError as error:
        raise _failure(error, path) from None
    with contextlib.suppress(ImportError, AttributeError):  # Windows has no fcntl: no lock there
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:  # else: a file system without locks
                stream.close()
                raise OutputError("another rerank is writing this file", "wait for it", str(path)) from None
    return stream


def _require_size(path: Path, size: int) -> None:
    """Raise UsageError for a file that lost what a previous run wrote: truncating would fill it with NUL."""
    if is_regular(path) and path.stat().st_size < size:
        raise UsageError(f"--resume: {path} does not match its state file", "start over without --resume")


def _cut(stream: io.FileIO, size: int, path: Path) -> None:
    """Cut a file to `size`: the rest is an incomplete row. A pipe or device is left as it is."""
    if not is_regular(path):
        return
    try:
        stream.truncate(size)
    except OSError as error:
        raise _failure(error, path) from None


def _write(stream: io.FileIO, data: bytes, path: Path) -> None:
    """Write all bytes. Raises OutputError."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[stream.write(rest) or 0 :]
    except OSError as error:
        raise _failure(error, path) from None


def _failure(error: OSError, path: Path) -> OutputError:
    full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", None)}
    hint = "free some space, then continue with --resume" if full else None
    return cannot_write(error, path, hint)


def digest_of(paths: Iterable[str]) -> str:
    """SHA-256 over the bytes of files, each after its length."""
    whole = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
            whole.update(file.tell().to_bytes(8, "little") + part.digest())
    return whole.hexdigest()
