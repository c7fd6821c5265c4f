"""Fixtures of all tests: `run(*argv, stdin=…)` and `process(…)` run a command and return output, code and JSON.

`run` stays in this process (a real Terminal over byte streams, a clean environment, an empty HOME); `process` starts
the real program.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hint_checks
import hypothesis
import pytest
from free_scorer import FreeScorer

from rerank_cli.cli.main import main
from rerank_cli.scorers import registry
from rerank_cli.terminal import Terminal

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_data"
CAPITAL = "What is the capital of the United States?"
PROGRAM = [sys.executable, "-m", "rerank_cli"]

# The same seed in every run and no time limits: a red suite means a changed program, not bad luck or a busy machine.
# `HYPOTHESIS_PROFILE=search` looks for new inputs.
timeless: Any = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("gate", derandomize=True, **timeless)
hypothesis.settings.register_profile("search", **timeless)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

# A shell starts background jobs with Ctrl-C ignored, and programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Result:
    out: bytes
    err: str
    code: int

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def records(self) -> list[Any]:
        return [json.loads(line) for line in self.out.split(b"\n") if line]


class Stdin(io.BytesIO):
    """Bytes that may claim to be a terminal."""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def user(home: Path) -> Path:
    """Where the user's configuration file belongs; the file does not exist yet."""
    path = home / ".config" / "rerank" / "rerank.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it; the command runs in that folder."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "deep")
    return tmp_path


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    """The environment of the real program: nothing of the developer's but PATH."""
    base = {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    if seed := os.environ.get("SHIFTED_LOGITS"):  # as this process was started (CONTRIBUTING.md)
        base |= {"SHIFTED_LOGITS": seed, "PYTHONPATH": f"{ROOT}/tests/shifted_logits{os.pathsep}{ROOT}"}
    return base


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> FreeScorer:
    """Every command scores with this scorer, which costs nothing: for tests that are not about scores."""
    scorer = FreeScorer()
    monkeypatch.setattr(registry, "open_scorer", lambda *_: scorer)
    return scorer


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Run one command line in this process."""
    for name in list(os.environ):
        if name.startswith(("RERANK_", "HF_")) or name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "CO_API_KEY"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))

    def go(
        *argv: str | Path,
        stdin: str | bytes = b"",
        env: dict[str, str] | None = None,
        tty: frozenset[str] | set[str] = frozenset(),
        columns: int | None = None,
    ) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = io.BytesIO(), io.StringIO()
        base = {"HOME": str(home), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
        terminal = Terminal(
            stdin=Stdin(data),
            stdout=out,
            stderr=err,
            env=base | (env or {}),
            stdin_tty="stdin" in tty,
            stdout_tty="stdout" in tty,
            stderr_tty="stderr" in tty,
            columns=columns,
        )
        code = main([str(arg) for arg in argv], terminal)
        if code in hint_checks.WITH_HINTS and not tty:
            failures.append(hint_checks.Failure(tuple(map(str, argv)), data, env, err.getvalue()))
        return Result(out.getvalue(), err.getvalue(), int(code))

    failures: list[hint_checks.Failure] = []
    yield go
    for failure in tuple(failures):
        hint_checks.check(failure, go)


@pytest.fixture
def process(env: dict[str, str]):
    """Run the real program in a process of its own."""
    base = env

    def go(
        *argv: str | Path, stdin: str | bytes = b"", env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [*PROGRAM, *map(str, argv)],
            input=data,
            capture_output=True,
            env=base | (env or {}),
            cwd=cwd,
            timeout=60,
            check=False,
        )
        return Result(done.stdout, done.stderr.decode(), done.returncode)

    return go
