"""`rerank serve -m cohere:…` between raw clients and a provider on loopback: scores, keys, units, cache, figures."""

from __future__ import annotations

import json
import threading

import pytest
from remote.loopback import Loopback, as_json, cohere, hang, pointwise
from serve.harness import Program, wait_for

QUERY = "reset the router"
DOCS = ["The office opens at nine.", "Hold the pin to reset the router.", "Routers forward packets."]
KEY = "server-key-1234567890"


def expected(documents, query=QUERY):
    return {index: pointwise(query, text) for index, text in enumerate(documents)}


@pytest.fixture(scope="module")
def provider():
    with Loopback() as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def gateway(home, provider, *argv, model="cohere:rerank-v3.5", **env):
    named = ["-m", model] if model else []
    return Program(home, *named, "--endpoint", provider.url, *argv, env={"CO_API_KEY": KEY} | env)


@pytest.fixture(scope="module")
def program(home, provider):
    program = gateway(home, provider, "--keys-env", "CLIENT_KEYS", CLIENT_KEYS="client-key")
    yield program
    program.close()
    assert "Traceback" not in program.log
    assert QUERY not in program.log
    assert KEY not in program.log


@pytest.fixture
def free(provider):
    """The provider with a fresh memory."""
    provider.seen.clear()
    provider.answer = cohere
    return provider


def ask(program, documents, path="/v2/rerank", **members):
    return program.post(
        path, query=QUERY, documents=documents, headers={"authorization": "Bearer client-key"}, **members
    )


def figures(program, name):
    text = program.get("/metrics", authorization="Bearer client-key").body.decode()
    return {line.split("{")[1]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)}


@pytest.mark.parametrize("path", ["/v2/rerank", "/v1/rerank", "/rerank"])
def test_scores_are_the_provider_s_in_every_shape(program, free, path):
    documents = [f"{text} {path}" for text in DOCS]
    answer = ask(program, documents, path, model="rerank-v3.5")
    assert answer.scores == expected(documents)
    assert next(row["index"] for row in answer.json["results"]) == 1
    assert answer.json["model"] == "cohere-v2:rerank-v3.5"
    assert answer.json["meta"]["warnings"] == []
    assert len(free.seen) == 1
    assert free.seen[0].body["model"] == "rerank-v3.5"


def test_a_tei_client_of_a_cohere_model(program, free):
    texts = [f"{text} tei" for text in DOCS]
    answer = program.post("/rerank", query=QUERY, texts=texts, headers={"api-key": "client-key"})
    assert {row["index"]: row["score"] for row in answer.json} == expected(texts)


def test_keys_do_not_travel(program, free):
    """The provider gets the server's key; what clients send, headers included, ends at the server."""
    headers = {"authorization": "Bearer client-key", "cookie": "a=client-key", "x-client": "client-key"}
    assert program.post("/v2/rerank", query=QUERY, documents=["keys"], headers=headers).status == 200
    assert free.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert "client-key" not in json.dumps(free.seen[0].headers)
    assert "cookie" not in free.seen[0].headers


def test_a_second_identical_request_costs_no_unit(program, free):
    documents = [f"{text} twice" for text in DOCS]
    first, second = ask(program, documents), ask(program, documents, "/v1/rerank")
    assert [len(free.seen), first.scores] == [1, second.scores]
    units = [answer.json["meta"]["billed_units"]["search_units"] for answer in (first, second)]
    assert units == [1, 0]
    third = ask(program, [*documents, "one more"])
    assert third.json["meta"]["billed_units"]["search_units"] == 1
    assert free.seen[1].body["documents"] == ["one more"], "only what is new is sent"


def test_billed_units_are_what_the_provider_says(program, free):
    free.answer = lambda seen: as_json(
        {
            "results": [{"index": i, "relevance_score": 0.5} for i in range(len(seen.body["documents"]))],
            "meta": {"billed_units": {"search_units": 7, "total_tokens": 123}, "warnings": ["the model is old"]},
        }
    )
    answer = ask(program, ["units 1", "units 2"])
    assert answer.json["meta"]["billed_units"] == {"search_units": 7}
    assert answer.json["usage"]["total_tokens"] == 123
    assert any("the model is old" in warning for warning in answer.json["meta"]["warnings"])


def test_figures_by_model(program, free):
    label = 'model="cohere-v2:rerank-v3.5"} '
    label = label.split("}", maxsplit=1)[0] + "}"
    names = ("rerank_documents_total", "rerank_search_units_total", "rerank_cached_pairs_total")

    def now():
        return [sum(value for key, value in figures(program, name).items() if label[:-1] in key) for name in names]

    before = now()
    for _ in range(2):
        assert ask(program, ["figures 1", "figures 2"]).status == 200
    assert [after - first for after, first in zip(now(), before, strict=True)] == [4, 1, 2]
    free.answer = lambda _seen: as_json({"message": "no"}, 500)
    assert ask(program, ["figures 3"]).status == 502
    assert any('status="500"' in key and value >= 1 for key, value in figures(program, "rerank_provider_err").items())
    assert any('status="502"' in key and label[:-1] in key for key in figures(program, "rerank_requests_total"))


def test_what_a_provider_cannot_do_is_a_warning_as_in_rank(home, run, monkeypatch, free):
    monkeypatch.setenv("CO_API_KEY", KEY)
    served = Program(home, "-m", "cohere:rerank-v3.5", "--endpoint", free.url, env={"CO_API_KEY": KEY})
    answer = served.post("/v2/rerank", query=QUERY, documents=["chunks"], max_chunks_per_doc=2)
    served.close()
    argv = ("-m", "cohere:rerank-v3.5", "--endpoint", free.url, "--max-chunks-per-doc", "2", "--json")
    done = run("-q", QUERY, *argv, stdin=b"chunks\n")
    assert done.code == 0, done.err
    assert answer.json["meta"]["warnings"] == json.loads(done.out)["meta"]["warnings"]
    assert "--max-chunks-per-doc" in answer.json["meta"]["warnings"][0]


def test_rank_fields_reach_a_provider_that_chooses_fields(home, free):
    free.answer = lambda _seen: as_json({"results": [{"index": i, "relevance_score": 0.5} for i in range(2)]})
    served = gateway(home, free, model="cohere-v1:rerank-english-v3.0")
    documents = [{"title": "Router", "body": "Hold the pin.", "id": 7}, {"title": "Office"}]
    answer = served.post("/v1/rerank", query=QUERY, documents=documents, rank_fields=["title", "body"])
    served.close()
    assert answer.scores == {0: 0.5, 1: 0.5}
    body = free.seen[0].body
    assert body["rank_fields"] == ["title", "body"]
    assert body["documents"] == [{"title": "Router", "body": "Hold the pin."}, {"title": "Office"}]


def test_remote_requests_run_side_by_side_and_block_no_local_one(home, provider):
    held = threading.Event()

    def slow(seen):
        assert held.wait(30)
        return cohere(seen)

    with Loopback(slow) as server:
        argv = ("-m", "cohere:rerank-v3.5", "-m", "builtin", "--concurrency", "3")
        program = gateway(home, server, *argv, model="")
        answers = []

        def client(number):
            answers.append(program.post("/v2/rerank", query=QUERY, documents=[f"side {number}"]).status)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(server.seen) == 3)
        local = program.post("/v2/rerank", query=QUERY, documents=DOCS, model="builtin")
        assert (local.status, local.json["model"], answers) == (200, "builtin", [])
        held.set()
        for thread in threads:
            thread.join()
        program.close()
    assert answers == [200] * 8
    assert server.most_at_once == 3, "--concurrency bounds them"


def test_a_provider_that_hangs_leaves_room_for_other_models(home):
    held = threading.Event()

    def slow(seen):
        assert held.wait(30)
        return cohere(seen)

    with Loopback(slow) as server:
        argv = ("-m", "cohere:rerank-v3.5", "-m", "builtin", "--max-queue", "4", "--concurrency", "1")
        program = gateway(home, server, *argv, model="")
        statuses = []

        def client(number):
            statuses.append(program.post("/v2/rerank", query=QUERY, documents=[f"hang {number}"]).status)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: b"rerank_requests_inside 2.0" in program.get("/metrics").body)
        full = program.post("/v2/rerank", query=QUERY, documents=["one too many"])
        assert (full.status, full.headers["retry-after"]) == (429, "1")
        assert program.post("/v2/rerank", query=QUERY, documents=DOCS, model="builtin").status == 200
        held.set()
        for thread in threads:
            thread.join()
        program.close()
    assert statuses == [200, 200]


def test_highlights_of_a_listwise_model_are_refused_before_anything_is_sent(home, free):
    program = gateway(home, free, model="jina:jina-reranker-v3", JINA_API_KEY=KEY)
    answer = program.post("/rerank", query=QUERY, documents=DOCS, highlight=1)
    page = program.get("/").body
    program.close()
    assert (answer.status, free.seen) == (422, [])
    assert "`highlight` needs a model that scores each text alone" in answer.json["message"]
    assert b'id="highlight" type="checkbox">' in page  # a provider bills sentences: not unless asked for


def test_units_are_limited_for_the_life_of_the_process(home, free):
    served = gateway(home, free, "--max-units", "2", "--no-cache")
    statuses = [served.post("/v2/rerank", query=QUERY, documents=["budget"]).status for _ in range(4)]
    refused = served.post("/v2/rerank", query=QUERY, documents=["budget"])
    served.close()
    assert statuses == [200, 200, 402, 402]
    assert "more than --max-units 2" in refused.json["message"]
    assert "retry-after" not in refused.headers
    assert len(free.seen) == 2


def test_a_rate_of_the_server_s_own_is_a_429(home, free):
    served = gateway(home, free, "--requests-per-minute", "1", "--no-cache")
    first, second = (served.post("/v2/rerank", query=QUERY, documents=["rate"]) for _ in range(2))
    served.close()
    assert [first.status, second.status, len(free.seen)] == [200, 429, 1]
    assert 1 <= int(second.headers["retry-after"]) <= 60


def test_a_client_that_hangs_up_leaves_nothing_behind(home, free):
    """A request that waits for its turn is not sent once nobody waits for it."""
    release = threading.Event()

    def slow(seen):
        assert release.wait(30)
        return cohere(seen)

    free.answer = slow
    served = gateway(home, free, "--concurrency", "1", "--request-timeout", "0.5")
    late = [served.post("/v2/rerank", query=QUERY, documents=[f"gone {n}"]).status for n in range(3)]
    release.set()
    free.answer = cohere
    wait_for(lambda: served.post("/v2/rerank", query=QUERY, documents=["gone after"]).status == 200)
    served.close()
    assert late == [504] * 3
    sent = [seen.body["documents"] for seen in free.seen]
    assert sent == [["gone 0"], ["gone after"]]


def test_a_stop_does_not_wait_for_a_provider_that_hangs(home, free):
    free.answer = lambda _seen: hang
    served = gateway(home, free, "--request-timeout", "0.3")
    assert served.post("/v2/rerank", query=QUERY, documents=["hang"]).status == 504
    assert served.terminate() == 143
