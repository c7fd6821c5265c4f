"""`rerank completion SHELL`: the completion script of a shell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.cli.command import Command
from rerank_cli.options import GENERAL, option

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call

PACKAGE = Path(__file__).parent.parent
# Written by `python -m tools.generate`. A wheel holds them inside the package, a checkout beside it.
FOLDERS = (PACKAGE / "completions", PACKAGE.parent / "completions")
FILES = {"bash": "rerank.bash", "zsh": "_rerank", "fish": "rerank.fish"}


@dataclass(frozen=True, slots=True)
class Shell:
    """Which shell."""

    shell: str = option("", "bash, zsh or fish.", metavar="SHELL", choices=tuple(FILES), required=True, group=GENERAL)


def completion(call: Call) -> int:
    """Print a completion script.

    examples:
      mkdir -p ~/.local/share/bash-completion/completions
      rerank completion bash > ~/.local/share/bash-completion/completions/rerank
      mkdir -p ~/.zfunc && rerank completion zsh > ~/.zfunc/_rerank  # in $fpath
      mkdir -p ~/.config/fish/completions
      rerank completion fish > ~/.config/fish/completions/rerank.fish
    """
    from rerank_cli.writers.output import open_output

    folder = next(path for path in FOLDERS if path.is_dir())
    with open_output(None, call.terminal, "none") as write:
        write((folder / FILES[call.settings(Shell).shell]).read_bytes())
    return 0


COMMAND = Command(completion, (Shell,))
