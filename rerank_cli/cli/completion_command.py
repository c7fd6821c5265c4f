"""`rerank completion SHELL`: the completion script of a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from rerank_cli.cli import options as o

if TYPE_CHECKING:
    from rerank_cli.terminal import Terminal

FOLDER = Path(__file__).parent.parent / "completions"  # written by `python -m tools.generate`
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
    with open_output(None, terminal, "none") as write:
        write((FOLDER / FILES[shell]).read_bytes())
    return 0
