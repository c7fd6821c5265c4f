"""Which files are generated, and what each should hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.cli.completion_command import FILES
from tools.generate import bash, fish, man, markdown, sample, zsh
from tools.generate.facts import commands

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)
SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def targets(root: Path) -> dict[str, str]:
    """Path below the root to the text it should hold."""
    table = commands()
    found = {f"completions/{FILES[shell]}": script(table) for shell, script in SHELLS.items()}
    found["docs/rerank.1"] = man.page(table)
    found["docs/reference.md"] = markdown.reference(table)
    found["docs/rerank.toml"] = sample.text(table)
    blocks = markdown.blocks(table)
    for path in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        name = path.relative_to(root).as_posix()
        if name not in found and path.is_file() and "<!-- generated: " in (text := path.read_text(encoding="utf-8")):
            found[name] = filled(text, blocks)
    return found


def filled(text: str, blocks: dict[str, str]) -> str:
    """A page with its generated blocks renewed; blocks of other names belong to other generators."""
    return BLOCK.sub(lambda match: match[1] + blocks.get(match[2], match[3]) + match[4], text)


def outdated(root: Path, wanted: dict[str, str]) -> list[str]:
    """The files that hold something else, or are not there."""
    return [
        name
        for name, text in wanted.items()
        if not (path := root / name).is_file() or path.read_text(encoding="utf-8") != text
    ]
