"""Rate limits hold in every minute; estimates, usage and --max-units agree with what is sent."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback, cohere
from remote.scoring import ENV, open_at, score

from rerank_cli.errors import UsageError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.cost import estimate
from rerank_cli.scorers.remote.rate_limiter import RateLimiter
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_requests_per_minute():
    clock = Clock()
    pace = RateLimiter(3, None, clock)
    assert [pace.reserve(1) for _ in range(7)] == [0, 0, 0, 60, 60, 60, 120]
    clock.now += 130
    assert pace.reserve(1) == 0  # three left at 1060, one at 1120


def test_tokens_per_minute():
    clock = Clock()
    pace = RateLimiter(None, 100, clock)
    assert pace.reserve(60) == 0
    assert pace.reserve(40) == 0
    assert pace.reserve(1) == 60
    assert pace.reserve(500) == 120  # too big for any minute: alone
    assert RateLimiter(None, None, clock).reserve(10**9) == 0


def test_a_pause_delays_every_request():
    clock = Clock()
    pace = RateLimiter(None, None, clock)
    pace.hold(5)
    pace.hold(2)
    assert pace.reserve(1) == 5
    clock.now += 6
    assert pace.reserve(1) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 20)), max_size=60), st.integers(1, 5), st.integers(50, 100))
def test_no_minute_exceeds_its_limits(steps, requests, tokens):
    clock = Clock()
    pace = RateLimiter(requests, tokens, clock)
    left = []
    for used, passed in steps:
        clock.now += passed
        left.append((clock.now + pace.reserve(used), used))
    for at, _ in left:
        inside = [used for when, used in left if at - 59.999 < when <= at]
        assert len(inside) <= requests
        assert sum(inside) <= tokens


def test_an_estimate_needs_no_key_and_sends_nothing():
    pairs = [Pair("q" * 80, "x" * 1200 + str(i)) for i in range(250)] + [Pair("q" * 80, "  ")]
    model = ModelSettings(remote=RemoteSettings(prices={"cohere:rerank-v3.5": 0.002}))
    found = estimate("cohere:rerank-v3.5", pairs, model)
    assert (found.requests, found.documents, found.unit, found.units) == (1, 250, "search_units", 3)
    assert found.cost == pytest.approx(0.006)
    assert found.tokens == sum(20 + -(-len(p.text) // 4) for p in pairs[:-1])
    tokens = estimate("jina:m", pairs, ModelSettings(remote=RemoteSettings(prices={"jina": 2e-8})))
    assert (tokens.unit, tokens.units, tokens.cost) == ("tokens", found.tokens, pytest.approx(found.tokens * 2e-8))
    assert estimate("tei:", pairs, model).units is None
    assert estimate("tei:", pairs, model).requests == 8
    assert estimate("cohere:rerank-v5.0-pro", pairs, model).unit == "tokens"
    assert estimate("litellm:cohere/rerank-v3.5", pairs, model).units == 3
    assert estimate("litellm:local/bge", pairs, model).units is None
    assert "500 tokens assumed" in "".join(estimate("cohere:rerank-v4.0-pro", pairs, model).notes)


def test_max_units_refuses_before_anything_is_sent():
    pairs = [Pair("q", f"t{i}") for i in range(250)]
    with Loopback() as server:
        with pytest.raises(UsageError, match="about 3 search units, more than --max-units 2"):
            score(server.url, pairs, max_units=2)
        with pytest.raises(UsageError, match="jina bills tokens"):
            score(server.url, pairs, "jina:m", max_units=2)
        assert not server.seen
        scorer = open_at(server.url, max_units=5)
        scorer.score(pairs, Limits())
        with pytest.raises(UsageError, match="3 search units besides 3 already used"):
            scorer.score(pairs, Limits())
        scorer.close()
    assert scorer.usage() == {"search_units": 3}


def test_units_missing_from_a_reply_are_estimated_for_max_units():
    def silent(seen):
        status, headers, body = cohere(seen)
        return status, headers, orjson.dumps({"results": orjson.loads(body)["results"]})

    with Loopback(silent) as server:
        scorer = open_at(server.url, max_units=5)
        pairs = [Pair("q", f"t{i}") for i in range(250)]
        scorer.score(pairs, Limits())
        with pytest.raises(UsageError, match="3 search units besides 3 already used"):
            scorer.score(pairs, Limits())
        assert scorer.usage() == {}
        scorer.close()


def test_usage_sums_over_requests():
    with Loopback() as server:
        scorer = open_at(server.url, batch_docs=10, concurrency=3)
        scorer.score([Pair("q", f"t{i}") for i in range(95)], Limits())
        scorer.close()
    assert scorer.usage() == {"search_units": 10}


def test_the_digest_covers_what_changes_a_score_and_no_key():
    def digest(reference="cohere:m", url="https://a.example", env=ENV, **remote):
        model = ModelSettings(remote=RemoteSettings(endpoint=url, **remote))
        scorer = open_remote(reference, model, env, Report())
        scorer.close()
        return scorer.info.digest

    same = digest()
    assert digest(env={"CO_API_KEY": "other"}) == same
    assert digest(batch_docs=7, concurrency=1) == same
    assert (
        len({same, digest("cohere:n"), digest("cohere-v1:m"), digest(url="https://b.example"), digest(extra='{"a":1}')})
        == 5
    )


@pytest.mark.parametrize(("model", "cost"), [("chat:judge-1", 0.0), ("cohere:rerank-v3.5", 0.002)])
def test_the_hint_about_a_missing_price_works(run, tmp_path, model: str, cost: float) -> None:
    argv = ["-q", "x", "-m", model, "--dry-run", "--json", "--max-cost", "1"]
    refused = run(*argv, stdin="a\n")
    assert refused.code == 2
    (tmp_path / "p.toml").write_text(
        "[prices]\n" + refused.err.rpartition("configuration file: ")[2].partition("  #")[0]
    )
    result = run(*argv, "--config", tmp_path / "p.toml", stdin="a\n")
    assert result.code == 0
    assert result.json["cost"] == pytest.approx(cost, abs=0.001)


@pytest.mark.parametrize("model", ["tei:", "vllm:BAAI/bge-reranker-v2-m3"])
def test_a_cost_limit_is_refused_where_nothing_is_billed(run, model: str) -> None:
    result = run("-q", "x", "-m", model, "--dry-run", "--max-cost", "1", stdin="a\n")
    assert result.code == 2
    assert f"--max-cost: {model.rstrip(':')} bills nothing that is known" in result.err


def test_a_cost_limit_holds_for_other_providers_too(run, tmp_path) -> None:
    (tmp_path / "p.toml").write_text('[prices]\n"cohere:rerank-v3.5" = 0.002\n')
    argv = ["-q", "x", "-m", "cohere:rerank-v3.5", "--config", tmp_path / "p.toml", "--json"]
    with Loopback() as server:
        env = {"CO_API_KEY": "k-0123456789"}
        assert run(*argv, "--endpoint", server.url, "--max-cost", "0.002", stdin="a\nb\n", env=env).code == 0
        refused = run(*argv, "--endpoint", server.url, "--max-cost", "0.001", stdin="a\nb\n", env=env)
    assert refused.code == 2
    assert "this would cost about 0.002, more than --max-cost 0.001" in refused.err
    assert len(server.seen) == 1
