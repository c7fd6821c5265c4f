"""A real LiteLLM proxy, in its own environment, in front of a rerank server on loopback (`pytest -m gateway`).

The environment is built from tests/requirements-gateway.txt on first use; RERANK_GATEWAY_VENV names one to keep.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from remote.loopback import Loopback, cohere, free_port, pointwise

REQUIREMENTS = Path(__file__).parent / "requirements-gateway.txt"
GATEWAY_KEY, UPSTREAM_KEY = "sk-gateway-0123456789", "sk-upstream-0123456789"
DOCS = ["the office opens at nine", "reset the router by its pin", "cats", "", "reset clocks"]
CONFIG = """
model_list:
  - model_name: my-reranker
    litellm_params: {{model: cohere/rerank-v3.5, api_base: "{url}", api_key: {key}}}
  - model_name: my-vllm
    litellm_params: {{model: hosted_vllm/some-reranker, api_base: "{url}", api_key: {key}}}
general_settings: {{master_key: {master}}}
litellm_settings: {{num_retries: 0}}
"""

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    folder = Path(os.environ.get("RERANK_GATEWAY_VENV") or tmp_path_factory.mktemp("gateway") / "venv")
    if not (folder / "bin/litellm").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    return folder


@pytest.fixture(scope="module")
def gateway(venv, tmp_path_factory):
    """(URL of the proxy, the server behind it)."""
    folder = tmp_path_factory.mktemp("proxy")
    with Loopback(cohere) as upstream:
        config = folder / "config.yaml"
        config.write_text(CONFIG.format(url=upstream.url, key=UPSTREAM_KEY, master=GATEWAY_KEY))
        port = free_port()
        argv = [
            venv / "bin/litellm",
            "--config",
            config,
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--telemetry",
            "False",
        ]
        env = {"PATH": f"{venv / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        with (folder / "log").open("wb") as log:
            proxy = subprocess.Popen(argv, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            wait_until_alive(f"http://127.0.0.1:{port}/health/liveliness", proxy, folder / "log")
            yield f"http://127.0.0.1:{port}", upstream
        finally:
            proxy.terminate()
            proxy.wait(20)


def wait_until_alive(url, proxy, log):
    for _ in range(240):
        assert proxy.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.mark.parametrize("model", ["my-reranker", "my-vllm"])
def test_rerank_ranks_through_litellm(process, gateway, model):
    url, upstream = gateway
    upstream.seen.clear()
    done = process(
        "-q", "reset the router", "-m", f"litellm:{model}", "--endpoint", url, "-f", "json", "--batch-docs", "2",
        stdin="".join(f'{{"text": "{text}"}}\n' for text in DOCS), env={"LITELLM_API_KEY": GATEWAY_KEY},
    )  # fmt: skip
    assert done.code == 0, done.err
    expected = {i: pointwise("reset the router", text) for i, text in enumerate(DOCS) if text}
    found = {result["index"]: result["relevance_score"] for result in done.json["results"]}
    assert found == expected | {3: None}
    assert [r["index"] for r in done.json["results"]] == [*sorted(expected, key=lambda i: -expected[i]), 3]
    assert len(upstream.seen) == 2
    assert upstream.seen[0].headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


@pytest.mark.parametrize(
    ("model", "key", "words"),  # without a database LiteLLM answers a wrong key with 400, else with 401
    [("my-reranker", "sk-wrong-0123456789", "answered 40"), ("no-such-model", GATEWAY_KEY, "no-such-model")],
)
def test_the_gateways_refusals_keep_their_words(process, gateway, model, key, words):
    url, _ = gateway
    done = process(
        "-q",
        "x",
        "-m",
        f"litellm:{model}",
        "--endpoint",
        url,
        "--retries",
        "0",
        stdin="a\n",
        env={"LITELLM_API_KEY": key},
    )
    assert (done.code, done.out) == (5, b"")
    assert words in done.err
    assert key not in done.err
