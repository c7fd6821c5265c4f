"""Pages of docs/ as programs: their blocks, the folder they run in, and what each command of them prints.

A page is one story: its blocks run in order in one folder that holds `sample_data/`, with an empty HOME. In a `console`
block lines that begin with `$ ` are commands, `> ` continues one, the rest is what they print (stdout and stderr); a line
`...` stands for any lines. Scores may differ by what processors differ by (tests/similar_output.py).

Marks before a block, as HTML comments: `needs: PROGRAM` (run where it exists; `python:NAME` is a module), `stand-in: NAME`
(always run, against tests/fake_programs/NAME), `exit: N` (of an `sh` block), `not run: REASON`. A comment that begins with
`setup` is run and not shown.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import similar_output
from conftest import ROOT
from remote.loopback import free_port

FAKE_PROGRAMS = Path(__file__).resolve().parent / "fake_programs"
SHIFTED_LOGITS = Path(__file__).resolve().parent / "shifted_logits"
BLOCK = re.compile(r"^```(console|sh|python)$", re.MULTILINE)
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if BLOCK.search(path.read_text()))
PART = re.compile(
    r"^<!-- setup\n(?P<setup>.*?)^-->$"
    r"|^<!-- (?P<mark>needs|stand-in|exit|not run): (?P<value>.*?) -->$"
    r"|^```(?P<kind>console|sh|python)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PORT = "8480"  # of servers in pages; each story has a free one in its place, since stories run beside each other
END = "\x1e"
PROGRAMS = ("jq", "curl")  # that pages call and not every machine has; all have awk, diff, grep and sort
# By how many logits a score may differ from the page's, which another processor may have written.
TOLERANCE = {"": similar_output.PROCESSORS, "worst": similar_output.PROCESSORS + 0.08}
SEED = similar_output.PROCESSORS + 0.06


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


def missing_program(name: str) -> str | None:
    """A program that the page calls without a mark, and that this machine lacks; its blocks build on each other."""
    called = [
        block.body
        for block in blocks((ROOT / "docs" / name).read_text())
        if not {"needs", "not run"} & set(block.marks)
    ]
    used = [
        program for program in PROGRAMS if re.search(rf"(^|[|;&(]|do) *{program} ", "\n".join(called), re.MULTILINE)
    ]
    return next((program for program in used if shutil.which(program) is None), None)


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
    """The folder and environment of a page; `moved` is what tests/shifted_logits does to the embedded model ("": nothing)."""

    def __init__(self, folder: Path, moved: str = "") -> None:
        self.work, self.ties, bin_ = folder / "work", folder / "ties.jsonl", folder / "bin"
        self.logits = TOLERANCE.get(moved, SEED)
        self.port = str(free_port())
        for path in (self.work, bin_, folder / "home"):
            path.mkdir()
        shutil.copytree(ROOT / "sample_data", self.work / "sample_data")
        paths = f"{SHIFTED_LOGITS}:{ROOT}" if moved else f"{ROOT}"
        for name, line in {"rerank": '-m rerank_cli "$@"', "python3": '"$@"'}.items():
            (bin_ / name).write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" {line}\n')
            (bin_ / name).chmod(0o755)
        self.env = {
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "80",
            "TZ": "UTC",
            "GIT_CONFIG_NOSYSTEM": "1",
            "SHIFTED_LOGITS": moved,
            "NEAR_TIES": str(self.ties),
        }

    def bash(self, script: str, block: Block) -> subprocess.CompletedProcess[bytes]:
        env = dict(self.env)
        if "stand-in" in block.marks:
            env["PATH"] = f"{FAKE_PROGRAMS}:{env['PATH']}"
        return subprocess.run(
            ["bash", "--norc", "-c", script.replace(PORT, self.port)],
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
        shown = (
            self.bash(script, block)
            .stdout.decode()
            .replace(str(self.work), "/home/me/project")
            .replace(f":{self.port}", f":{PORT}")
        )
        parts = shown.split(END)
        assert len(parts) == 2 * len(asked) + 1, f"the shell ended early:\n{script}\n{parts}"
        return [(command, parts[2 * i], int(parts[2 * i + 1])) for i, command in enumerate(asked)]


def same(wanted: str, got: str, command: str, logits: float) -> bool:
    """As `similar_output.same`; `...` stands for any lines."""
    if similar_output.same(wanted, got, command, logits):
        return True
    if "...\n" not in wanted:
        return False
    before, _, after = wanted.partition("...\n")
    lines = got.splitlines(keepends=True)
    head, tail = before.count("\n"), after.count("\n")
    if len(lines) < head + tail:
        return False
    first, last = "".join(lines[:head]), "".join(lines[len(lines) - tail :])
    return same(before, first, command, logits) and same(after, last, command, logits)


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
    shows = commands(block.body)
    ran = story.console(block)
    text = ""
    for (command, wanted), (_, got, code), after in zip(shows, ran, [*shows[1:], ("", "")], strict=True):
        asks = after[0].startswith("echo $?")
        assert code == 0 or asks or wanted.startswith("rerank: error:"), f"{command}ended with {code}:\n{got}"
        asked = "$ " + command.rstrip("\n").replace("\n", "\n> ").replace("\n> \n", "\n>\n") + "\n"
        text += asked + (wanted if same(wanted, got, command, story.logits) else got)
    return text


@dataclass
class Outcome:
    """What became of a page."""

    page: str  # with what its commands printed now
    failed: list[str]  # blocks with a command that ends with an exit code that the page does not expect
    wrong: list[str]  # blocks that show something else
    ties: list[str]  # blocks that rank near ties, whether or not it can be seen


def run_page(name: str, folder: Path, moved: str = "", *, exact: bool = False) -> Outcome:
    """Run every block of a page that can run here. `exact`: all digits of the page are rewritten."""
    page = (ROOT / "docs" / name).read_text()
    story = Story(folder, moved)
    story.logits = 0.0 if exact else story.logits
    found, end = Outcome("", [], [], []), 0
    for block in blocks(page):
        if not block.runs_here():
            continue
        try:
            body = run_block(story, block)
        except AssertionError as error:  # the blocks after it run too: one of them may stop a server
            found.failed.append(f"--- {name}: {error}")
            body = block.body
        ties = near_ties(story.ties)
        found.page += page[end : block.start] + body
        end = block.start + len(block.body)
        if body != block.body:
            found.wrong.append(f"--- {name} shows\n{block.body}--- but it prints\n{body}{ties}")
        if ties:
            found.ties.append(f"--- {name}:\n{block.body}{ties}")
    found.page += page[end:]
    return found


def near_ties(path: Path) -> str:
    """Lines on the near ties that tests/shifted_logits has reported since the last call."""
    if not path.exists():
        return ""
    ties = [json.loads(line) for line in dict.fromkeys(path.read_text().splitlines())]
    path.unlink()
    return "".join(
        f"near tie: {tie['apart']:.3f} logits from rank {tie['rank']} {tie['text'][:60]!r} to "
        f"{repr(tie['other'][:60]) if tie['other'] else '--min-score'}\n"
        for tie in ties
    )
