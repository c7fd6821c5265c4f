"""The documentation as a web site: `python -m tools.site [FOLDER]` writes it, to `site/` by default, with Sphinx.

The pages are those of docs/ as they are. This module adds what the site needs beside them: its menu, the pages that lie
elsewhere in the checkout, and the Python API from its docstrings. A link that leads nowhere is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Section -> pages, in reading order: first steps, tasks, reference, background. `tests/test_site.py` wants every page.
MENU = {
    "Start": ("install", "guide", "faq", "glossary"),
    "Rank": ("engines", "stages", "context", "fallback", "python", "api"),
    "Many queries": ("batch", "distributed"),
    "Serve": ("serve", "serve-clients", "mcp", "deploy/README"),
    "Models": ("models", "MODEL_CARD", "training", "providers/README", "providers/*"),
    "Measure": ("eval", "ci/README", "comparison"),
    "Reference": ("reference", "config", "environment", "exit-codes", "troubleshooting", "security"),
    "Background": ("architecture", "CHANGELOG", "CONTRIBUTING"),
}
ELSEWHERE = {  # page of the site -> file of the checkout
    "MODEL_CARD.md": "rerank_cli/builtin/MODEL_CARD.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "training.md": "training/README.md",
}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
API = """# Python API

The public API of `rerank_cli`. [Python](python.md) shows it in use.

```{eval-rst}
.. autoclass:: rerank_cli.api.Reranker
   :members: score, rank, close

.. autoclass:: rerank_cli.records.Ranking

.. autoclass:: rerank_cli.records.Hit
   :members: final_score, highlights, order_score

.. autoclass:: rerank_cli.records.Meta

.. automodule:: rerank_cli.errors
   :members:
```
"""
SETTINGS = """
project = "rerank"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
html_theme = "furo"
html_title = "rerank"
myst_heading_anchors = 4
default_role = "code"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
suppress_warnings = ["misc.highlighting_failure"]
"""


def build(out: Path) -> int:
    """Write the site to a folder; returns Sphinx's exit status, which is not 0 if a link leads nowhere."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "docs")
        write_source(source)
        trees = str(Path(folder, "trees"))
        return build_main(["-q", "-W", "--keep-going", "-b", "html", "-d", trees, str(source), str(out)])


def write_source(source: Path) -> None:
    """The pages as Sphinx reads them: those of docs/, those from elsewhere, the menu and the API."""
    shutil.copytree(ROOT / "docs", source)
    for name, file in ELSEWHERE.items():
        shutil.copy(ROOT / file, source / name)
    for page in source.rglob("*.md"):
        origin = ROOT / ELSEWHERE.get(page.name, Path("docs") / page.relative_to(source))
        page.write_text(_with_links(page.read_text("utf-8"), origin, page, source), "utf-8")
    (source / "api.md").write_text(API, "utf-8")
    trees = [f"```{{toctree}}\n:hidden:\n:glob:\n:caption: {title}\n\n" + "\n".join(MENU[title]) for title in MENU]
    with (source / "README.md").open("a", encoding="utf-8") as index:
        index.write("\n" + "".join(f"{tree}\n```\n\n" for tree in trees))
    (source / "conf.py").write_text(SETTINGS, "utf-8")


def _with_links(text: str, origin: Path, page: Path, source: Path) -> str:
    """A page whose links lead to the site's pages; what is not a page of the site (a script, a folder) becomes text."""
    places = {(ROOT / file).resolve(): source / name for name, file in ELSEWHERE.items()}

    def link(match: re.Match[str]) -> str:
        words, name, part = match[1], match[2], match[3] or ""
        target = (origin.parent / name).resolve()
        place = places.get(target)
        if place is None and target.is_relative_to(ROOT / "docs"):
            place = source / target.relative_to(ROOT / "docs")  # Sphinx says if it is not there
        if place is None:
            return f"{words} (`{target.relative_to(ROOT)}`)"
        return f"[{words}]({os.path.relpath(place, page.parent)}{part})"

    return LINK.sub(link, text)


def main(argv: list[str]) -> int:
    """The command line."""
    if len(argv) > 1 or (argv and argv[0].startswith("-")):
        sys.stderr.write("usage: python -m tools.site [FOLDER]\n")
        return 2
    return build(Path(argv[0]) if argv else ROOT / "site")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
