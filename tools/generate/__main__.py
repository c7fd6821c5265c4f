"""Write the generated files of a checkout, or check them."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.generate.targets import outdated, targets

ROOT = Path(__file__).resolve().parents[2]


def run(argv: list[str], root: Path = ROOT) -> int:
    """Write or check all files; names them on stderr."""
    if argv not in ([], ["--check"]):
        sys.stderr.write("usage: python -m tools.generate [--check]\n")
        return 2
    wanted = targets(root)
    stale = outdated(root, wanted)
    for name in stale:
        if argv:
            sys.stderr.write(f"{name} differs from the option table: run `python -m tools.generate`\n")
        else:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
            sys.stderr.write(f"wrote {name}\n")
    return 1 if argv and stale else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
