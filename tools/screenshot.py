"""The picture of the README: `python -m tools.screenshot` writes docs/table.svg from what the real command prints.

The command line runs on a terminal of this program's own; Rich turns its colours into SVG. No font is loaded from the
network.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "table.svg"
QUERY = "What is the capital of the United States?"
COLUMNS = 88
OPTIONS = ("-n", "4", "--highlight", "1")


def printed() -> str:
    """What the command prints on a terminal with colours, escapes included."""
    from rerank_cli.cli.main import main
    from rerank_cli.terminal import Terminal

    out = io.BytesIO()
    terminal = Terminal(
        stdin=io.BytesIO(), stdout=out, stderr=io.StringIO(), env={"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
        stdout_tty=True, columns=COLUMNS,
    )  # fmt: skip
    argv = ["--query", QUERY, str(ROOT / "sample_data/capital.jsonl"), *OPTIONS, "--color", "always"]
    if code := main(argv, terminal):
        raise SystemExit(code)
    return out.getvalue().decode()


def svg(text: str) -> str:
    """The picture of a terminal that shows the command and this output."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f'$ rerank -q "{QUERY}" capital.jsonl {" ".join(OPTIONS)}\n'))
    console.print(Text.from_ansi(text), end="")
    plain = re.sub(r"@font-face \{\{.*?\n    \}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    made = console.export_svg(title="rerank", code_format=plain, unique_id="rerank")
    return "\n".join(line.rstrip() for line in made.splitlines()) + "\n"


def main(argv: list[str]) -> int:
    """The command line."""
    if argv:
        sys.stderr.write("usage: python -m tools.screenshot\n")
        return 2
    FILE.write_text(svg(printed()), encoding="utf-8")
    sys.stderr.write(f"wrote {FILE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
