"""What is at a path, with the errors of the system: a folder that may not be searched is not an absent file.

Up to Python 3.13 the methods of Path raise these errors, and from 3.14 on they answer False. So whoever looks up what
the user named asks here. This module does not know what is in a file.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP}


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except ValueError:  # a NUL, which no name has
        return 0
    except OSError as error:
        if error.errno in ABSENT:
            return 0
        raise


def exists(path: Path) -> bool:
    """Whether anything is there, links followed. Raises OSError if that cannot be told."""
    return bool(_mode(path))


def is_file(path: Path) -> bool:
    """Whether a regular file is there, links followed. Raises OSError if that cannot be told."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder is there, links followed. Raises OSError if that cannot be told."""
    return stat.S_ISDIR(_mode(path))
