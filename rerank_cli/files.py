"""Files that appear whole or not at all, and what the system said when one could not be written.

It knows paths and bytes: not what is written, nor who reads it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from rerank_cli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def reason_of(error: BaseException) -> str:
    """What the system said, without errno and path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_write(error: OSError, path: object, hint: str | None = None) -> OutputError:
    """The error for a file that cannot be written, with the system's reason."""
    return OutputError(f"cannot write: {reason_of(error)}", hint, str(path))


@contextlib.contextmanager
def replacing(
    target: Path, failure: Callable[[OSError], Exception] = lambda error: error, temporary: Path | None = None
) -> Iterator[Callable[[bytes], None]]:
    """A `write(bytes)` into a file beside `target`, which takes its place when the block ends without an error.

    Whatever ends the block, no half-written file stays behind. The new file has the old one's permissions and owner; a
    link at `target` is replaced itself.

    `failure` makes what is raised for an error of the system while writing and renaming, by default that error. The
    file written first is `temporary`, overwritten if it is there, or one under a name of its own.
    """
    new = temporary or target.with_name(f".rerank-{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        stream = new.open("wb" if temporary else "xb")
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
            stream.close()
            _copy_rights(target, new)
            new.replace(target)
        except OSError as error:
            raise failure(error) from None
    except BaseException:  # also Ctrl-C
        with contextlib.suppress(OSError):
            stream.close()
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def _copy_rights(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        old = source.stat()
        target.chmod(stat.S_IMODE(old.st_mode))
        with contextlib.suppress(PermissionError, AttributeError):
            os.chown(target, old.st_uid, old.st_gid)
