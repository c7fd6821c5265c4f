"""`rerank batch` with an endpoint: refused rows, listwise models, and what a cached score depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from remote.loopback import Loopback, Seen, as_json, cohere

KEY = {"CO_API_KEY": "k-123456789", "JINA_API_KEY": "k-123456789"}
COHERE = ("-m", "cohere:rerank-v3.5", "--retries", "0", "--endpoint")
LISTWISE = ("-m", "jina:jina-reranker-v3", "--retries", "0", "--endpoint")


def rows(*requests: tuple[str, list[str]]) -> str:
    lines = ({"id": f"r{n}", "query": query, "documents": texts} for n, (query, texts) in enumerate(requests))
    return "\n".join(map(json.dumps, lines))


def by_place(seen: Seen):
    """A listwise model: a score depends on how many documents there are and on the place among them."""
    n = len(seen.body["documents"])
    return as_json({"results": [{"index": i, "relevance_score": 1 / n - i / 100} for i in range(n)]})


def picky(seen: Seen):
    if any("poison" in text for text in seen.body["documents"]):
        return as_json({"message": "documents[0]: unsupported content"}, 400)
    return cohere(seen)


def test_a_row_refused_by_the_provider_fails_and_the_others_are_ranked(run, tmp_path: Path) -> None:
    given = rows(("one", ["a", "b"]), ("two", ["poison", "c"]), ("three", ["d", "e"]))
    with Loopback(picky) as server:
        found = run("batch", "--errors", tmp_path / "e", *COHERE, server.url, stdin=given, env=KEY)
    assert found.code == 6
    assert [row["id"] for row in found.records] == ["r0", "r2"]
    assert "unsupported content" in found.err
    bad = json.loads((tmp_path / "e").read_text())
    assert (bad["id"], bad["exit_code"]) == ("r1", 5)


def test_an_error_that_affects_every_row_ends_the_run(run) -> None:
    given = rows(*((f"query {n}", ["a", "b"]) for n in range(50)))
    with Loopback(lambda _seen: as_json({"message": "unknown model"}, 400)) as server:
        found = run("batch", "--concurrency", "1", *COHERE, server.url, stdin=given, env=KEY)
        assert len(server.seen) < 10
    assert found.code == 5
    assert "unknown model" in found.err


def test_rows_with_the_same_query_are_separate_lists_for_a_listwise_model(run) -> None:
    given = rows(("q", ["a", "b"]), ("q", ["c", "d", "e"]), ("other", ["a"]))
    with Loopback(by_place) as server:
        found = run("batch", *LISTWISE, server.url, stdin=given, env=KEY)
        sizes = sorted(len(seen.body["documents"]) for seen in server.seen)
    assert (found.code, sizes) == (0, [1, 2, 3]), found.err
    best = [row["results"][0]["relevance_score"] for row in found.records]
    assert best == pytest.approx([1 / 2, 1 / 3, 1])


def test_scores_of_split_lists_are_not_cached_as_those_of_whole_lists(run, tmp_path: Path) -> None:
    cache = ("--cache", "--cache-path", str(tmp_path / "cache"))
    given = "a\nb\nc\nd\n"
    with Loopback(by_place) as server:
        where = (*LISTWISE, server.url, *cache, "-q", "q", "-f", "jsonl")
        run(*where, "--allow-split", "--batch-docs", "2", stdin=given, env=KEY)
        whole = run(*where, stdin=given, env=KEY)
        again = run(*where, stdin=given, env=KEY)
        assert [len(seen.body["documents"]) for seen in server.seen] == [2, 2, 4]
        refused = run(*where, "--batch-docs", "2", stdin=given, env=KEY)
    assert whole.records[0]["relevance_score"] == pytest.approx(1 / 4)
    assert whole.out == again.out
    assert refused.code == 2


def test_headers_that_can_select_the_model_are_part_of_the_cache_key(run, tmp_path: Path) -> None:
    with Loopback() as server:
        where = (*COHERE, server.url, "--cache", "--cache-path", str(tmp_path / "cache"), "-q", "q")
        for route in ("a", "b", "a"):
            assert run(*where, "--header", f"X-Route: model-{route}", stdin="x\ny\n", env=KEY).code == 0
        assert [seen.headers["x-route"] for seen in server.seen] == ["model-a", "model-b"]
