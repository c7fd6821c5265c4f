"""`rerank` with a remote model: exit codes, messages, dry runs, and no key in any output."""

from __future__ import annotations

import json
import re

import pytest
from remote.loopback import Loopback, as_json, cohere, hang, reset
from remote.scoring import HTML, KEY, results

DOCS = b"the router is reset by a pin\ncats\nthe office opens at nine\n"
COMMAND = {
    "html": (lambda _s: HTML, 5, r"the reply is text/html instead of JSON.*\nhint: this URL is a web page"),
    "401": (lambda _s: as_json({"message": f"bad {KEY}"}, 401), 5, r"401 Unauthorized: bad \*\*\*.*\nhint: check the key"),
    "429": (lambda _s: as_json({}, 429), 5, r"429 Too Many Requests.*\nhint: lower --concurrency"),
    "stall": (lambda _s: hang, 5, r"did not answer within 0\.3 s.*\nhint: .*--timeout"),
    "fewer": (lambda _s: results((0, 0.5)), 5, r"asked for 3 scores and got 1.*\nhint: .*top_n"),
    "reset": (lambda _s: reset, 5, r"the connection to http://127.* was lost"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMAND)
def test_the_command_exits_with_5_and_a_clear_message(run, name):
    answer, code, words = COMMAND[name]
    with Loopback(answer) as server:
        done = run(
            "-q", "reset the router", "-m", "cohere:rerank-v3.5", "--endpoint", server.url,
            "--timeout", "0.3", "--retries", "0", stdin=DOCS, env={"CO_API_KEY": KEY},
        )  # fmt: skip
    assert (done.code, done.out) == (code, b"")
    assert re.search(r"rerank: error: .*" + words, done.err)
    assert KEY not in done.err


def last_wrong(value):
    """The right reply, but the last document of a query that says so gets `value` as its score (raw JSON)."""

    def answer(seen):
        status, headers, body = cohere(seen)
        if "router" not in seen.body["query"] or "nine" not in seen.body["documents"][-1]:
            return status, headers, body
        payload = json.loads(body)
        for item in payload["results"]:
            if item["index"] == len(seen.body["documents"]) - 1:
                item["relevance_score"] = "SCORE"
        return status, headers, json.dumps(payload).replace('"SCORE"', value).encode()

    return answer


WRONG = {
    "nan": ("NaN", 4),
    "infinite": ("-Infinity", 4),
    "huge": ("1" + "0" * 400, 4),
    "null": ("null", 5),
    "text": ('"1"', 5),
}
NAMED = {
    "lines": (DOCS, "2 (0-based) of <stdin>"),
    "repeats": (b"cats\ncats\n\nthe office opens at nine\n", "2 (0-based) of <stdin>"),
    "ids": (b'{"id": "a", "text": "cats"}\n{"id": "b", "text": " "}\n{"id": "c", "text": "at nine"}\n', "'c'"),
}


@pytest.mark.parametrize("documents", NAMED)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("batch_docs", ["1", "2"])
def test_a_bad_score_is_reported_with_its_query_and_document(run, wrong, documents, batch_docs):
    (value, code), (stdin, name) = WRONG[wrong], NAMED[documents]
    call = ("-q", "reset the router", "-m", "cohere:rerank-v3.5", "--batch-docs", batch_docs, "--concurrency", "1")
    for more in ((), ("--cache",)):
        with Loopback(last_wrong(value)) as server:
            done = run(*call, "--endpoint", server.url, *more, stdin=stdin, env={"CO_API_KEY": KEY})
        assert (done.code, done.out) == (code, b""), done.err
        assert "query 'reset the router'" in done.err
        assert f"document {name}\n" in done.err


@pytest.mark.parametrize("wrong", WRONG)
def test_a_bad_score_of_a_batch_is_reported_with_its_row(run, wrong):
    value, code = WRONG[wrong]
    rows = [
        {"id": f"r{i}", "query": f"{q} {i}", "documents": ["cats", "at nine"]}
        for i, q in enumerate(["cat", "router", "nine"])
    ]
    with Loopback(last_wrong(value)) as server:
        done = run("batch", "-m", "cohere:rerank-v3.5", "--endpoint", server.url, "--concurrency", "1",
                   stdin="".join(json.dumps(row) + "\n" for row in rows), env={"CO_API_KEY": KEY})  # fmt: skip
    assert done.code == (6 if code == 4 else 5), done.err  # no number: the row fails, the others are ranked
    assert "query 'router 1'" in done.err
    assert re.search(r"document 1 \(0-based\) of ", done.err)
    assert len(done.records) == (2 if code == 4 else 0)


def test_an_invalid_token_count_is_ignored(run):
    def answer(seen):
        return as_json([{"index": 0, "score": 0.5}], x_compute_tokens="\xb2")

    with Loopback(answer) as server:
        done = run("-q", "a", "-m", "tei:", "--endpoint", server.url, "--json", stdin=b"x\n")
    assert done.code == 0, done.err
    assert not done.json["meta"].get("usage")


def test_the_command_refuses_a_key_over_plain_http(run):
    done = run("-q", "q", "-m", "tei:", "--endpoint", "http://tei.example", stdin=DOCS, env={"TEI_API_KEY": KEY})
    assert (done.code, done.out) == (2, b"")
    assert "a key is not sent over plain http to tei.example" in done.err
    assert KEY not in done.err


def test_the_command_ranks_over_a_provider(run):
    with Loopback() as server:
        done = run(
            "-q", "reset the router", "-m", "cohere:rerank-v3.5", "--endpoint", server.url, "--json",
            stdin=DOCS, env={"CO_API_KEY": KEY},
        )  # fmt: skip
    assert done.code == 0, done.err
    assert [r["index"] for r in done.json["results"]] == [0, 2, 1]
    assert done.json["meta"]["usage"] == {"search_units": 1}
    assert json.dumps(done.json).find(KEY) < 0


def test_the_command_offline_calls_this_machine_only(run):
    for how in (("--offline",), ()):
        env = {"CO_API_KEY": KEY} | ({} if how else {"RERANK_OFFLINE": "1"})
        done = run("-q", "q", "-m", "cohere:x", *how, stdin=DOCS, env=env)
        assert (done.code, done.out) == (2, b"")
        assert "--offline: cohere is on the network, at api.cohere.com\nhint: " in done.err
    with Loopback() as server:
        assert run("-q", "q", "-m", "cohere:x", "--offline", "--endpoint", server.url, stdin=DOCS).code == 0


def test_a_key_in_the_url_is_not_shown(run):
    quoted = KEY.replace("-", "%2D")

    def answer(seen):
        return as_json({"message": f"denied: {seen.path} for {KEY}"}, 401)

    with Loopback(answer) as server:
        done = run("-q", "q", "-m", "tei:", "--endpoint", f"{server.url}?api_key={quoted}&v=2", "-v", stdin=DOCS)
    assert server.seen[0].path == f"/rerank?api_key={quoted}&v=2"
    assert "denied: /rerank?api_key=***&v=2 for ***" in done.err
    assert done.code == 5


@pytest.mark.parametrize(
    "option", [("--api-key-env", KEY), ("--header", f"X-Foo: @env:{KEY}"), ("--header", f"X-Foo: Bearer {KEY}")]
)
def test_a_key_in_the_wrong_place_is_not_repeated(run, option):
    done = run("-q", "q", "-m", "cohere:x", *option, stdin=DOCS)
    assert (done.code, done.out) == (2, b"")
    assert "hint: " in done.err
    assert KEY not in done.err


def test_a_dry_run_writes_text_or_json(run, tmp_path):
    call = ("-q", "q", "-m", "cohere:rerank-v3.5", "--dry-run")
    plain = run(*call, stdin=DOCS)
    assert plain.lines[:4] == ["provider: cohere-v2", "model: rerank-v3.5", "requests: 1", "documents: 3"]
    file, named = tmp_path / "estimate.txt", tmp_path / "estimate.json"
    assert (run(*call, "-o", file, stdin=DOCS).out, file.read_text()) == (b"", plain.text)
    told = run(*call, "--json", stdin=DOCS).json
    assert (told["units"], told["dry_run"], told["refused"]) == (1, True, None)
    run(*call, "-o", named, stdin=DOCS)
    assert json.loads(named.read_text()) == run(*call, "-f", "json", stdin=DOCS).json == told
    refused = run(*call, "-f", "trec", stdin=DOCS)
    assert (refused.code, refused.err) == (
        2,
        "rerank: error: --dry-run writes no trec\nhint: it writes lines, or an object with --json\n",
    )


def test_a_dry_run_prints_the_cost_or_how_to_get_it(run, tmp_path):
    """The hint is followed: the same run with the price prints an amount without an exponent."""
    call = ("-q", "q", "-m", "jina:m", "--dry-run")
    unknown = run(*call, stdin=DOCS)
    assert "cost:" not in unknown.text
    (line,) = re.findall(
        r'price of one token under \[prices\] in the user.s configuration file: (".+" = \S+)', unknown.err
    )
    prices = tmp_path / "prices.toml"
    prices.write_text(f"[prices]\n{line}\n")
    priced = run(*call, "--config", prices, "--json", stdin=DOCS).json
    assert priced["cost"] == pytest.approx(priced["units"] * 0.0000002)
    lines = run(*call, "--config", prices, stdin=DOCS).lines
    assert f"units: {int(priced['units'])}" in lines
    assert f"cost: {priced['cost']:.7f} (in the currency of [prices])" in lines
    assert "the cost is not known" not in run(*call, "--config", prices, stdin=DOCS).err


def test_a_dry_run_says_that_max_units_would_stop_the_run(run):
    call = ("-q", "q", "-m", "cohere:rerank-v3.5", "--dry-run", "--max-units")
    done = run(*call, "0", stdin=DOCS)
    assert done.code == 0
    assert "without --dry-run this is refused: this would use about 1 search units, more than --max-units 0" in done.err
    assert "--max-units 0" in run(*call, "0", "--json", stdin=DOCS).json["refused"]
    assert "refused" not in run(*call, "1", stdin=DOCS).err


REFUSED = {
    "an instruction that the provider does not take": ("-m", "jina:m", "--instruction", "x"),
    "an instruction that the model does not follow": ("-m", "voyage:rerank-2", "--instruction", "x"),
    "units of a provider that bills tokens": ("-m", "voyage:rerank-3", "--max-units", "9"),
    "a stage that needs probabilities": ("-m", "cohere:x", "--cutoff", "auto"),
    "no model": ("-m", "cohere:"),
    "no endpoint": ("-m", "azure:x"),
    "a member of the request in --extra": ("-m", "cohere:x", "--extra", '{"query": "x"}'),
    "--extra that is not JSON": ("-m", "cohere:x", "--extra", "{"),
    "a key over plain http": ("-m", "cohere:x", "--endpoint", "http://example.com/v2/rerank"),
    "an endpoint that is not a URL": ("-m", "tei:", "--endpoint", "nowhere"),
    "a header without a value": ("-m", "cohere:x", "--header", "X"),
    "a secret in a header": ("-m", "cohere:x", "--header", "Authorization: Bearer abc"),
    "a name that is not a variable": ("-m", "cohere:x", "--api-key-env", "a b"),
    "a key file that is not there": ("-m", "cohere:x", "--api-key-file", "/nonexistent/key"),
    "authorities that are not there": ("-m", "cohere:x", "--ca-bundle", "/nonexistent/ca.pem"),
    "offline": ("-m", "cohere:x", "--offline"),
    "too many documents per request": ("-m", "cohere:x", "--batch-docs", "99999"),
    "a cache path without a cache": ("-m", "cohere:x", "--cache-path", "x.db"),
    "judgements that are not there": ("-m", "cohere:x", "--qrels", "/nonexistent.qrels"),
    "a listwise model that would be split": ("-m", "voyage:rerank-2.5", "--batch-docs", "1"),
    "a client name on two lines": ("-m", "cohere:x", "--client-name", "a\nb"),
}  # fmt: skip


@pytest.mark.parametrize("argv", REFUSED.values(), ids=REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses(run, argv):
    env = {
        "CO_API_KEY": KEY,
        "JINA_API_KEY": KEY,
        "VOYAGE_API_KEY": KEY,
        "AZURE_AI_API_KEY": KEY,
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    real = run("-q", "q", *argv, "--retries", "0", stdin=DOCS, env=env)
    dry = run("-q", "q", *argv, "--retries", "0", "--dry-run", stdin=DOCS, env=env)
    if real.code == 5:  # it was sent
        assert dry.code == 0
        return
    assert (dry.code, dry.out, dry.err) == (real.code, b"", real.err)


@pytest.mark.parametrize("argv", [(), ("--api-key-env", "MY_KEY"), ("--header", "X-Key: @env:MY_KEY")])
def test_a_dry_run_needs_no_key(run, argv):
    assert run("-q", "q", "-m", "cohere:rerank-v3.5", "--dry-run", *argv, stdin=DOCS).code == 0
