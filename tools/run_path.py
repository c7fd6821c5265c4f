"""How many functions of the package `rerank -q …` passes before the pipeline starts, and which.

python -m tools.run_path            one line per function, in the order of the first call, and their number
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

PACKAGE = Path(__file__).resolve().parents[1] / "rerank_cli"
ARGUMENTS = ("-q", "capital", "-n", "1", "--json")
DOCUMENTS = b'{"text": "Paris is the capital of France."}\n'


def functions() -> list[str]:
    """`module:function` of each function that runs before `pipeline.rank`; comprehensions and module bodies aside."""
    from rerank_cli.cli.main import main
    from rerank_cli.terminal import Terminal

    seen: dict[str, None] = {}
    started = False

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal started
        code = frame.f_code
        path = Path(code.co_filename)
        if event != "call" or started or not path.is_relative_to(PACKAGE):
            return
        name = f"{path.relative_to(PACKAGE)}:{code.co_qualname}"
        started = name == "pipeline.py:rank"
        if not started and not code.co_name.startswith("<") and not _in_module_body(frame):
            seen.setdefault(name)

    sys.setprofile(note)
    try:
        main(ARGUMENTS, Terminal(io.BytesIO(DOCUMENTS), io.BytesIO(), io.StringIO()))
    finally:
        sys.setprofile(None)
    return list(seen)


def _in_module_body(frame: FrameType | None) -> bool:
    """Whether a module or class of the package is being made: that happens once, at import."""
    while frame is not None:
        code = frame.f_code
        made = code.co_name == "<module>" or {"__module__", "__qualname__"} <= set(code.co_names)
        if made and Path(code.co_filename).is_relative_to(PACKAGE):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    passed = functions()
    sys.stdout.write("\n".join(passed) + f"\n{len(passed)} functions before pipeline.rank\n")
