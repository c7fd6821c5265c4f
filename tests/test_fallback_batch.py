"""`rerank batch --fallback`: each row is ranked by one model and says by which; a model that stays away is left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from remote.loopback import Loopback, Seen, as_json, cohere, pointwise
from remote.scoring import KEY
from test_fallback import DOCS, FAILURES, HASTY

from rerank_cli.batch import scoring

BLOCK_ROWS = 16
ENV = {"CO_API_KEY": KEY}
COHERE = ("-m", "cohere:rerank-v3.5", "--retries", "0", "--concurrency", "1", "--endpoint")
MODEL = "cohere-v2:rerank-v3.5"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows show the same."""
    monkeypatch.setattr(scoring, "BLOCK_ROWS", BLOCK_ROWS)


def rows(count: int, *, poison: frozenset[int] = frozenset()) -> str:
    lines = (
        {"id": f"r{n}", "query": f"reset router {n}", "documents": ["poison" if n in poison else "a router", "cats"]}
        for n in range(count)
    )
    return "".join(json.dumps(line) + "\n" for line in lines)


def by_model(found) -> dict[str, list[str]]:
    """The rows of each model."""
    models: dict[str, list[str]] = {}
    for row in found.records:
        models.setdefault(row["meta"]["model"], []).append(row["id"])
    return models


def picky(seen: Seen):
    """Refuses one text, and says NaN to another query."""
    if "poison" in seen.body["documents"]:
        return as_json({"message": "unsupported content"}, 400)
    if seen.body["query"].endswith(" 3"):
        status, headers, body = cohere(seen)
        return status, headers, body.replace(b'"relevance_score": 0.', b'"relevance_score": NaN, "x": 0.')
    return cohere(seen)


@pytest.mark.parametrize("strict", [(), ("--strict",)])
def test_a_row_that_the_first_model_cannot_rank_is_ranked_by_the_next(run, strict: tuple[str, ...]) -> None:
    given = rows(5, poison=frozenset({1}))
    with Loopback(picky) as server:
        found = run("batch", *COHERE, server.url, "--fallback", "builtin", *strict, stdin=given, env=ENV)
    assert found.code == 0, found.err
    assert by_model(found) == {MODEL: ["r0", "r2", "r4"], "builtin": ["r1", "r3"]}
    own = {row["id"]: row for row in run("batch", stdin=given).records}
    for row in found.records:
        if row["meta"]["model"] == "builtin":
            assert row["results"] == own[row["id"]]["results"]
        else:
            assert row["meta"] == {"model": MODEL}
            assert {one["relevance_score"] for one in row["results"]} == {
                pointwise(f"reset router {row['id'][1:]}", text) for text in ("a router", "cats")
            }
    causes = {row["id"]: row["meta"]["fallback"][0] for row in found.records if "fallback" in row["meta"]}
    assert "unsupported content" in causes["r1"]["cause"]
    assert "the model gave nan for query 'reset router 3'" in causes["r3"]["cause"]
    assert (causes["r1"]["exit_code"], causes["r3"]["exit_code"]) == (5, 4)
    assert found.err.count("is unusable, `builtin` takes its place") == 1, "one warning, whatever the number of rows"
    assert "5 rows, 2 by a fallback, " in found.err


@pytest.mark.parametrize("name", FAILURES)
def test_rows_of_an_endpoint_that_fails_are_ranked_by_the_next_model(run, name: str) -> None:
    answer, words = FAILURES[name]
    limit = HASTY if "within 0.4 s" in words else ()
    row = json.dumps({"id": "r", "query": "reset the router", "documents": DOCS.decode().splitlines()}) + "\n"
    with Loopback(answer) as server:
        found = run("batch", *COHERE, server.url, *limit, "--fallback", "builtin", stdin=row, env=ENV)
    assert found.code == 0, found.err
    (response,) = found.records
    (own,) = run("batch", stdin=row).records
    assert (response["meta"]["model"], response["results"]) == ("builtin", own["results"])
    assert response["meta"]["fallback"][0]["model"] == "cohere:rerank-v3.5"
    assert found.err.count("is unusable, `builtin` takes its place") == 1
    assert KEY not in found.err + found.text


def test_bad_rows_stay_bad(run, tmp_path: Path) -> None:
    given = rows(1) + '{"query": "no documents"}\n' + rows(2)
    with Loopback(lambda _: as_json({}, 401)) as server:
        call = ("batch", *COHERE, server.url, "--fallback", "builtin")
        found = run(*call, "--errors", tmp_path / "errors", stdin=given, env=ENV)
        strict = run(*call, "--strict", stdin=given, env=ENV)
    assert (found.code, strict.code) == (6, 6)
    assert (len(found.records), len(strict.records)) == (3, 1)
    assert json.loads((tmp_path / "errors").read_text())["exit_code"] == 3


def test_an_endpoint_that_fails_three_times_in_a_row_is_not_asked_again(run, tmp_path: Path) -> None:
    given, blocks = rows(5 * BLOCK_ROWS), 5
    with Loopback(lambda _: as_json({"message": "bad key"}, 401)) as server:
        found = run(
            "batch", *COHERE, server.url, "--fallback", "passthrough", "--summary", tmp_path / "s.json",
            stdin=given, env=ENV,
        )  # fmt: skip
        assert len(server.seen) == 3 < blocks
    assert found.code == 0, found.err
    assert list(by_model(found)) == ["passthrough"]
    assert all("bad key" in row["meta"]["fallback"][0]["cause"] for row in found.records)
    assert all([one["index"] for one in row["results"]] == [0, 1] for row in found.records)
    assert found.err.count("takes its place") + found.err.count("keep their order") == 1
    assert "note: `cohere:rerank-v3.5` is not tried any more in this run" in found.err
    assert json.loads((tmp_path / "s.json").read_text())["fallback"] == 5 * BLOCK_ROWS


def test_an_endpoint_that_comes_back_is_used_again(run) -> None:
    def answer(seen: Seen):
        """Down for the second and fourth block of rows only."""
        block = int(seen.body["query"].split()[-1]) // BLOCK_ROWS
        return as_json({}, 500) if block in {1, 3} else cohere(seen)

    with Loopback(answer) as server:
        found = run("batch", *COHERE, server.url, "--fallback", "passthrough", stdin=rows(5 * BLOCK_ROWS), env=ENV)
    assert found.code == 0, found.err
    sizes = {model: len(ids) for model, ids in by_model(found).items()}
    assert sizes == {MODEL: 3 * BLOCK_ROWS, "passthrough": 2 * BLOCK_ROWS}
    assert "not tried any more" not in found.err


def test_resume_goes_on_whoever_scored_before(run, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(rows(2 * BLOCK_ROWS))

    def breaks(seen: Seen):
        return cohere(seen) if int(seen.body["query"].split()[-1]) < BLOCK_ROWS else as_json({}, 401)

    call = ("batch", source, "-o", target, *COHERE)
    chain = ("--fallback", "./missing")
    with Loopback(breaks) as server:
        stopped = run(*call, server.url, *chain, env=ENV)
        other = run(*call, server.url, "--fallback", "builtin", "--resume", env=ENV)
        where = server.url
        server.answer = cohere
        found = run(*call, where, *chain, "--resume", env=ENV)
    assert stopped.code == 4
    assert "before it failed `cohere:rerank-v3.5`" in stopped.err
    assert other.code == 2, "another chain is another run"
    assert "the model" in other.err
    assert found.code == 0, found.err
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["id"] for row in written] == [f"r{n}" for n in range(2 * BLOCK_ROWS)]
    assert {row["meta"]["model"] for row in written} == {MODEL}


def test_every_format_and_the_thresholds_of_each_model(run, tmp_path: Path) -> None:
    given = rows(3, poison=frozenset({1}))
    with Loopback(picky) as server:
        call = ("batch", *COHERE, server.url, "--fallback", "passthrough")
        records = run(*call, "-f", "rows", stdin=given, env=ENV).records
        nested = run(*call, "-f", "rows", "--result-key", "r", stdin=given, env=ENV).records
        trec = run(*call, "-f", "trec", stdin=given, env=ENV).lines
        cut = run(*call, "--min-score", "cohere=0.5,default=9", stdin=given, env=ENV).records
    assert [(one["query_id"], one["model"]) for one in records] == [
        ("r0", MODEL), ("r0", MODEL), ("r1", "passthrough"), ("r1", "passthrough"), ("r2", MODEL), ("r2", MODEL),
    ]  # fmt: skip
    assert nested[2] == {
        "text": "poison",
        "query_id": "r1",
        "model": "passthrough",
        "r": {"index": 0, "rank": 1, "relevance_score": None},
    }
    assert [line.split()[::2][:2] for line in trec[2:4]] == [["r1", "0"], ["r1", "1"]]
    kept = {row["id"]: len(row["results"]) for row in cut}
    wanted = {
        name: sum(pointwise(f"reset router {name[1:]}", text) >= 0.5 for text in ("a router", "cats"))
        for name in ("r0", "r2")
    }
    assert kept == {**wanted, "r1": 2}, "no threshold where nothing is scored"


def test_without_a_chain_nothing_is_added(run) -> None:
    with Loopback() as server:
        found = run("batch", *COHERE, server.url, stdin=rows(1), env=ENV)
        failed = run("batch", *COHERE, server.url, stdin=rows(1), env={})
    assert list(found.records[0]) == ["id", "results"]
    assert failed.code == 0, "a key is not needed on loopback"
