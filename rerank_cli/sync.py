"""To the disk itself: what is written here survives a power cut. Whoever vouches for data syncs the data first.

It knows descriptors and folders, not what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# What systems answer where there is nothing to sync: pipes, devices, file systems without it.
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EROFS}


def sync_file(descriptor: int) -> None:
    """Return when the bytes of an open file are on the disk. Raises OSError, as for a disk that is full or failing."""
    if sys.platform == "darwin":  # where fsync leaves the bytes in the drive's cache
        import fcntl

        with contextlib.suppress(OSError):  # network drives do not know it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            raise


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk: files that were created, renamed or removed there.

    Windows and some network drives cannot do it; they order such changes themselves.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a folder that may be written and not read
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
