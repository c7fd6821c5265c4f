"""`python -m tools.site`: the documentation as a web site, every page in its menu, no link that leads nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT


class Links(HTMLParser):
    """Where a page leads to, and which parts it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.parts.add(values.get("id") or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")


def python(*argv: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=ROOT, env=env, check=False)


def test_the_site_is_complete_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    done = python("-m", "tools.site", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    pages = {page.relative_to(tmp_path).as_posix(): Links(page) for page in tmp_path.rglob("*.html")}
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.relative_to(ROOT / "docs").with_suffix(".html").as_posix() in pages
    for name, page in pages.items():
        for link in page.links:
            target, _, part = link.partition("#")
            if ":" in target or target.startswith("//"):
                continue
            path = os.path.normpath(Path(name).parent / target) if target else name
            assert (tmp_path / path).is_file(), f"{name} links to {link}"
            assert not part or path not in pages or part in pages[path].parts, f"{name} links to {link}"
    menu = pages["README.html"].links
    assert {"guide.html", "api.html", "providers/cohere.html", "MODEL_CARD.html", "CHANGELOG.html"} <= set(menu)
    assert "Give back sessions" in (tmp_path / "api.html").read_text("utf-8"), "docstrings are there"


SMALL = """
import sys
from pathlib import Path
from tools import site
site.ROOT, site.ELSEWHERE, site.MENU = Path(sys.argv[1]), {}, {"All": ("guide",)}
sys.exit(site.build(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("link", ["[a page](nowhere.md)", "[a part](guide.md#nowhere)"])
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path, link: str) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "guide.md"):
        (tmp_path / "docs" / name).write_text(f"# Page\n\n{link}\n")
    done = python("-c", SMALL, str(tmp_path), str(tmp_path / "out"))
    assert done.returncode != 0
    assert "nowhere" in done.stderr
