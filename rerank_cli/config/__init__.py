"""Configuration files: which count, what they may say, and whom they may speak for.

`files` finds and reads them, `check` turns their keys into option values, `trust` and `secrets` say what is refused.
They know nothing of Typer and of providers: both come in as a `Catalogue`, which `rerank_cli.cli.sources` builds.
"""

from rerank_cli.config.check import Catalogue, Checked, check_file
from rerank_cli.config.files import ConfigFile, Role, find_files

__all__ = ["Catalogue", "Checked", "ConfigFile", "Role", "check_file", "find_files"]
