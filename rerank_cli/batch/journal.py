"""An output file that grows and can be resumed: `F.partial`, and next to it `F.state`, which records what is in it.

A killed run leaves both. `--resume` checks that input, options and model are the same and that the partial file holds
what the state vouches for, cuts it back to the last row in the state, and continues from there. Data is on the disk
before the state that vouches for it. This module knows nothing of queries or scores.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.batch.state import State, decode, digest_of_start, encode, ends_line, may_be_ours
from rerank_cli.descriptors import is_plain_target, open_stream
from rerank_cli.errors import OutputError, UsageError
from rerank_cli.files import cannot_write, keep_aside, open_locked, read_own, replacing
from rerank_cli.sync import sync_file, sync_folder

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping
    from pathlib import Path

CHECKPOINT_S = 0.5  # at least so much time between two states: syncing costs some 30 ms on a plain disk
WINDOWS = os.name == "nt"
STATE_BYTES = 1 << 20  # a state has a few hundred
START_OVER = "start over without --resume"


class Journal:
    """The growing output of one batch, and its errors file if there is one.

    `errors` is where bad rows are written, a side file of the output's if `errors_beside`; `identity` is what must not
    change between runs, by its name in messages; `resume` continues where a previous run stopped. A link at `target`
    is replaced, not followed.

    Raises UsageError: the previous run had another input, options or model, or its files are damaged; OutputError: a
    file cannot be written, or another process is writing it.
    """

    def __init__(
        self,
        target: Path,
        errors: Path | None,
        identity: Mapping[str, str],
        *,
        resume: bool,
        errors_beside: bool = False,
    ) -> None:
        self.target = target
        self.partial, self._state_path, self._new_state = files_beside(target)
        self.kept: list[Path] = []  # files of other programs that were in the way, under their new names
        self._identity = dict(identity)
        self._errors: io.FileIO | None = None
        self._errors_path = errors
        self._saved = b""  # the state file as we wrote it last
        self._output = self._open(self.partial)
        try:
            raw = self._read_state()
            previous = self._previous(raw, strict=resume)
            self._keep_foreign(raw)
            self.dropped = 0 if resume else previous.next_row  # rows of a previous run that this one ranks again
            state = previous if resume else State()
            self._renamed = state.complete and self._is_empty() and _holds(self.target, state)
            if state.complete:
                self.state, self._saved = state, raw or b""
            else:
                self._open_errors(target if errors_beside else None)
                self._continue(state)
        except BaseException:
            self.close()
            raise

    @property
    def resumed(self) -> bool:
        """Whether rows of a previous run are kept."""
        return self.state.next_row > 0

    def add(self, output: bytes, errors: bytes, next_row: int, counts: Mapping[str, int]) -> None:
        """Finish some rows: their bytes first, then the state that counts them, unless one was saved just now."""
        _write(self._output, output, self.partial)
        self._output_hash.update(output)
        if self._errors is not None and self._errors_path is not None:
            _write(self._errors, errors, self._errors_path)
            self._errors_hash.update(errors)
        self.state = State(
            next_row,
            self.state.output_bytes + len(output),
            self.state.errors_bytes + (len(errors) if self._errors is not None else 0),
            tuple(sorted(counts.items())),
            output_sha256=self._output_hash.hexdigest(),
            errors_sha256=self._errors_hash.hexdigest(),
        )
        if time.monotonic() - self._saved_at >= CHECKPOINT_S:
            self._save(self.state)

    def finish(self) -> None:
        """Everything is written: give the file its name. The state stays until `delete_state`."""
        if self._renamed:
            return  # a previous run got this far
        try:
            self._save(replace(self.state, complete=True))  # a run killed before the next lines renames when resumed
            if WINDOWS:
                self._output.close()  # Windows renames no open file; elsewhere the lock is kept until it has its name
            self.partial.replace(self.target)
            sync_folder(self.target.parent)
        except OSError as error:
            raise _failure(error, self.target) from None

    def delete_state(self) -> None:
        """All outputs of the run are complete: the state is not needed any more. One of another run is left alone."""
        with contextlib.suppress(OSError):
            if self._state_path.read_bytes() == self._saved:
                self._state_path.unlink()

    def close(self) -> None:
        """Save how far the output got and close the files. Without a finished row nothing is left of them."""
        state = getattr(self, "state", None)  # None: the previous run was refused, and stays as it is
        unfinished = state is not None and not state.complete
        if unfinished and self._encoded(self.state) != self._saved:
            with contextlib.suppress(OutputError):
                self._save(self.state)
        left = (self.partial,) if unfinished and not self.state.next_row else ()
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed already
            if not left and self._is_empty() and not (unfinished and self.state.next_row):
                left = (self.partial,)
        self._close_and_remove(left)
        if self._errors is not None:
            self._errors.close()
        if unfinished and not self.state.next_row:
            self.delete_state()

    def _close_and_remove(self, paths: tuple[Path, ...]) -> None:
        """Remove files before the lock goes, so that nobody else's goes; Windows has no lock and removes none open."""
        if WINDOWS:
            self._output.close()
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
        self._output.close()

    def _is_empty(self) -> bool:
        return not os.fstat(self._output.fileno()).st_size

    def _open(self, path: Path) -> io.FileIO:
        return open_locked(path, partial(_failure, path=path), like=self.target)

    def _read_state(self) -> bytes | None:
        """The bytes of the state file; None if there is none."""
        try:
            return read_own(self._state_path, self.target, STATE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failure(error, self._state_path) from None

    def _keep_foreign(self, raw: bytes | None) -> None:
        """A partial file that no state of ours is about is not ours: it is kept under another name."""
        if (raw is not None and may_be_ours(raw)) or self._is_empty():
            return
        if WINDOWS:
            self._output.close()  # Windows renames no open file; elsewhere it stays locked until it has the other name
        self.kept.append(keep_aside(self.partial))
        self._output.close()
        self._output = self._open(self.partial)

    def _open_errors(self, like: Path | None) -> None:
        path = self._errors_path
        if path is None:
            return
        if is_plain_target(path):
            self._errors = open_locked(path, partial(_failure, path=path), like)
            sync_folder(path.parent)  # the state that vouches for the file may lie in another folder
            return
        try:
            self._errors = open_stream(path)
        except OSError as error:
            raise _failure(error, path) from None

    def _continue(self, state: State) -> None:
        """Go on after `state`: what it does not vouch for is cut off, which is an incomplete row."""
        self._output_hash = digest_of_start(self.partial, state.output_bytes) or hashlib.sha256()
        path = self._plain_errors()
        self._errors_hash = (digest_of_start(path, state.errors_bytes) if path else None) or hashlib.sha256()
        self._save(state)  # it vouches for no more than before, so it may come before the cuts
        _cut(self._output, state.output_bytes, self.partial)
        if path and self._errors is not None:
            _cut(self._errors, state.errors_bytes, path)

    def _plain_errors(self) -> Path | None:
        """The errors file, unless it is a stream, which can be neither read nor cut."""
        return self._errors_path if self._errors_path and is_plain_target(self._errors_path) else None

    def _encoded(self, state: State) -> bytes:
        return encode(state, self._identity)

    def _save(self, state: State) -> None:
        """Data first, then the state that vouches for it. If that fails, what was saved before holds."""
        before, encoded = self._saved, self._encoded(state)
        fail = partial(_failure, path=self._state_path)
        try:
            for stream in (self._output, self._errors):
                if stream is not None:
                    sync_file(stream.fileno())
            with replacing(self._state_path, fail, self._new_state, like=self.target) as write:
                write(encoded)
                # before it is on disk: if a signal arrives meanwhile, `close` must not delete it there
                self.state, self._saved = state, encoded
            sync_folder(self.target.parent)
        except (OSError, OutputError) as error:
            self._saved = before
            if before:
                self.state = decode(before)[0]
            raise fail(error) if isinstance(error, OSError) else error from None
        except BaseException:
            self._saved = before  # after a signal `close` tries again
            raise
        self._saved_at = time.monotonic()

    def _previous(self, raw: bytes | None, *, strict: bool) -> State:
        """The state of a previous run; the start if there is none. With `strict`, it must match this run."""
        if raw is None:
            return State()
        try:
            state, identity = decode(raw)
        except ValueError as error:
            if strict:
                raise UsageError(f"--resume: cannot read {self._state_path}: {error}", START_OVER) from None
            if not may_be_ours(raw):
                self.kept.append(keep_aside(self._state_path))
            return State()
        if strict:
            self._check(state, identity)
        return state

    def _check(self, state: State, identity: Mapping[str, str]) -> None:
        """Raise UsageError unless the previous run had the same identity, and its output matches its state."""
        for name, value in self._identity.items():
            if identity.get(name) != value:
                hint = f"restore it, or start over without --resume (this drops {self.partial.name})"
                raise UsageError(f"--resume: {name} changed since {self.partial} was started", hint)
        renamed = state.complete and self._is_empty()
        if not _holds(self.partial, state) and not (renamed and _holds(self.target, state)):
            raise _damaged(self.target if renamed else self.partial)
        errors = self._plain_errors()
        if errors and not _holds(errors, state, of_errors=True):
            raise _damaged(errors)


def files_beside(target: Path) -> tuple[Path, Path, Path]:
    """The partial output, its state file, and the file that replaces the state file."""
    partial, state, new = (target.with_name(target.name + end) for end in (".partial", ".state", ".state.new"))
    return partial, state, new


def _holds(path: Path, state: State, *, of_errors: bool = False) -> bool:
    """Whether a file begins with what a state vouches for, and is no longer if the state is of a complete output."""
    size = state.errors_bytes if of_errors else state.output_bytes
    found = digest_of_start(path, size)
    if found is None:
        return not size and of_errors  # a file that has nothing to hold need not be there
    if state.complete and path.stat().st_size != size:
        return False
    digest = state.errors_sha256 if of_errors else state.output_sha256
    return not size or (found.hexdigest() == digest if digest else ends_line(path, size))


def _damaged(path: Path) -> UsageError:
    return UsageError(f"--resume: {path} does not match its state file", START_OVER)


def _cut(stream: io.FileIO, size: int, path: Path) -> None:
    """Cut a file to `size`."""
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
