"""Several queries: each pair is scored once, and a document's scores are joined by max, mean or rrf."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest
from free_scorer import FreeScorer
from hypothesis import given
from hypothesis import strategies as st
from remote.loopback import Loopback, Seen, as_json
from remote.scoring import KEY

from rerank_cli import Reranker, pipeline
from rerank_cli.errors import UsageError
from rerank_cli.records import Document, Score, Source
from rerank_cli.report import Report
from rerank_cli.settings import RankSettings

ENV = {"CO_API_KEY": KEY, "JINA_API_KEY": KEY}
COHERE = ("-m", "cohere:rerank-v3.5", "--retries", "0", "--endpoint")
ASKED = ("-q", "wifi", "-q", "internet")
# Scores of a provider, of no scale that is known: they are joined as they are.
TABLE = {"wifi": {"a": 0.9, "b": 0.2, "c": 0.6}, "internet": {"a": 0.1, "b": 0.8, "c": 0.55}}
# By hand. rrf: ranks of a 1 and 3, of b 3 and 1, of c 2 and 2; the tie goes to the higher relevance.
JOINED = {
    "max": [("a", 0.9, None), ("b", 0.8, None), ("c", 0.6, None)],
    "mean": [("c", 0.575, None), ("a", 0.5, None), ("b", 0.5, None)],
    "rrf": [("a", 0.9, 1 / 61 + 1 / 63), ("b", 0.8, 1 / 63 + 1 / 61), ("c", 0.6, 2 / 62)],
}


def by_table(seen: Seen):
    scores = [TABLE[seen.body["query"]][text] for text in seen.body["documents"]]
    return as_json({"results": [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]})


def of_table(found) -> list[tuple[str, float, float | None]]:
    return [(one["document"], one["relevance_score"], one.get("fused_score")) for one in found]


@pytest.mark.parametrize("how", JOINED)
def test_scores_of_a_provider_are_joined_as_they_are(run, how: str) -> None:
    with Loopback(by_table) as server:
        call = (*ASKED, *COHERE, server.url, "--join", how)
        found = run(*call, "--json", stdin="a\nb\nc\n", env=ENV)
        top = run(*call, "-n", "1", "-f", "ids", stdin="a\nb\nc\na\n", env=ENV)
        assert sorted(seen.body["query"] for seen in server.seen) == ["internet", "internet", "wifi", "wifi"]
        assert all(seen.body["documents"] == ["a", "b", "c"] for seen in server.seen), "equal texts are scored once"
    assert found.code == 0, found.err
    assert of_table(found.json["results"]) == [
        (text, pytest.approx(score), fused and pytest.approx(fused)) for text, score, fused in JOINED[how]
    ]
    assert found.json["meta"]["queries"] == ["wifi", "internet"]
    assert top.lines == [str("abc".index(JOINED[how][0][0]))]


def test_max_is_the_default_and_one_query_stays_as_it_was(run) -> None:
    texts = "the router is reset by a pin\ncats\nthe office opens at nine\n"
    one = run("-q", "reset the router", "--json", "--explain", stdin=texts)
    for same in (("-q", "reset the router"), ("--join", "rrf")):
        assert run("-q", "reset the router", *same, "--json", "--explain", stdin=texts).out == one.out
    assert "queries" not in one.text
    two = ("-q", "reset the router", "-q", "opening hours", "-f", "jsonl")
    assert run(*two, stdin=texts).out == run(*two, "--join", "max", stdin=texts).out


def test_the_embedded_models_mean_is_of_log_odds(run) -> None:
    texts = ["the router is reset by a pin", "cats", "the office opens at nine"]
    queries = ["reset the router", "opening hours", "pets"]
    with Reranker() as reranker:
        logits = list(zip(*(reranker.score(query, texts) for query in queries), strict=True))
        found = reranker.rank(queries, texts, join="mean")
        highest = reranker.rank(iter(queries), texts)
    wanted = {text: 1 / (1 + math.exp(-sum(own) / 3)) for text, own in zip(texts, logits, strict=True)}
    assert {hit.document: hit.relevance_score for hit in found.hits} == pytest.approx(wanted)
    best = {text: 1 / (1 + math.exp(-max(own))) for text, own in zip(texts, logits, strict=True)}
    assert {hit.document: hit.relevance_score for hit in highest.hits} == pytest.approx(best)
    shown = run(*(part for query in queries for part in ("-q", query)), "--explain", "--json", stdin="\n".join(texts))
    for one in shown.json["results"]:
        parts = one["explain"]["queries"]
        assert [part["query"] for part in parts] == queries
        assert [part["logit"] for part in parts] == list(logits[one["index"]])
        assert one["explain"]["logit"] == max(logits[one["index"]])
    table = run("-q", "pets", "-q", "cats", "--explain", "-f", "table", stdin="cats\n", columns=200)
    assert "query 1: " in table.text
    assert "query 2: " in table.text


def test_empty_documents_thresholds_and_raw_scores(run) -> None:
    with Loopback(by_table) as server:
        call = (*ASKED, *COHERE, server.url, "-f", "jsonl")
        empty = run(*call, "--join", "rrf", stdin='{"text":" "}\n{"text":"a"}\n', env=ENV)
        cut = run(*call, "--join", "mean", "--min-score", "0.55", stdin="a\nb\nc\n", env=ENV)
    assert [one["relevance_score"] for one in empty.records] == [0.9, None]
    assert [one["fused_score"] for one in empty.records] == [2 / 61, None]
    assert [one["text"] for one in cut.records] == ["c"]


def test_what_queries_cost_is_known_before(run) -> None:
    call = (*ASKED, "-q", "wifi", "-m", "cohere:rerank-v3.5")
    found = run(*call, "--dry-run", "--json", stdin="a\nb\n").json
    assert (found["requests"], found["documents"], found["units"]) == (2, 4, 2.0)
    with Loopback(by_table) as server:
        refused = run(*ASKED, *COHERE, server.url, "--max-units", "1", stdin="a\nb\n", env=ENV)
        assert not server.seen
    assert (refused.code, refused.out) == (2, b"")
    assert "about 2 search units" in refused.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("-q", " "), "the query is blank"),
        (("--join", "best"), "unknown value `best`"),
        (("--join", "rrf", "--prior-field", "score"), "both make the fused score"),
        (("--query-file", "-"), "exclude each other"),
    ],
)
def test_wrong_options_are_refused(run, more: tuple[str, ...], words: str) -> None:
    found = run(*ASKED, *more, stdin='{"text": "a", "score": 1}\n')
    assert (found.code, found.out) == (2, b"")
    assert words in found.err


def test_a_query_file_is_one_query(run, tmp_path) -> None:
    (tmp_path / "q").write_text("wifi\ninternet\n")
    found = run("--query-file", tmp_path / "q", "--json", stdin="a\n")
    assert "queries" not in found.json["meta"]


def test_requests_may_have_several_queries(run, tmp_path) -> None:
    request = {"query": ["wifi", "internet", "wifi"], "documents": ["a", "b", "c"]}
    rows = [request, {"query": "wifi", "documents": ["c", "b"]}, {"query": ["wifi"], "documents": ["c", "b"]}]
    with Loopback(by_table) as server:
        one = run(*COHERE, server.url, "--json", "--join", "rrf", stdin=json.dumps(request), env=ENV)
        asked = len(server.seen)
        batch = run("batch", *COHERE, server.url, "--join", "rrf", stdin="\n".join(map(json.dumps, rows)), env=ENV)
    assert asked == 2
    assert of_table(one.json["results"]) == [
        (text, score, pytest.approx(fused)) for text, score, fused in JOINED["rrf"]
    ]
    assert batch.code == 0, batch.err
    first, second, third = batch.records
    assert first["results"] == one.json["results"]
    assert of_table(second["results"]) == [("c", 0.6, None), ("b", 0.2, None)], "rrf of one query is its scores"
    assert third["results"] == second["results"]


@pytest.mark.parametrize("query", [[], [""], ["a", " "], [1], 7, {"a": 1}])
def test_wrong_queries_of_a_row_are_reported(run, query: object) -> None:
    found = run("batch", stdin=json.dumps({"query": query, "documents": ["a"]}))
    assert (found.code, found.out) == (6, b"")
    assert "`query`" in found.err


def test_rows_of_a_listwise_model_are_lists_of_their_own(run) -> None:
    """Documents of one query in two rows must not meet in a list, whatever other queries the rows have."""

    def by_size(seen: Seen):
        n = len(seen.body["documents"])
        return as_json({"results": [{"index": i, "relevance_score": 1 / n} for i in range(n)]})

    rows = [(["p", "q"], ["a", "b"]), ("q", ["c", "d", "e"]), (["r", "q"], ["f"])]
    given_rows = "\n".join(json.dumps({"query": query, "documents": documents}) for query, documents in rows)
    with Loopback(by_size) as server:
        call = ("batch", "-m", "jina:jina-reranker-v3", "--retries", "0", "--endpoint", server.url)
        found = run(*call, stdin=given_rows, env=ENV)
        sizes = sorted((seen.body["query"], len(seen.body["documents"])) for seen in server.seen)
    assert found.code == 0, found.err
    assert sizes == [("p", 2), ("q", 1), ("q", 2), ("q", 3), ("r", 1)]
    assert [row["results"][0]["relevance_score"] for row in found.records] == [1 / 2, 1 / 3, 1]


class TableScorer(FreeScorer):
    """A text holds its logit for each query: the query is the place."""

    def score(self, pairs, limits, advance=None):
        super().score(pairs, limits)
        return [Score(float(text.split()[int(query)]), 1) for query, text, _ in pairs]


NUMBERS = st.integers(-3, 3).map(float)


@given(
    st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(NUMBERS, min_size=n, max_size=n), min_size=1, max_size=12)),
    st.sampled_from(["max", "mean", "rrf"]),
    st.none() | st.integers(1, 5),
    st.integers(1, 5),
)
def test_rankings_are_those_of_plain_arithmetic(rows, how, top_n, chunk) -> None:
    queries = tuple(str(place) for place in range(len(rows[0])))
    source = Source("documents", "line")
    documents = [Document(i, b"", " ".join(map(str, row)), source) for i, row in enumerate(rows)]
    chunks = [documents[start : start + chunk] for start in range(0, len(documents), chunk)]
    scorer = TableScorer()
    found = pipeline.rank(queries, chunks, scorer, RankSettings(top_n=top_n, join=how), Report())
    best = [max(row) for row in rows]
    columns = [sorted(range(len(rows)), key=lambda i, q=q: (-rows[i][q], i)) for q in range(len(queries))]
    keys = {
        "max": [(-one,) for one in best],
        "mean": [(-Fraction(sum(map(int, row)), len(row)),) for row in rows],
        "rrf": [(-sum(Fraction(1, 61 + column.index(i)) for column in columns), -best[i]) for i in range(len(rows))],
    }[how]
    wanted = sorted(range(len(rows)), key=lambda i: (*keys[i], i))
    assert [hit.index for hit in found.hits] == wanted[:top_n]
    for hit in found.hits:
        assert hit.score.by_query == tuple(rows[hit.index])
        if how == "rrf":
            assert hit.fused_score == float(-keys[hit.index][0])
    if chunk >= len(rows):
        assert scorer.seen == len({tuple(row) for row in rows}) * len(queries), "each distinct pair once"


def test_python_refuses_what_it_cannot_join() -> None:
    with Reranker() as reranker:
        for wrong in ({"join": "best"}, {"join": None}):
            with pytest.raises(UsageError):
                reranker.rank(["a", "b"], ["x"], **wrong)
        for query in ([], ["a", " "], {"a": 1}):
            with pytest.raises(UsageError):
                reranker.rank(query, ["x"])
