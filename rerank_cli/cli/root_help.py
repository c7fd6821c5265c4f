"""What `rerank`, `rerank -h`, `rerank --help` and `rerank --version` print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.cli.help import HelpRequested, options_text, row
from rerank_cli.errors import ExitCode
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rerank_cli.options import Option

__all__ = ["HelpRequested", "NothingAsked", "text", "version"]

SUMMARY = "rerank: put search results in the right order. Works offline, in a pipe."
USAGE = """usage: rerank --query TEXT [OPTIONS] [FILE]...
       rerank COMMAND [OPTIONS] ...

Documents come from FILEs, or from stdin without any (`-` names stdin). Each
gets a relevance_score from 0 to 1; no documents is an empty result, exit 0."""
EXAMPLES = """examples:
  rerank -q "capital of the United States" docs.jsonl     the best on top
  grep -rn retry src | rerank -q "backoff on 429" -n 5    lines in, lines out
  rerank -q "…" --rank-fields title,body docs.jsonl       rank by two fields
  rerank -q "…" -n 5 --json < docs.jsonl                  the five best as JSON
  rerank -q "…" --min-score 0.5 --fail-if-empty docs.txt  exit 7 if none has 0.5
  rerank -q "…" --rank-fields Title,Body -m cohere:rerank-v3.5 < docs.json"""


class NothingAsked(HelpRequested):
    """`rerank` alone on a terminal: the short help on stderr, exit 2."""


def text(lines: Mapping[str, str], options: Iterable[Option], *, complete: bool) -> str:
    """The root's help: commands with a line each, then the options of the default command."""
    commands = "commands (rerank COMMAND --help):\n" + "\n".join(row(name, line) for name, line in lines.items())
    parts = [SUMMARY, USAGE, EXAMPLES, commands, options_text(options, complete=complete, root=True)]
    if complete:
        codes = "\n".join(row(str(int(code)), code.meaning) for code in ExitCode)
        parts.append(f"exit codes:\n{codes}")
        parts.append(
            "Each option can be set as RERANK_<OPTION>, e.g. RERANK_TOP_N=5.\n"
            "Of an option given twice the last value counts; repeatable options and lists\n"
            "(A,B) add up."
        )
    else:
        parts.append("`rerank --help` shows all options and exit codes.")
    return "\n\n".join(parts) + "\n"


def version() -> str:
    """Name, version, Python and the backends installed, from package metadata: nothing is imported."""
    import platform
    from importlib.metadata import PackageNotFoundError  # drags in `email`: 10 ms that help need not pay
    from importlib.metadata import version as version_of

    found = [f"Python {platform.python_version()}"]
    for package in ("onnxruntime", "openvino", "torch", "transformers"):
        try:
            found.append(f"{package} {version_of(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return f"rerank {__version__} ({', '.join(found)})\n"
