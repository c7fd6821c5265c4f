"""Clients that need much: cohere 5.21, LangChain, LlamaIndex, LiteLLM, schemathesis, in an environment of their own (`-m clients`).

The environment is made from tests/requirements-clients.txt on first use; RERANK_CLIENTS_VENV names one to keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from serve import clients
from serve.harness import Program

REQUIREMENTS = Path(__file__).parent / "requirements-clients.txt"
NAMES = [name for name, value in vars(clients).items() if callable(value) and name not in {"of", "_litellm"}]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    folder = Path(os.environ.get("RERANK_CLIENTS_VENV") or tmp_path_factory.mktemp("clients") / "venv")
    if not (folder / "bin/schemathesis").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program = Program(tmp_path_factory.mktemp("home"), "--keys-env", "K", env={"K": clients.KEY})
    yield program
    program.close()
    assert "Traceback" not in program.log
    assert "internal error" not in program.log


@pytest.mark.parametrize("name", NAMES)
def test_client(process, venv, server, name, tmp_path):
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in clients.DOCS)
    local = process("-q", clients.QUERY, "-f", "json", stdin=stdin)
    expected = {str(r["index"]): r["relevance_score"] for r in local.json["results"]}
    done = subprocess.run(
        [venv / "bin/python", Path(clients.__file__), name, server.url],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert json.loads(line.removeprefix("RESULT ")) == expected


def test_schemathesis_finds_nothing(venv, server, tmp_path):
    argv = [
        "run",
        f"{server.url}/openapi.json",
        "--header",
        f"Authorization: Bearer {clients.KEY}",
        "--max-examples",
        "40",
    ]
    # A text of nothing but control characters matches the schema's pattern and still holds no token: 400, as promised.
    argv += ["--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing", "--workers", "1"]
    done = subprocess.run(
        [venv / "bin/schemathesis", *argv],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
