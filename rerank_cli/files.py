"""How files are written: whole or not at all, never through a link that was planted, with their final rights at once.

`replacing` writes a result. `open_locked` opens a side file, which grows under a name that we chose: it must be ours.
`require_replaceable` and `require_growable` report what cannot be written before work is spent on it. Nothing here
knows what is written, nor who reads it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from rerank_cli.errors import OutputError
from rerank_cli.sync import sync_file

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nor wait for the reader of a planted pipe


def reason_of(error: BaseException) -> str:
    """What the system said, without errno and path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_write(error: OSError, path: object, hint: str | None = None) -> OutputError:
    """The error for a file that cannot be written, with the system's reason."""
    return OutputError(
        f"cannot write: {reason_of(error)}", hint or "is the disk full, and may you write there?", str(path)
    )


@contextlib.contextmanager
def replacing(
    target: Path,
    failure: Callable[[OSError], Exception] = lambda error: error,
    temporary: Path | None = None,
    like: Path | None = None,
) -> Iterator[Callable[[bytes], None]]:
    """A `write(bytes)` into a file beside `target`, which takes its place when the block ends without an error.

    Whatever ends the block, no half-written file stays behind, and a power cut leaves the old file or the new one. The
    new file has the permissions and owner of `like`, by default of the old file, before the first byte is in it. A link
    at `target` is replaced itself.

    `failure` makes what is raised for an error of the system while writing and renaming, by default that error. The
    file written first is `temporary`, which is replaced if it is there, or one under a name of its own.
    """
    new = temporary or _unused_name(target)
    try:
        if temporary:
            temporary.unlink(missing_ok=True)
        stream = _open_new(new, like or target)
    except OSError as error:
        raise failure(error) from None

    def write(data: bytes) -> None:
        try:
            stream.write(data)
        except OSError as error:
            raise failure(error) from None

    try:
        yield write
        try:
            _take_place(stream, new, target)
        except OSError as error:
            raise failure(error) from None
    except BaseException:  # also Ctrl-C
        for step in (stream.close, new.unlink):
            with contextlib.suppress(OSError):
                step()
        raise


def _take_place(stream: BinaryIO, new: Path, target: Path) -> None:
    """Put a file that is written into the place of another: its data is on the disk before its name is."""
    stream.flush()
    sync_file(stream.fileno())
    stream.close()
    new.replace(target)


def open_locked(path: Path, failure: Callable[[OSError], Exception], like: Path | None = None) -> io.FileIO:
    """A file to append to that no other rerank writes, unbuffered so that every failed write is noticed.

    A link is not followed. With `like` it is a side file, whose name is our choice and not the user's: then it has the
    rights of `like` from the start, and a file that somebody else may have planted is refused. Raises OutputError if
    another process writes it, else what `failure` makes of the system's error.
    """
    while True:
        try:
            stream = _open_to_append(path, like)
        except OSError as error:
            raise failure(error) from None
        try:
            _lock(stream, path)
            # whoever held the lock may have renamed or removed the file meanwhile: then it is not ours to write
            if _has_name(stream, path):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()


def read_own(path: Path, like: Path, most: int) -> bytes:
    """The first `most` bytes of a side file. Raises OSError, also for a link or a file of somebody else."""
    with open(path, "rb", opener=_opener(like)) as stream:
        _require_plain(stream.fileno())
        _require_ours(stream.fileno(), path, like)
        return stream.read(most)


def require_replaceable(target: Path) -> None:
    """Raise the OSError that replacing a file would end with, as far as it can be known before."""
    known = _lstat(target)
    if known is not None:
        if stat.S_ISDIR(known.st_mode):
            raise _os_error(errno.EISDIR)
        if not stat.S_ISLNK(known.st_mode) and not os.access(target, os.W_OK):
            raise _os_error(errno.EACCES)
        _require_no_sticky_owner(target.parent, known)
    require_writable_folder(target.parent)


def require_growable(path: Path) -> None:
    """Raise the OSError that opening a file to append would end with; no file is created."""
    if _lstat(path) is None:
        require_writable_folder(path.parent)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | NO_LINKS))


def require_writable_folder(folder: Path) -> None:
    """Raise the OSError of creating a file in a folder: one is created and removed."""
    name = folder / _unused_name(folder / "x").name
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS, 0o600))
    name.unlink()


def keep_aside(path: Path) -> Path:
    """Give a file that we did not write a new name beside its own, which is returned. Raises OutputError."""
    kept = path.with_name(f"{path.name}.{os.urandom(3).hex()}.kept")
    try:
        path.rename(kept)
    except OSError as error:
        raise cannot_write(error, path) from None
    return kept


def _unused_name(target: Path) -> Path:
    return target.with_name(f".rerank-{os.getpid()}-{os.urandom(4).hex()}.tmp")


def _open_new(path: Path, like: Path) -> io.BufferedWriter:
    """A file that was not there, with the rights of `like` before anything is written."""
    stream: io.BufferedWriter = open(path, "xb", opener=_opener(like))  # noqa: SIM115
    _take_rights(stream.fileno(), like)
    return stream


def _open_to_append(path: Path, like: Path | None) -> io.FileIO:
    stream: io.FileIO = open(path, "ab", buffering=0, opener=_opener(like or path))  # noqa: SIM115
    try:
        _require_plain(stream.fileno())
        if like:
            _require_ours(stream.fileno(), path, like)
            _take_rights(stream.fileno(), like)
    except BaseException:
        stream.close()
        raise
    return stream


def _opener(like: Path) -> Callable[[str, int], int]:
    """How `open` creates files: through no link, and with no more rights than `like` has."""
    known = _lstat(like)
    mode = stat.S_IMODE(known.st_mode) if known and stat.S_ISREG(known.st_mode) else 0o666

    def opened(name: str, flags: int) -> int:
        try:
            return os.open(name, flags | NO_LINKS, mode)
        except OSError as error:
            if error.errno == errno.ELOOP and os.path.islink(name):  # noqa: PTH114
                raise OSError(errno.ELOOP, "it is a link, which is not followed") from None
            raise

    return opened


def _take_rights(descriptor: int, like: Path) -> None:
    """Give an open file the permissions and owner of `like`, if that is a file."""
    known = _lstat(like)
    if known is None or not stat.S_ISREG(known.st_mode) or not hasattr(os, "fchmod"):
        return
    with contextlib.suppress(PermissionError, AttributeError):
        os.fchown(descriptor, known.st_uid, known.st_gid)
    with contextlib.suppress(PermissionError):  # of a file system without permissions
        os.fchmod(descriptor, stat.S_IMODE(known.st_mode))


def _require_plain(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a plain file")


def _require_ours(descriptor: int, path: Path, like: Path) -> None:
    """Raise OSError for a file that somebody else may have planted: it has another name too, or another owner."""
    known = os.fstat(descriptor)
    if known.st_nlink > 1:
        raise OSError(errno.EMLINK, "the file has another name too (a hard link); remove this one")
    if not hasattr(os, "geteuid"):
        return
    target = _lstat(like)
    if known.st_uid not in {os.geteuid(), path.parent.stat().st_uid, target.st_uid if target else os.geteuid()}:
        raise OSError(errno.EPERM, "the file belongs to another user; remove it or choose another place")


def _lock(stream: io.FileIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: no lock there
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:  # else: a file system without locks
            raise OutputError("another rerank is writing this file", "wait for it", str(path)) from None


def _has_name(stream: io.FileIO, path: Path) -> bool:
    """Whether a path still names the open file."""
    known = _lstat(path)
    return known is not None and os.path.samestat(known, os.fstat(stream.fileno()))


def _lstat(path: Path) -> os.stat_result | None:
    """What is at a path, links not followed; None if nothing is. Raises the OSError of a name that cannot be."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _require_no_sticky_owner(folder: Path, known: os.stat_result) -> None:
    """In a folder such as /tmp only the owner of a file may replace it."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        return
    about = folder.stat()
    if about.st_mode & stat.S_ISVTX and os.geteuid() not in {known.st_uid, about.st_uid}:
        raise _os_error(errno.EPERM)


def _os_error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
