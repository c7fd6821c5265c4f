"""`rerank completion SHELL`: the completion script of a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rerank_cli.cli import options as o

if TYPE_CHECKING:
    from rerank_cli.terminal import Terminal

PACKAGE = Path(__file__).parent.parent
# Written by `python -m tools.generate`. A wheel holds them inside the package, a checkout beside it.
FOLDERS = (PACKAGE / "completions", PACKAGE.parent / "completions")
FILES = {"bash": "rerank.bash", "zsh": "_rerank", "fish": "rerank.fish"}


def completion(ctx: typer.Context, shell: o.Shell) -> int:
    """Print a completion script.

    examples:
      rerank completion bash > ~/.local/share/bash-completion/completions/rerank
      rerank completion zsh > ~/.zfunc/_rerank        # a folder of $fpath
      rerank completion fish > ~/.config/fish/completions/rerank.fish
    """
    from rerank_cli.writers.output import open_output

    terminal: Terminal = ctx.obj
    folder = next(path for path in FOLDERS if path.is_dir())
    with open_output(None, terminal, "none") as write:
        write((folder / FILES[shell]).read_bytes())
    return 0
