"""Every way to ask for stages gives the same, and refuses the same: command line, files, `batch`, `serve`, Python."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from remote.loopback import Loopback, cohere, free_port
from serve.harness import serving

from rerank_cli import Reranker
from rerank_cli.errors import UsageError

DOCUMENTS: list[Any] = [
    {"id": "a", "g": "x", "date": "2024-01-01", "n": 5, "lang": "en", "text": "3 Paris is a city. 1 It is on the Seine."},
    {"id": "b", "g": "x", "date": "2999-01-01", "n": "1_000", "lang": "de", "text": "3 Paris is a city. 1 It is on the Seine!"},
    {"id": "c", "g": 1, "date": "0001-01-01", "n": None, "lang": ["en", "de"], "text": "-1 Berlin. 😀 4 On the Spree."},
    {"id": "d", "g": "1", "date": -86400000000000, "n": -2, "text": ""},
    {"id": "e", "g": None, "date": "2024-01-01T00:00:00", "n": 1e308, "text": " "},
    {"id": "f", "g": ["x", "y"], "date": "2024-01-01T00:00:00+14:00", "text": "2 Cats.\r\n-3 Dogs.\r\n1 Café e\u0301tude."},
    {"id": "g", "g": {"k": [1, None]}, "date": True, "text": "0 The weather."},
    {"id": "h", "g": True, "date": "Tue, 15 Nov 1994 12:45:26 +99999999999", "url": "http://x=1:8080", "text": "1 A capital."},
    {"id": "i", "g": "w", "date": 1706659200123, "text": "3 Paris is a city. 1 It is on the Seine."},
    "1 a text without fields",
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [
    {"recency": "date"},
    {"recency": "date", "half_life": "1y", "weight": 0.5},
    {"boost": ["lang=en:2", "url=http://x=1:8080:3"]},
    {"boost_field": "n", "boost_limit": 3},
    {"dedupe": True},
    {"dedupe": "near=0.6"},
    {"cutoff": "gap"},
    {"cutoff": "30%"},
    {"group_by": "g"},
    {"group_by": "g", "group_size": 2},
    {"diversity": 0.5},
    {"max_context_tokens": 25},
    {"highlight": 2},
    {"top_n": 3},
]
# A wrong value, and what HTTP answers: its status and the words that name the member.
WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"diversity": 5}, 400, "diversity must be at most 1"),
    ({"diversity": -0.1}, 400, "diversity must be at least 0"),
    ({"diversity": 10**400}, 400, "diversity must be at most 1"),
    ({"diversity": "much"}, 422, "parameter diversity is of type string but should be of type number"),
    ({"highlight": 101}, 400, "highlight must be at most 100"),
    ({"highlight": 0}, 400, "highlight must be at least 1"),
    ({"highlight": "yes"}, 422, "parameter highlight is of type string"),
    ({"group_by": "g", "group_size": 0}, 400, "group_size must be at least 1"),
    ({"group_by": "g", "group_size": 1.5}, 422, "parameter group_size is of type number"),
    ({"group_by": 5}, 422, "parameter group_by is of type integer"),
    ({"recency": ["date"]}, 422, "parameter recency is of type array"),
    ({"recency": "date", "half_life": 30}, 422, "parameter half_life is of type integer"),
    ({"recency": "date", "half_life": "30"}, 422, "`half_life`: `30` is not a time"),
    ({"recency": "date", "weight": -1}, 400, "weight must be at least 0"),
    ({"recency": "date", "weight": 1e300}, 400, "weight must be at most 1e+12"),
    ({"recency": "date", "boost_limit": -1}, 400, "boost_limit must be at least 0"),
    ({"boost": ["a=b:-2"]}, 422, "`boost`: `a=b:-2` is not"),
    ({"boost": ["a=b:1_0"]}, 422, "`boost`: `a=b:1_0` is not"),
    ({"boost": [1]}, 422, "parameter boost is of type integer"),
    ({"dedupe": 0.9}, 422, "parameter dedupe is of type number"),
    ({"dedupe": "near=7"}, 422, "`dedupe`: `near=7` is not"),
    ({"cutoff": 50}, 422, "parameter cutoff is of type integer"),
    ({"cutoff": True}, 422, "parameter cutoff is of type boolean"),
    ({"max_context_tokens": 0}, 400, "max_context_tokens must be at least 1"),
]


@pytest.fixture(scope="module")
def server():
    with serving() as one:
        yield one


def comparable(rows: Any) -> list[Any]:
    """What is the same whoever answers: over HTTP an empty document has a score, and empty lists are left out."""
    keys = ("final_score", "highlights", "context_tokens", "context_end")
    return [(row["index"], row["relevance_score"] or 0.0, *(row.get(key) or None for key in keys)) for row in rows]


def test_every_pair_of_stages_gives_the_same_everywhere(run, free, monkeypatch, server) -> None:
    monkeypatch.setattr("rerank_cli.api.open_now", lambda *_: free)
    asked = [{**one, **other} for one, other in itertools.combinations(OPTIONS, 2)]
    requests = [json.dumps({"query": "q", "documents": DOCUMENTS, **each}) for each in asked]
    batch = run("batch", "--context", stdin="\n".join(requests))
    assert batch.code == 0, batch.err
    for each, request, row in zip(asked, requests, batch.records, strict=True):
        rank = run("--json", stdin=request).json
        served = server.post("/rerank", query="q", documents=DOCUMENTS, context=True, **each).json
        with Reranker() as reranker:
            found = reranker.rank("q", DOCUMENTS, context=True, **each)
        own = [
            (
                hit.index,
                hit.relevance_score or 0.0,
                hit.final_score,
                [one._asdict() for one in hit.highlights or ()] or None,
            )
            for hit in found.hits
        ]
        everywhere = comparable(rank["results"])
        assert comparable(row["results"]) == comparable(served["results"]) == everywhere, each
        assert own == [one[:4] for one in everywhere], each
        stages = rank["meta"].get("stages")
        assert row.get("meta", {}).get("stages") == served["meta"].get("stages") == stages, each
        assert list(found.meta.stages) == (stages or []), each
        assert row["context"] == served["context"] == found.context, each


@pytest.mark.parametrize(("members", "status", "words"), WRONG, ids=[str(row[0])[:60] for row in WRONG])
def test_a_wrong_value_is_refused_everywhere_and_named(run, free, monkeypatch, server, members, status, words) -> None:
    monkeypatch.setattr("rerank_cli.api.open_now", lambda *_: free)
    *_, name = members
    refused = server.post("/rerank", query="q", documents=["1 a"], **members)
    assert (refused.status, words in refused.json["message"]) == (status, True), refused.body
    line = json.dumps({"query": "q", "documents": ["1 a"], **members})
    for command, code in (((), 3), (("batch",), 6)):
        found = run(*command, stdin=line)
        assert (found.code, found.out) == (code, b"")
        assert f"`{name}`" in found.err
    with Reranker() as reranker, pytest.raises(UsageError, match=rf"^(--)?{name.replace('_', '[-_]')}\b"):
        reranker.rank("q", ["1 a"], **members)
    assert free.seen == 0, "nothing was scored"


def test_equal_texts_are_dropped_over_http_as_well(server) -> None:
    documents = ["1 a", "2 b", "1 a", {"text": "2 b", "id": 7}]
    for value in (True, "exact", "near"):
        answer = server.post("/rerank", query="q", documents=documents, dedupe=value).json
        assert [row["index"] for row in answer["results"]] == [1, 0]
        assert "2 documents repeat the text of an earlier one: left out (`dedupe`)" in answer["meta"]["warnings"]
    assert len(server.post("/rerank", query="q", documents=documents, dedupe=False).json["results"]) == 4
    assert len(server.post("/rerank", query="q", documents=documents, boost=[]).json["results"]) == 4


def test_several_queries_are_refused_over_http_in_plain_words(server) -> None:
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        answer = server.post(path, query=["a", "b"], documents=["1 a"])
        assert answer.status == 422
        assert "parameter query is of type array but should be of type string" in answer.json["message"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('boost = ["x:2"]', "boost: `x:2` is not a field, a value and a factor"),
        ('cutoff = "best"', "cutoff: `best` is not a cut-off"),
        ('dedupe = "near=7"', "dedupe: `near=7` is not a way to find duplicates"),
        ('half_life = "30d"', "--half-life needs --recency"),
        ("group_size = 2", "--group-size needs --group-by"),
        ('tokenizer = "nowhere"', "--tokenizer needs --max-context-tokens"),
        ("min_score = {nonsense = 2}", "min_score: `nonsense` is neither a model nor a provider"),
        ("diversity = 5", "diversity: 5 is too large"),
    ],
)
def test_a_wrong_value_of_a_file_or_variable_says_where_it_is(run, free, tmp_path, line, words) -> None:
    path = tmp_path / "rerank.toml"
    path.write_text(f"[rank]\n{line}\n")
    refused = run("-q", "x", "--config", path, stdin="1 a\n")
    assert refused.code == 2
    assert str(path) in refused.err
    assert words.replace("diversity:", "rank.diversity:") in refused.err
    name, _, value = line.partition(" = ")
    if value.startswith(('"', "[")):
        variable = f"RERANK_{name.upper()}"
        refused = run("-q", "x", stdin="1 a\n", env={variable: value.strip('[]"')})
        assert refused.code == 2
        assert f"error: {variable}: {words.removeprefix(f'{name}: ')}" in refused.err


def test_a_row_that_asks_for_what_the_model_cannot_do_fails_alone(run) -> None:
    plain = {"query": "q", "documents": ["a cat", "b"]}
    rows = [plain, {**plain, "cutoff": "auto"}, plain]
    with Loopback(cohere) as server:
        call = ("batch", "-m", "cohere:rerank-v3.5", "--retries", "0", "--endpoint", server.url)
        found = run(*call, stdin="\n".join(map(json.dumps, rows)), env={"CO_API_KEY": "k"})
        every = run(*call, "--cutoff", "auto", stdin=json.dumps(plain), env={"CO_API_KEY": "k"})
    assert (found.code, [row["id"] for row in found.records]) == (6, [1, 3])
    assert "<stdin>:2: `cutoff` needs probabilities" in found.err
    assert (every.code, every.out) == (2, b"")


@pytest.mark.parametrize("command", [(), ("batch",)])
@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("cohere:rerank-v3.5", ("--cutoff", "auto"), "`cohere:rerank-v3.5`: --cutoff needs probabilities"),
        ("jina:jina-reranker-v3", ("--highlight",), "`jina:jina-reranker-v3`: --highlight needs a model"),
    ],
)
def test_a_fallback_that_could_not_do_a_stage_is_refused_while_the_model_is_well(
    run, command, model, options, words
) -> None:
    request = json.dumps({"query": "q", "documents": ["a"]})
    env = {"CO_API_KEY": "k", "JINA_API_KEY": "k"}
    refused = run(*command, *options, "--fallback", model, stdin=request, env=env)
    assert (refused.code, refused.out) == (2, b"")
    assert words in refused.err
    nowhere = ("-m", "tei:", "--endpoint", f"http://127.0.0.1:{free_port()}", "--retries", "0")
    well = run(*command, *nowhere, *options, "--fallback", "builtin", stdin=request)
    assert well.code == (2 if options[0] == "--cutoff" else 0), "a scale of its own, or no list"
