"""The package on a Python that has what Windows has: POSIX modules, functions and flags are taken away.

Everything is imported once with them, because other packages and the standard library have their own rules for
Windows; then only `rerank_cli` is imported again. What cannot be taken away here: renaming open files, the file
system's names, the console. docs/security.md says what was only read.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys

import pytest
from conftest import CAPITAL, ROOT, SAMPLES

MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog")
FUNCTIONS = (
    "chown", "fchmod", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp",
    "getuid", "killpg", "lchown", "mkfifo", "mknod", "openpty", "pathconf", "sched_getaffinity", "setsid", "statvfs",
    "sysconf", "uname",
)  # fmt: skip
FLAGS = ("O_ACCMODE", "O_CLOEXEC", "O_DIRECTORY", "O_DSYNC", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC")
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGUSR1", "SIGUSR2")

PROGRAM = """
import importlib.util, io, json, os, pkgutil, re, signal, sys, threading, time, urllib.request
modules, functions, flags, signals, jobs = json.loads(sys.argv[1])

def everything():
    import rerank_cli
    for module in pkgutil.walk_packages(rerank_cli.__path__, "rerank_cli."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            if error.name in modules or error.name.startswith("rerank_cli"):
                raise

def run(job):
    from rerank_cli.cli.main import main
    from rerank_cli.terminal import Terminal
    out, err = io.BytesIO(), io.StringIO()
    code = main(job["argv"], Terminal(io.BytesIO(job["stdin"].encode()), out, err, dict(os.environ)))
    files = {name: open(name).read() for name in job["files"]}
    return [code, out.getvalue().decode(), err.getvalue(), files]

def serve():
    # the answer of a server that is then told to end, and its exit code
    if importlib.util.find_spec("uvicorn") is None:
        return None
    from rerank_cli.cli.main import main, signals
    from rerank_cli.terminal import Terminal
    err, answers = io.StringIO(), []

    def ask():
        while not (found := re.search(r"http://\\S+:(\\d+)", err.getvalue())):
            time.sleep(0.01)
        body = json.dumps({"query": "capital of France", "documents": ["A dog.", "Paris is the capital."]}).encode()
        url, headers = f"http://127.0.0.1:{found[1]}/v2/rerank", {"content-type": "application/json"}
        try:
            request = urllib.request.Request(url, body, headers)
            answers.append(json.load(urllib.request.urlopen(request, timeout=60)))
        finally:
            signal.raise_signal(signal.SIGTERM)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    with signals():
        code = main(["serve", "--port", "0"], Terminal(io.BytesIO(), io.BytesIO(), err, dict(os.environ)))
    thread.join()
    return [code, answers[0]["results"][0]["index"]]

everything()
serve()
for job in jobs:
    run(job)
for name in [name for name in sys.modules if name.partition(".")[0] == "rerank_cli"]:
    del sys.modules[name]
for name in modules:
    sys.modules[name] = None
for name in (*functions, *flags):
    if hasattr(os, name):
        delattr(os, name)
for name in signals:
    if hasattr(signal, name):
        delattr(signal, name)
everything()
json.dump([serve(), *map(run, jobs)], sys.stdout)
"""


def job(*argv: str, stdin: str = "", files: tuple[str, ...] = ()) -> dict[str, object]:
    return {"argv": list(argv), "stdin": stdin, "files": files}


REQUESTS = '{"id": "1", "query": "capital of France", "documents": ["Paris is the capital.", "A dog."]}\n'
JOBS = {
    "a file": job("-q", CAPITAL, str(SAMPLES / "capital.jsonl"), "-n", "2", "-f", "ids"),
    "standard input": job("-q", CAPITAL, "-n", "1", stdin="A dog barks.\nWashington, D.C. is the capital.\n"),
    "a table": job("-q", CAPITAL, str(SAMPLES / "capital.jsonl"), "-f", "table"),
    "a file with results": job(
        "-q", CAPITAL, str(SAMPLES / "capital.jsonl"), "-f", "ids", "-o", "best", files=("best",)
    ),
    "prefilter": job("-q", CAPITAL, str(SAMPLES / "capital.jsonl"), "--prefilter", "5", "-n", "1", "-f", "ids"),
    "a batch": job(
        "batch", "-", "-o", "out.jsonl", "--errors", "bad", stdin=REQUESTS + "{\n", files=("out.jsonl", "bad")
    ),
    "a cache": job("-q", CAPITAL, "--cache", "--cache-path", "cache", "-n", "1", stdin="A dog.\nWashington.\n"),
    "the cache again": job("cache", "info", "--cache-path", "cache"),
    "an error": job("-q", CAPITAL, "missing.jsonl"),
    "the configuration": job("config", "-v"),
    "diagnosis": job("doctor"),
}
CODES = {"a batch": 6, "an error": 3}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each job gives without the parts of POSIX: exit code, stdout, stderr, files."""
    folder = tmp_path_factory.mktemp("windows")
    env = {"HOME": str(folder), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    taken = json.dumps([MODULES, FUNCTIONS, FLAGS, SIGNALS, list(JOBS.values())])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, taken],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(["a server", *JOBS], json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_as_on_linux(name, found, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err, files = found[name]
    assert code == CODES.get(name, 0), err
    if name in {"the configuration", "diagnosis", "the cache again", "a batch"}:  # they name folders, times or files
        return
    ours = run(*JOBS[name]["argv"], stdin=JOBS[name]["stdin"])
    assert (ours.code, ours.text, ours.err) == (code, out, err)
    assert {path: (tmp_path / path).read_text() for path in files} == files


def test_a_batch_writes_results_and_errors(found):
    _, _, _, files = found["a batch"]
    assert json.loads(files["out.jsonl"])["id"] == "1"
    assert len(files["bad"].splitlines()) == 1


def test_a_server_answers_and_ends(found):
    pytest.importorskip("uvicorn")
    assert found["a server"] == [143, 1]


def guarded(tree: ast.AST) -> set[int]:
    """Lines under `try: import …` and in functions that ask with hasattr, sys.platform or os.name first."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Try | ast.FunctionDef | ast.AsyncFunctionDef)
        and any(mark in ast.unparse(node) for mark in ("ImportError", "hasattr(os", "sys.platform", "hasattr(signal"))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def test_every_use_of_posix_is_guarded():
    """Also what the jobs above do not reach. A function may ask for one name and use the others that come with it."""
    loose = []
    for path in sorted((ROOT / "rerank_cli").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        safe = guarded(tree)
        for node in ast.walk(tree):
            used = isinstance(node, ast.Attribute) and ast.unparse(node).removeprefix("os.").removeprefix("signal.")
            imported = isinstance(node, ast.Import) and {alias.name for alias in node.names} & set(MODULES)
            if (used in {*FUNCTIONS, *FLAGS, *SIGNALS} or imported) and node.lineno not in safe:
                loose.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not loose
