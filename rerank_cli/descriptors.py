"""Paths that name a stream this process has open: `/dev/stderr`, `/dev/fd/3`, a link to one, or the file behind it.

Such a stream is written through: opening its name again would start at the first byte and overwrite what is there.
It knows paths and descriptors, not what is written.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io

STDOUT, STDERR = 1, 2
STANDARD = {"/dev/stdin": 0, "/dev/stdout": STDOUT, "/dev/stderr": STDERR}  # also where there is no /proc
MAX_LINKS = 40  # as Linux counts them
_BY_NUMBER = re.compile(r"/dev/fd/(\d{1,9})|/proc/(?:\d+|self)(?:/task/\d+)?/fd/(\d{1,9})")


def descriptor_of(path: str | os.PathLike[str]) -> int | None:
    """The descriptor of this process that a path means, open or not; None for any other path.

    Standard output and standard error are also meant by the plain file that they are redirected to.
    """
    named = _descriptor_named(os.fspath(path))
    return _standard_stream_on(path) if named is None else named


def is_plain_target(path: str | os.PathLike[str]) -> bool:
    """Whether a path is, or can become, a plain file that no standard stream writes: not a pipe or a device."""
    if descriptor_of(path) is not None:
        return False
    try:
        known = os.stat(path)  # noqa: PTH116
    except OSError:
        return True
    return stat.S_ISREG(known.st_mode) and not _of_another_process(path)


def open_stream(path: str | os.PathLike[str]) -> io.FileIO:
    """A stream, pipe or device to write, unbuffered. Nothing in it is truncated or overwritten. Raises OSError."""
    number = descriptor_of(path)
    if number is not None:
        require_writable(number)
        return open(os.dup(number), "wb", buffering=0)  # noqa: PTH123 its caller closes it
    # a plain file here is one that another process has open
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    return open(os.open(path, flags), "wb", buffering=0)  # noqa: PTH123 its caller closes it


def require_writable(number: int) -> None:
    """Raise OSError for a descriptor that is closed or open for reading only."""
    os.fstat(number)
    try:
        import fcntl
    except ImportError:  # Windows
        return
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _descriptor_named(path: str) -> int | None:
    """The descriptor that a path names, itself or through links. The descriptor's own link is not followed."""
    own = os.path.realpath("/proc/self")
    for _ in range(MAX_LINKS):
        folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100
        full = os.path.join(os.path.realpath(folder), name)  # noqa: PTH118
        if full in STANDARD:
            return STANDARD[full]
        found = _BY_NUMBER.fullmatch(full)
        if found and full.startswith(("/dev/", "/proc/self/", own + "/")):
            return int(found[1] or found[2])
        try:
            target = os.readlink(full)  # noqa: PTH115
        except OSError:
            return None
        path = os.path.join(os.path.dirname(full), target)  # noqa: PTH118, PTH120
    return None


def _standard_stream_on(path: str | os.PathLike[str]) -> int | None:
    """The standard stream that writes a plain file: 1, 2 or None."""
    try:
        known = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    if not stat.S_ISREG(known.st_mode):
        return None
    for number in (STDOUT, STDERR):
        try:
            if os.path.samestat(known, os.fstat(number)):
                return number
        except OSError:  # closed
            continue
    return None


def _of_another_process(path: str | os.PathLike[str]) -> bool:
    return bool(_BY_NUMBER.fullmatch(os.path.join(os.path.realpath(Path(path).parent), Path(path).name)))  # noqa: PTH118
