"""Client packages get right answers from `rerank serve` (`-m clients`): SDKs of eight providers, LangChain, LlamaIndex,
Haystack, LiteLLM, and those of npm.

They are installed in an environment each for what fits together, on first use in a temporary folder, or in the one that
RERANK_CLIENTS_VENV names, which is kept. Those of npm need `node` and `npm`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serve import clients
from serve.harness import HeldScorer, Program, builtin, serving

HERE = Path(__file__).parent
SERVE = HERE / "serve"
REQUIREMENTS = {
    "cohere5": HERE / "requirements-clients.txt",
    "cohere7": SERVE / "requirements-cohere-7.txt",
    "providers": SERVE / "requirements-providers.txt",
    "xinference": SERVE / "requirements-xinference.txt",
}
COHERE_VENVS = ("cohere5", "cohere7")
COHERE = ("cohere_v2", "cohere_v1", "cohere_async")
OTHERS = (
    "langchain", "llama_index", "litellm_cohere", "litellm_jina", "litellm_vllm", "litellm_huggingface",
    "litellm_voyage", "litellm_nvidia", "litellm_infinity",
)  # fmt: skip
CLIENTS = [(venv, name) for venv in COHERE_VENVS for name in COHERE] + [("cohere5", name) for name in OTHERS]
PROVIDERS = (
    "voyage", "langchain_voyage", "langchain_nvidia", "llama_index_nvidia", "haystack_nvidia", "haystack_tei",
    "mixedbread", "llama_index_mixedbread", "dashscope", "llama_index_dashscope", "llama_index_siliconflow",
    "llama_index_jina",
    "llama_index_tei", "xinference", "infinity", "langchain_infinity", "pinecone",
)  # fmt: skip
NPM = ("cohere", "voyage", "ai_sdk_cohere", "ai_sdk_voyage", "mixedbread", "pinecone")

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    kept = os.environ.get("RERANK_CLIENTS_VENV")
    return Path(kept) if kept else tmp_path_factory.mktemp("clients")


@pytest.fixture(scope="module")
def venvs(base):
    """Their folders by name; what is installed is shown with `pytest -s`."""
    made = {name: base / name for name in REQUIREMENTS}
    for name, folder in made.items():
        if not (folder / "installed").exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", REQUIREMENTS[name]], check=True)
            (folder / "installed").touch()
        subprocess.run([folder / "bin/pip", "list", "--format", "freeze", "--disable-pip-version-check"], check=True)
    return made


@pytest.fixture(scope="module")
def npm(base):
    """The folder with the packages of npm and the script that uses them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = base / "npm"
    shutil.copytree(SERVE / "npm", folder, dirs_exist_ok=True)
    if not (folder / "installed").exists():
        argv = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
        subprocess.run(argv, cwd=folder, check=True)
        (folder / "installed").touch()
    return folder


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
        script = "clients.py" if venv in COHERE_VENVS else "provider_clients.py"
        argv = [venvs[venv] / "bin/python", SERVE / script, name, url, *arguments]
        return result_of(argv, {"HOME": str(tmp_path), "LITELLM_LOCAL_MODEL_COST_MAP": "True"})

    return use


def result_of(argv, env):
    """What a client printed: index -> score, in its order."""
    environment = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return {int(index): score for index, score in dict(json.loads(line.removeprefix("RESULT "))).items()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """index -> score by `rerank rank`."""
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in clients.DOCS)
    argv = [sys.executable, "-m", "rerank_cli", "-q", clients.QUERY, "-f", "json"]
    env = {"HOME": str(tmp_path_factory.mktemp("rank")), "PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(argv, input=stdin, env=env, capture_output=True, text=True, check=True)
    return {row["index"]: row["relevance_score"] for row in json.loads(done.stdout)["results"]}


@pytest.mark.parametrize(
    ("venv", "name"), [*CLIENTS, *(("providers", name) for name in PROVIDERS), ("xinference", "langchain_xinference")]
)
def test_client(use, server, expected, venv, name):
    found = use(venv, name, server.url)
    assert list(found) == list(expected)
    # Of logits the test makes probabilities.
    assert found == (pytest.approx(expected, rel=1e-9) if "nvidia" in name else expected)


@pytest.mark.parametrize("name", NPM)
def test_npm_client(npm, server, expected, name):
    found = result_of(["node", npm / "clients.mjs", name, server.url], {"HOME": str(npm)})
    assert list(found.items()) == list(expected.items())


def test_client_that_sends_no_key(use, expected):
    """LlamaIndex's for Xinference."""
    with serving(builtin) as server:
        assert list(use("providers", "llama_index_xinference", server.url).items()) == list(expected.items())


RAISES = {
    "BadRequestError": {"query": " "},
    "UnauthorizedError": {},
    "NotFoundError": {"model": "unknown"},
    "UnprocessableEntityError": {"top_n": "3"},
    "TooManyRequestsError": {},
    "ServiceUnavailableError": {},
    "GatewayTimeoutError": {},
}


@pytest.mark.parametrize("venv", COHERE_VENVS)
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


@pytest.mark.parametrize("venv", COHERE_VENVS)
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
