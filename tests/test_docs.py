"""Documentation is executed: every ```console, ```sh and ```python block of these pages runs, and what it shows is compared.

A page is one story: its blocks run in order in one folder that holds `sample_data/`, with an empty HOME. In a `console`
block lines that begin with `$ ` are commands, `> ` continues one, the rest is what they print (stdout and stderr); a line
`...` stands for any lines. Numbers with a fraction may differ by 0.01, since CPUs differ in the last bits.

Marks before a block, as HTML comments: `needs: PROGRAM` (run where it exists; `python:NAME` is a module), `stand-in: NAME`
(always run, against tests/stand_ins/NAME), `exit: N` (of an `sh` block), `not run: REASON`. A comment that begins with
`setup` is run and not shown.

    UPDATE_GOLDEN=1 python -m pytest tests/test_docs.py     write what the commands print into the pages
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAND_INS = Path(__file__).resolve().parent / "stand_ins"
BLOCK = re.compile(r"^```(console|sh|python)$", re.MULTILINE)
# Pages with shell blocks that something else runs; docs/providers and docs/ci have tests of their own.
ELSEWHERE = {"README.md": ".ci/run", "CONTRIBUTING.md": ".ci/run"}
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if BLOCK.search(path.read_text()))
PART = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^<!-- (?P<mark>needs|stand-in|exit|not run): (?P<value>.*?) -->$"
    r"|^```(?P<kind>console|sh|python)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"\d+\.\d+(?:[eE][-+]?\d+)?")
END = "\x1e"


@dataclass(frozen=True)
class Block:
    kind: str  # setup, console, sh or python
    body: str
    start: int  # of the body in the page
    marks: dict[str, str]

    def runs_here(self) -> bool:
        """Whether the programs that it needs exist."""
        for need in self.marks.get("needs", "").split():
            if need.startswith("python:"):
                if importlib.util.find_spec(need.removeprefix("python:")) is None:
                    return False
            elif shutil.which(need) is None:
                return False
        return "not run" not in self.marks


def blocks(page: str) -> list[Block]:
    """The blocks of a page in order, each with the marks before it."""
    found, marks = [], {}
    for match in PART.finditer(page):
        if match["mark"]:
            marks[match["mark"]] = match["value"]
            continue
        kind = "setup" if match["setup"] is not None else match["kind"]
        name = "setup" if kind == "setup" else "body"
        found.append(Block(kind, match[name], match.start(name), marks))
        marks = {}
    return found


def commands(body: str) -> list[tuple[str, str]]:
    """(command, output) of a console block."""
    found: list[tuple[str, str]] = []
    for line in body.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif line.startswith(("> ", ">\n")) and found and not found[-1][1]:
            found[-1] = (found[-1][0] + (line[2:] or "\n"), "")
        else:
            assert found, f"output before a command: {line!r}"
            found[-1] = (found[-1][0], found[-1][1] + line)
    return found


class Story:
    """The folder and environment of a page."""

    def __init__(self, folder: Path) -> None:
        self.work, bin_ = folder / "work", folder / "bin"
        for path in (self.work, bin_, folder / "home"):
            path.mkdir()
        shutil.copytree(ROOT / "sample_data", self.work / "sample_data")
        for name, line in {"rerank": '-m rerank_cli "$@"', "python3": '"$@"'}.items():
            (bin_ / name).write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" {line}\n')
            (bin_ / name).chmod(0o755)
        self.env = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
        }

    def bash(self, script: str, block: Block) -> subprocess.CompletedProcess[bytes]:
        env = dict(self.env)
        if "stand-in" in block.marks:
            env["PATH"] = f"{STAND_INS}:{env['PATH']}"
        return subprocess.run(
            ["bash", "--norc", "-c", script],
            cwd=self.work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=120,
        )

    def console(self, block: Block) -> list[tuple[str, str, int]]:
        """(command, what it printed, its exit code) of each command, run in one shell."""
        asked = [command for command, _ in commands(block.body)]
        script = "".join(f"{command}__s=$?; printf '{END}%s{END}' $__s; (exit $__s)\n" for command in asked)
        shown = self.bash(script, block).stdout.decode().replace(str(self.work), "/home/me/project")
        parts = shown.split(END)
        assert len(parts) == 2 * len(asked) + 1, f"the shell ended early:\n{script}\n{parts}"
        return [(command, parts[2 * i], int(parts[2 * i + 1])) for i, command in enumerate(asked)]


def same(wanted: str, got: str) -> bool:
    """Equal but for the last digits of fractions; `...` stands for any lines."""
    if NUMBER.sub("#", wanted) == NUMBER.sub("#", got):
        pairs = zip(NUMBER.findall(wanted), NUMBER.findall(got), strict=True)
        return all(abs(float(one) - float(other)) <= 0.01 for one, other in pairs)
    if "...\n" not in wanted:
        return False
    before, _, after = wanted.partition("...\n")
    lines = got.splitlines(keepends=True)
    head, tail = before.count("\n"), after.count("\n")
    if len(lines) < head + tail:
        return False
    return same(before, "".join(lines[:head])) and same(after, "".join(lines[len(lines) - tail :]))


def run_block(story: Story, block: Block) -> str:
    """Run one block; returns its body as it should be."""
    if block.kind in {"setup", "sh"}:
        done = story.bash(f"set -eo pipefail\n{block.body}", block)
        wanted = int(block.marks.get("exit", "0"))
        assert done.returncode == wanted, f"{block.body}\nended with {done.returncode}:\n{done.stdout.decode()}"
        return block.body
    if block.kind == "python":
        (story.work / ".block.py").write_text(block.body)
        done = story.bash("python3 .block.py", block)
        assert done.returncode == 0, f"{block.body}\n{done.stdout.decode()}"
        return block.body
    shown = commands(block.body)
    ran = story.console(block)
    text = ""
    for (command, wanted), (_, got, code), after in zip(shown, ran, [*shown[1:], ("", "")], strict=True):
        asks = after[0].startswith("echo $?")
        assert code == 0 or asks or wanted.startswith("rerank: error:"), f"{command}ended with {code}:\n{got}"
        asked = "$ " + command.rstrip("\n").replace("\n", "\n> ").replace("\n> \n", "\n>\n") + "\n"
        text += asked + (wanted if same(wanted, got) else got)
    return text


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, tmp_path: Path) -> None:
    path = ROOT / "docs" / name
    page = path.read_text()
    story = Story(tmp_path)
    wrong, renewed, end = [], "", 0
    for block in blocks(page):
        if not block.runs_here():
            continue
        body = run_block(story, block)
        renewed += page[end : block.start] + body
        end = block.start + len(block.body)
        if body != block.body:
            wrong.append(f"--- {name} shows\n{block.body}--- but it prints\n{body}")
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(renewed + page[end:])
    else:
        assert not wrong, "\n".join(wrong)


def test_the_pages_are_found() -> None:
    assert {"guide.md", "config.md", "exit-codes.md", "troubleshooting.md"} <= set(PAGES)
    for where in ELSEWHERE.values():
        assert (ROOT / where).exists()


def test_marks_say_what_is_so() -> None:
    """A block says `needs: X` only if it calls X, and a stand-in exists."""
    for name in PAGES:
        for block in blocks((ROOT / "docs" / name).read_text()):
            for need in block.marks.get("needs", "").split():
                assert re.search(rf"\b{need.removeprefix('python:')}\b", block.body), (name, need)
            if "stand-in" in block.marks:
                assert os.access(STAND_INS / block.marks["stand-in"], os.X_OK)
                assert block.marks["stand-in"] in block.body


def test_every_command_of_the_table_is_in_the_documentation() -> None:
    from rerank_cli.cli.app import COMMANDS

    text = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md") if path.name != "reference.md")
    for name in COMMANDS:
        assert f"rerank {name}" in text, f"no page but the reference speaks of `rerank {name}`"


def test_links_between_pages_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
            if "://" not in target and not target.startswith("mailto:"):
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
