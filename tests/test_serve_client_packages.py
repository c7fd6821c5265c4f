"""Client packages get right answers from `rerank serve`: cohere 5 and 7, LangChain, LlamaIndex, LiteLLM (`-m clients`).

They are installed in two environments, on first use in a temporary folder, or in the one that RERANK_CLIENTS_VENV
names, which is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serve import clients
from serve.harness import HeldScorer, Program, serving

HERE = Path(__file__).parent
REQUIREMENTS = {"cohere5": HERE / "requirements-clients.txt", "cohere7": HERE / "serve/requirements-cohere-7.txt"}
COHERE = ("cohere_v2", "cohere_v1", "cohere_async")
OTHERS = ("langchain", "llama_index", "litellm_cohere", "litellm_jina", "litellm_vllm", "litellm_huggingface")
CLIENTS = [(venv, name) for venv in REQUIREMENTS for name in COHERE] + [("cohere5", name) for name in OTHERS]

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def venvs(tmp_path_factory):
    """Their folders by name; what is installed is shown with `pytest -s`."""
    kept = os.environ.get("RERANK_CLIENTS_VENV")
    base = Path(kept) if kept else tmp_path_factory.mktemp("clients")
    made = {name: base / name for name in REQUIREMENTS}
    for name, folder in made.items():
        if not (folder / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", REQUIREMENTS[name]], check=True)
            (folder / "installed").touch()
        subprocess.run([folder / "bin/pip", "list", "--format", "freeze", "--disable-pip-version-check"], check=True)
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program = Program(tmp_path_factory.mktemp("home"), "--keys-env", "K", env={"K": clients.KEY})
    yield program
    program.close()
    assert "Traceback" not in program.log
    assert "internal error" not in program.log


@pytest.fixture
def use(venvs, tmp_path):
    """Run a function of `clients` by the interpreter of an environment; its index -> score."""

    def use(venv, name, url, *arguments):
        done = subprocess.run(
            [venvs[venv] / "bin/python", Path(clients.__file__), name, url, *arguments],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        return {int(index): score for index, score in json.loads(line.removeprefix("RESULT ")).items()}

    return use


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """index -> score by `rerank rank`."""
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in clients.DOCS)
    argv = [sys.executable, "-m", "rerank_cli", "-q", clients.QUERY, "-f", "json"]
    env = {"HOME": str(tmp_path_factory.mktemp("rank")), "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, text=True, check=True)
    return {row["index"]: row["relevance_score"] for row in json.loads(done.stdout)["results"]}


@pytest.mark.parametrize(("venv", "name"), CLIENTS)
def test_client(use, server, expected, venv, name):
    assert use(venv, name, server.url) == expected


RAISES = {
    "BadRequestError": {"query": " "},
    "UnauthorizedError": {},
    "NotFoundError": {"model": "unknown"},
    "UnprocessableEntityError": {"top_n": "3"},
    "TooManyRequestsError": {},
    "ServiceUnavailableError": {},
    "GatewayTimeoutError": {},
}


@pytest.mark.parametrize("venv", REQUIREMENTS)
@pytest.mark.parametrize("error", RAISES)
def test_cohere_s_error_classes(use, venv, error):
    fields = {"model": "free", "query": "q", "documents": ["1", "2"]} | RAISES[error]
    key = "wrong" if error == "UnauthorizedError" else clients.KEY
    scorer = HeldScorer()
    timeout = 0.3 if error == "GatewayTimeoutError" else 100
    queue = 0 if error == "TooManyRequestsError" else 9
    with serving(lambda: scorer, strict=True, keys=(clients.KEY,), timeout_s=timeout, max_queue=queue) as server:
        server.app.admission.draining = error == "ServiceUnavailableError"
        use(venv, "cohere_raises", server.url, json.dumps([error, key, fields]))
        server.app.admission.draining = False


@pytest.mark.parametrize("venv", REQUIREMENTS)
@pytest.mark.parametrize("name", ["cohere_retries", "cohere_async_retries"])
def test_cohere_s_retries(use, venv, name):
    """Held until the client was refused twice; its next try is answered."""
    scorer = HeldScorer()
    with serving(lambda: scorer, max_queue=1) as server:
        first = threading.Thread(target=lambda: server.post("/v2/rerank", query="q", documents=["1"]))
        first.start()
        assert scorer.entered.acquire(timeout=30)

        def release():
            while server.stderr.getvalue().count("status=429") < 2:
                time.sleep(0.05)
            scorer.release()

        threading.Thread(target=release, daemon=True).start()
        assert len(use(venv, name, server.url)) == len(clients.DOCS)
        first.join()
        assert server.stderr.getvalue().count("status=429") == 2


def test_schemathesis_finds_nothing(venvs, server, tmp_path):
    argv = ["run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {clients.KEY}"]
    # A text of nothing but control characters matches the schema's pattern and still holds no token: 400, as promised.
    argv += ["--exclude-checks", "positive_data_acceptance", "--phases", "examples,coverage,fuzzing", "--workers", "1"]
    done = subprocess.run(
        [venvs["cohere5"] / "bin/schemathesis", *argv, "--max-examples", "40"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    print(done.stdout[-2000:])
    assert done.returncode == 0, done.stdout[-6000:]
