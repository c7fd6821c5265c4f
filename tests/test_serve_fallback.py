"""`rerank serve --fallback`: another model answers where the chosen one is unusable, and the response says so."""

from __future__ import annotations

import pytest
from remote.loopback import Loopback, as_json, free_port
from serve.harness import Program
from test_serve_gateway_errors import FAILURES, KEY, SILENT, gateway

DOCUMENTS = ["The office opens at nine.", "Hold the recessed pin for ten seconds.", ""]
REQUEST = {"query": "reset the router", "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def provider():
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def program(home, provider):
    yield from gateway(home, provider, "--fallback", "builtin")


@pytest.fixture(scope="module")
def hasty(home, provider):
    yield from gateway(home, provider, "--fallback", "builtin", "--timeout", "0.7")


@pytest.fixture(scope="module")
def expected(home):
    program = Program(home)
    answer = program.post("/v2/rerank", **REQUEST)
    program.close()
    return answer.json["results"]


@pytest.mark.parametrize("name", FAILURES)
def test_the_fallback_ranks_after_any_failure_of_the_provider(program, hasty, provider, expected, name) -> None:
    program = hasty if name in SILENT else program
    provider.answer = lambda _seen: FAILURES[name][0]
    answer = program.post("/v2/rerank", **REQUEST)
    assert (answer.status, answer.json["model"]) == (200, "builtin"), answer.body
    assert answer.json["results"] == expected
    (failure,) = answer.json["meta"]["fallback"]
    assert failure["model"] == "cohere-v2:rerank-v3.5"
    assert "`cohere-v2:rerank-v3.5` is unusable, `builtin` takes its place" in answer.json["meta"]["warnings"]
    assert KEY not in answer.body.decode()


def test_a_provider_that_answers_needs_no_fallback(program, provider) -> None:
    results = [{"index": index, "relevance_score": 1 / (index + 1)} for index in range(2)]
    provider.answer = lambda _seen: as_json({"results": results})
    answer = program.post("/v2/rerank", **REQUEST)
    assert answer.json["model"] == "cohere-v2:rerank-v3.5"
    assert "fallback" not in answer.json["meta"]


def test_what_is_wrong_with_the_request_is_refused_by_no_other_model(program, provider) -> None:
    provider.answer = lambda _seen: as_json({"results": [{"index": 0, "relevance_score": 0.5}]})
    provider.seen.clear()
    assert program.post("/v2/rerank", query=" ", documents=["a"]).status == 400
    assert program.post("/rerank", query="q", documents=["a"], cutoff="auto").status == 422  # of a provider's scores
    assert provider.seen == []


def test_the_chain_ends_with_the_order_that_came(home) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    program = Program(home, "-m", "tei:", "--endpoint", dead, "--no-cache", "--fallback", "passthrough", "--strict")
    answer = program.post("/v1/rerank", query="reset the router", documents=DOCUMENTS[:2], model="tei:")
    assert (answer.status, answer.json["model"]) == (200, "passthrough")
    assert [(row["index"], row["relevance_score"]) for row in answer.json["results"]] == [(0, 0.0), (1, 0.0)]
    assert answer.json["meta"]["billed_units"] == {"search_units": 0}
    assert "if a model fails: passthrough" in program.log
    assert [model["id"] for model in program.get("/v1/models").json["data"]] == ["tei:"], "it cannot be asked for"
    program.close()


def test_without_a_usable_model_the_last_failure_is_the_answer(home) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    config = home / "chain.toml"
    config.write_text(f'[endpoints.far]\nprovider = "tei"\nurl = "{dead}"\n')
    argv = ("-m", "tei:", "--endpoint", dead, "--no-cache", "--config", str(config))
    program = Program(home, *argv, "--fallback", "far")
    answer = program.post("/v2/rerank", **REQUEST)
    assert answer.status == 502
    assert "the provider gave no valid answer" in answer.json["message"]
    program.close()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--fallback", "a/b/c"), "unknown model `a/b/c`"),
        (("--fallback", "passthrough", "--fallback", "builtin"), "--fallback passthrough never fails"),
        (("--fallback", "builtin", "--fail-closed"), "exclude each other"),
    ],
)
def test_a_fallback_that_can_never_work_is_refused_at_once(run, argv, message) -> None:
    refused = run("serve", "--port", "0", *argv)
    assert refused.code == 2
    assert message in refused.err
