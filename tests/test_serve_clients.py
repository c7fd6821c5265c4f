"""The cohere SDK and our own command line get the scores of `rerank rank` from `rerank serve`, to the bit."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import cohere
import pytest
from conftest import CAPITAL, SAMPLES
from serve.harness import HeldScorer, builtin, serving

# The SDK's own requests warn of pydantic's deprecations, which we cannot fix.
pytestmark = pytest.mark.filterwarnings("ignore:::cohere", "ignore:::pydantic")

RECORDS = [json.loads(line) for line in (SAMPLES / "capital.jsonl").read_text().splitlines()][:5]
TEXTS = [record["text"] for record in RECORDS]
LONG = "The river runs through the valley. " * 45 + "Washington, D.C. is the capital of the United States."


@pytest.fixture(scope="module")
def server():
    with serving(builtin, keys=("key-1",)) as server:
        yield server


def ranked(run, query, texts, *argv):
    """index -> score by `rerank rank`."""
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = run("-q", query, "-f", "json", *argv, stdin=stdin)
    assert done.code == 0, done.err
    return {r["index"]: r["relevance_score"] for r in done.json["results"]}


def post(server, **fields):
    answer = server.post("/v2/rerank", fields, {"authorization": "Bearer key-1"})
    assert answer.status == 200, answer.body
    return answer


def test_scores_equal_those_of_rank_to_the_bit_whatever_else_is_in_flight(run, server):
    requests = [
        (CAPITAL, TEXTS),
        ("reset the router", TEXTS[:3]),
        (CAPITAL, [LONG, "short", *TEXTS[:2]]),
        ("x", ["a", "b"]),
    ]
    expected = [ranked(run, query, texts) for query, texts in requests]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            (i, pool.submit(post, server, query=requests[i][0], documents=requests[i][1])) for i in (0, 1, 2, 3) * 3
        ]
        for number, job in jobs:
            assert job.result().scores == expected[number]
            assert list(job.result().scores) == list(expected[number]), "and in the same order"


def test_rank_fields_are_scored_as_rank_does(run, server):
    stdin = "".join(json.dumps(record) + "\n" for record in RECORDS)
    done = run("-q", CAPITAL, "--rank-fields", "title,text", "-f", "json", stdin=stdin)
    expected = {r["index"]: r["relevance_score"] for r in done.json["results"]}
    answer = post(server, query=CAPITAL, documents=RECORDS, rank_fields=["title", "text"])
    assert answer.scores == expected


def test_limits_of_a_request_are_those_of_rank(run, server):
    texts = [LONG, *TEXTS[:2]]
    for option, value in (("max_tokens_per_doc", 50), ("max_chunks_per_doc", 1)):
        expected = ranked(run, CAPITAL, texts, "--" + option.replace("_", "-"), str(value))
        assert post(server, query=CAPITAL, documents=texts, **{option: value}).scores == expected


def test_cohere_v2_and_v1(run, server):
    expected = ranked(run, CAPITAL, TEXTS)
    with cohere_client(cohere.ClientV2, server.url) as client:
        reply = client.rerank(model="rerank-v3.5", query=CAPITAL, documents=TEXTS, top_n=3)
        assert [(r.index, r.relevance_score) for r in reply.results] == list(expected.items())[:3]
        assert reply.id
        assert reply.meta.billed_units.search_units == 1
        assert reply.meta.api_version.version == "2"
        assert reply.meta.warnings == ["model `rerank-v3.5` is served by `builtin`"]
        nulls = client.rerank(model="m", query=CAPITAL, documents=TEXTS, top_n=None, max_tokens_per_doc=None)
        assert {r.index: r.relevance_score for r in nulls.results} == expected
    with cohere_client(cohere.Client, server.url) as client:
        reply = client.rerank(
            query=CAPITAL, documents=RECORDS, rank_fields=["title", "text"], return_documents=True, top_n=2
        )
        best = reply.results[0]
        assert best.document.text == RECORDS[best.index]["text"]
        assert best.document.title == RECORDS[best.index]["title"]


def cohere_client(kind, url, key="key-1", **options):
    return kind(api_key=key, base_url=url, **options)


@pytest.mark.parametrize("base", ["/v1", "/v1/rerank", "/v2", "/providers/cohere"])
def test_base_urls_that_other_servers_refuse(server, base):
    with cohere_client(cohere.ClientV2, server.url + base) as client:
        assert client.rerank(model="m", query="q", documents=["a", "b"]).meta.api_version.version == "2"
    with cohere_client(cohere.Client, server.url + base) as client:
        assert client.rerank(query="q", documents=["a", "b"]).meta.api_version.version == "1"


def test_cohere_async(run, server):
    expected = ranked(run, CAPITAL, TEXTS)

    async def both():
        async with (
            cohere.AsyncClientV2(api_key="key-1", base_url=server.url) as v2,
            cohere.AsyncClient(api_key="key-1", base_url=server.url) as v1,
        ):
            return await asyncio.gather(
                *(v2.rerank(model="m", query=CAPITAL, documents=TEXTS) for _ in range(3)),
                *(v1.rerank(query=CAPITAL, documents=TEXTS) for _ in range(3)),
            )

    for reply in asyncio.run(both()):
        assert {r.index: r.relevance_score for r in reply.results} == expected


def test_cohere_s_error_classes(server):
    with cohere_client(cohere.ClientV2, server.url) as client:
        with pytest.raises(cohere.BadRequestError) as caught:
            client.rerank(model="m", query=" ", documents=["a"])
        assert caught.value.body["message"] == "invalid request: query must not be empty or be only whitespace"
        with pytest.raises(cohere.UnprocessableEntityError):
            client.rerank(model="m", query="q", documents=[3])
    with cohere_client(cohere.ClientV2, server.url, key="wrong") as client, pytest.raises(cohere.UnauthorizedError):
        client.rerank(model="m", query="q", documents=["a"])
    with (
        serving(strict=True) as strict,
        cohere_client(cohere.ClientV2, strict.url) as client,
        pytest.raises(cohere.NotFoundError),
    ):
        client.rerank(model="xyz", query="q", documents=["a"])


def test_cohere_s_retries_reach_a_busy_server():
    """429 with a whole Retry-After: the SDK waits that long and its second attempt is answered."""
    scorer = HeldScorer()
    with serving(lambda: scorer, max_queue=1) as busy, cohere_client(cohere.ClientV2, busy.url) as client:
        first = threading.Thread(target=lambda: busy.post("/v2/rerank", query="q", documents=["1"]))
        first.start()
        assert scorer.entered.acquire(timeout=30)
        with pytest.raises(cohere.TooManyRequestsError):
            client.rerank(model="m", query="q", documents=["2"], request_options={"max_retries": 0})
        threading.Timer(0.3, scorer.release).start()
        reply = client.rerank(model="m", query="q", documents=["2"], request_options={"max_retries": 2})
        assert reply.results[0].index == 0
        first.join()


def test_the_command_line_as_a_client(run, server, tmp_path):
    """`cohere:`, `tei:` and a named endpoint, with the scores of the same model in this process."""
    expected = ranked(run, CAPITAL, TEXTS)
    env = {"CO_API_KEY": "key-1", "TEI_API_KEY": "key-1", "WARM_KEY": "key-1"}
    stdin = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    config = tmp_path / "rerank.toml"
    config.write_text(
        f'[endpoints.warm]\nprovider = "cohere"\nurl = "{server.url}"\nmodel = "any"\napi_key_env = "WARM_KEY"\n'
    )
    for argv in (
        ["-m", "cohere:anything", "--endpoint", server.url],
        ["-m", "tei:", "--endpoint", server.url, "--api-key-env", "WARM_KEY"],
        ["-m", "warm", "--config", str(config)],
    ):
        done = run("-q", CAPITAL, "-f", "json", *argv, stdin=stdin, env=env)
        assert done.code == 0, done.err
        assert {r["index"]: r["relevance_score"] for r in done.json["results"]} == expected, argv


def test_the_command_line_shows_the_message_of_the_server(run, server):
    done = run(
        "-q",
        "x",
        "-m",
        "cohere:m",
        "--endpoint",
        server.url,
        "--retries",
        "0",
        stdin="a\n",
        env={"CO_API_KEY": "wrong"},
    )
    assert done.code == 5
    assert "invalid api token" in done.err
    assert "wrong" not in done.err
