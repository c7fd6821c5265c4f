"""Every ```console, ```sh and ```python block of docs/ runs, and its output is compared with the page.

    UPDATE_GOLDEN=1 python -m pytest tests/test_docs.py         write what the commands print into the pages
    UPDATE_GOLDEN=exact python -m pytest tests/test_docs.py     ... also digits that differ by processor (new model)

tests/doc_pages.py says how a page is written; tests/test_near_ties.py runs the pages with shifted logits.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from doc_pages import FAKE_PROGRAMS, PAGES, ROOT, blocks, missing_program, run_page

# Pages with shell blocks that something else runs; docs/providers and docs/ci have tests of their own.
ELSEWHERE = {"README.md": ".ci/run", "CONTRIBUTING.md": ".ci/run"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, tmp_path: Path) -> None:
    if program := missing_program(name):
        pytest.skip(f"{program} is not installed")
    update = os.environ.get("UPDATE_GOLDEN")
    found = run_page(name, tmp_path, exact=update == "exact")
    if update:
        (ROOT / "docs" / name).write_text(found.page)
        found.wrong.clear()
    assert not found.failed + found.wrong, "\n".join(found.failed + found.wrong)


def test_the_pages_are_found() -> None:
    assert {"guide.md", "config.md", "exit-codes.md", "troubleshooting.md"} <= set(PAGES)
    for where in ELSEWHERE.values():
        assert (ROOT / where).exists()


def test_marks_of_blocks_are_true() -> None:
    """A block says `needs: X` only if it calls X, and a stand-in exists."""
    for name in PAGES:
        for block in blocks((ROOT / "docs" / name).read_text()):
            for need in block.marks.get("needs", "").split():
                assert re.search(rf"\b{need.removeprefix('python:')}\b", block.body), (name, need)
            if "stand-in" in block.marks:
                assert os.access(FAKE_PROGRAMS / block.marks["stand-in"], os.X_OK)
                assert block.marks["stand-in"] in block.body


def test_every_command_of_the_table_is_in_the_documentation() -> None:
    from rerank_cli.cli.app import COMMANDS

    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md")
    for name in COMMANDS:
        assert f"rerank {name}" in text, f"no page but the reference speaks of `rerank {name}`"


def test_links_between_pages_exist() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
