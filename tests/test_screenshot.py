"""The picture of the README is what the command prints today; only digits of scores, and so bars, may differ a little."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from tools import screenshot


def words(svg: str) -> list[str]:
    """The texts of a picture without numbers and bars."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return [text for text in (re.sub(r"[0-9.█▉▊▋▌▍▎▏]|&#160;", "", each) for each in texts) if text]


def test_the_picture_is_what_the_command_prints() -> None:
    made = screenshot.svg(screenshot.printed())
    stored = screenshot.FILE.read_text("utf-8")
    assert words(made) == words(stored), "run `python -m tools.screenshot`"
    assert "capital" in "".join(words(stored))


def test_the_readme_shows_it_and_it_loads_nothing() -> None:
    assert "(docs/table.svg)" in (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"(?:href|src|url)\W+(https?:[^\"') ]+)", screenshot.FILE.read_text("utf-8"))
    assert links == []


@pytest.mark.parametrize("program", ["tools.screenshot", "tools.site"])
def test_an_option_that_is_not_there_writes_nothing(program: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", program, "--help"]
    done = subprocess.run(
        argv, capture_output=True, text=True, cwd=tmp_path, check=False, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"usage: python -m {program}")
    assert not list(tmp_path.iterdir())
