"""Files with keys: one that everybody may change is refused, one that others may read gives a warning.

Both say more than a message about the file's content could: whoever can write the file chooses the key, and whoever can
read it has it. This module knows nothing of what the keys are for. Windows has other rights, which are not read.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def check_rights(file: Path) -> str | None:
    """The warning about a key file that others may read or their group may change; None if it is the user's alone.

    Pipes and devices, as of `<(…)`, have no rights that matter. Raises UsageError if everybody may change the file.
    """
    try:
        status = file.stat()
    except OSError:  # whoever reads the file reports that
        return None
    if os.name == "nt" or not stat.S_ISREG(status.st_mode):
        return None
    rights = stat.S_IMODE(status.st_mode)
    if rights & stat.S_IWOTH:
        raise UsageError(f"the key file `{file}` can be changed by everybody ({rights:04o})", f"chmod 600 {file}")
    if rights & (stat.S_IRWXG | stat.S_IRWXO):
        return f"the key file `{file}` can be read by other users ({rights:04o}): chmod 600"
    return None
