"""The cohere SDK, `rerank serve` as a gateway, a provider that fails: what the SDK makes of it (`-m clients`).

The SDKs are installed in two environments, on first use in a temporary folder, or below the one that
RERANK_CLIENTS_VENV names, which is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from remote.loopback import Loopback, as_json, hang, in_turn, pointwise
from serve import gateway_clients
from serve.harness import Program

SDKS = {"cohere5": "cohere==5.21.1", "cohere7": "cohere==7.3.1"}
KEY = "server-key-1234567890"

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=SDKS)
def sdk(request, tmp_path_factory):
    """The interpreter of an environment with one SDK."""
    kept = os.environ.get("RERANK_CLIENTS_VENV")
    folder = (Path(kept) if kept else tmp_path_factory.mktemp("clients")) / request.param
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin/pip", "install", "--quiet", SDKS[request.param]], check=True)
        (folder / "installed").touch()
    return folder / "bin/python"


@pytest.fixture
def served(tmp_path):
    with Loopback() as provider:
        argv = ("-m", "cohere:rerank-v3.5", "--endpoint", provider.url, "--timeout", "0.7")
        program = Program(tmp_path, *argv, env={"CO_API_KEY": KEY})
        yield provider, program
        program.close()
        assert "Traceback" not in program.log


def use(sdk, tmp_path, name, *arguments):
    done = subprocess.run(
        [sdk, Path(gateway_clients.__file__), name, *arguments],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


def test_the_second_identical_request_costs_no_unit(sdk, served, tmp_path):
    provider, program = served
    found = use(sdk, tmp_path, "ranks", program.url)
    texts = gateway_clients.FIELDS["documents"]
    query = gateway_clients.FIELDS["query"]
    assert found["scores"] == {str(index): pointwise(query, text) for index, text in enumerate(texts)}
    assert (found["units"], len(provider.seen)) == ([1, 0], 1)
    assert provider.seen[0].headers["authorization"] == f"Bearer {KEY}"


FAILURES = {
    "rate limit": (as_json({"message": "slow down"}, 429, Retry_After="7"), ["TooManyRequestsError", 429, "7"]),
    "bad request": (as_json({"message": "odd"}, 400), ["BadRequestError", 400, None]),
    "unprocessable": (as_json({"message": "odd"}, 422), ["UnprocessableEntityError", 422, None]),
    "the server's key": (as_json({"message": "who?"}, 401), ["ApiError", 502, None]),
    "overloaded": (as_json({"message": "later"}, 503, Retry_After="3"), ["ServiceUnavailableError", 503, "3"]),
    "silence": (hang, ["GatewayTimeoutError", 504, None]),
}


@pytest.mark.parametrize("name", FAILURES)
def test_errors_keep_their_class(sdk, served, tmp_path, name):
    provider, program = served
    reply, (error, status, retry_after) = FAILURES[name]
    provider.answer = lambda _seen: reply
    found = use(sdk, tmp_path, "fails", program.url, "0")
    assert [found[0], found[1], found[3]] == [error, status, retry_after]
    assert len(provider.seen) == 1


def test_the_sdk_tries_again_as_often_as_it_would_with_the_provider(sdk, served, tmp_path):
    provider, program = served
    busy = as_json({"message": "slow down"}, 429, Retry_After="1")
    provider.answer = in_turn(busy, busy)
    assert use(sdk, tmp_path, "fails", program.url, "2") is None, "the third attempt is answered"
    assert len(provider.seen) == 3
    provider.seen.clear()
    provider.answer = lambda _seen: as_json({"message": "odd"}, 400)
    use(sdk, tmp_path, "ranks", program.url)  # known by now
    assert provider.seen == []
