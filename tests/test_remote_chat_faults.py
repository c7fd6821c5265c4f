"""`-m chat:` where something goes wrong: what is said, counted, cached and paid; endpoints as servers have them."""

from __future__ import annotations

import json
import re

import pytest
from remote.loopback import Loopback, as_json, cohere
from serve.harness import Program

from rerank_cli.scorers.remote.target import open_target
from rerank_cli.settings import ModelSettings, RemoteSettings

KEY = "sk-very-secret-0123456789"
ENV = {"OPENAI_API_KEY": KEY}
PASSAGE = re.compile(r"^\[\d+\] (.*)$", re.MULTILINE)
PRICES = '[prices]\n"chat:m" = 0.000001\n"chat:m:output" = 0.00001\n"cohere:rerank-v3.5" = 0.002\n'


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    return str(file)


def reply(content, finish="stop", usage=(100, 20)):
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    return as_json({"choices": [choice], "usage": counted})


def perfect(seen):
    """The passages by the last number in each, highest first."""
    numbers = [int(re.findall(r"\d+", text)[-1]) for text in PASSAGE.findall(seen.body["messages"][-1]["content"])]
    best = sorted(range(len(numbers)), key=lambda place: -numbers[place])
    return reply(" > ".join(f"[{place + 1}]" for place in best))


def ask(run, url, *more, count=3, env=ENV, model="chat:m"):
    documents = "".join(f"document {number}\n" for number in range(count))
    return run("-q", "q", "-m", model, "--endpoint", url, "--json", *more, stdin=documents, env=env)


def order(done):
    assert done.code == 0, done.err
    return [row["index"] for row in done.json["results"]]


REPAIRED = {
    "drops": ("[3] > [1]", {"missing_identifiers": 1}),
    "repeats": ("[3] > [3] > [1] > [2]", {"repeated_identifiers": 1}),
    "invents": ("[3] > [4] > [1] > [2] > [99]", {"unknown_identifiers": 2}),
    "all of it": ("[3] > [3] > [4]", {"repeated_identifiers": 1, "unknown_identifiers": 1, "missing_identifiers": 2}),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_every_repair_is_counted_in_the_usage(run, name):
    content, counters = REPAIRED[name]
    with Loopback(lambda _seen: reply(content)) as server:
        done = ask(run, server.url)
    assert order(done) == [2, 0, 1]
    usage = done.json["meta"]["usage"]
    assert {key: value for key, value in usage.items() if key.endswith("identifiers")} == counters
    assert usage["repaired_replies"] == 1
    assert len(done.json["meta"]["warnings"]) == done.err.count("complete order") == 1


def test_repairs_of_many_windows_are_one_warning(run):
    with Loopback(lambda _seen: reply("[2] > [2]")) as server:
        done = ask(run, server.url, "--window-size", "4", count=20)
    usage = done.json["meta"]["usage"]
    assert (usage["repaired_replies"], usage["repeated_identifiers"], usage["missing_identifiers"]) == (9, 9, 27)
    assert sorted(order(done)) == list(range(20))
    assert len(done.json["meta"]["warnings"]) == 1


def test_a_window_without_an_order_keeps_it_and_is_counted(run):
    """By hand: 4 5 6 7 stay, then 1 2 3 4 become 4 3 2 1, then 0 4 become 4 0."""
    with Loopback(lambda seen: reply("No.") if "document 7" in str(seen.body) else perfect(seen)) as server:
        done = ask(run, server.url, "--window-size", "4", "--window-step", "3", count=8)
    assert order(done) == [4, 0, 3, 2, 1, 5, 6, 7]
    assert done.json["meta"]["usage"]["replies_without_order"] == 1
    assert len(done.json["meta"]["warnings"]) == 1


def test_the_step_is_half_of_the_window_unless_it_is_given(run):
    """By hand: the last four of 0 1 2 3 4 5 become 5 4 3 2, then the first four of 0 1 5 4 3 2 become 5 4 1 0."""
    with Loopback(perfect) as server:
        assert order(ask(run, server.url, "--window-size", "4", count=6)) == [5, 4, 1, 0, 3, 2]
        assert len(server.seen) == 2
    refused = ask(run, server.url, "--window-size", "5", "--window-step", "7")
    assert (refused.code, refused.out) == (2, b"")
    assert "--window-step 7 is not smaller than --window-size 5" in refused.err


def test_a_row_without_an_order_fails_alone(run):
    rows = "".join(
        json.dumps({"id": name, "query": name, "documents": ["document 1", "document 2"]}) + "\n"
        for name in ("first", "poison", "third")
    )
    with Loopback(lambda seen: reply("I refuse.") if "poison" in str(seen.body) else perfect(seen)) as server:
        done = run("batch", "-m", "chat:m", "--endpoint", server.url, stdin=rows, env=ENV)
    assert done.code == 6
    assert [row["id"] for row in done.records] == ["first", "third"]
    assert "no reply holds an order" in done.err


HINTS = {
    "an error in a 200": (as_json({"error": {"message": f"upstream {KEY}"}}), r"no `choices`: upstream \*\*\*"),
    "another API": (as_json({"results": []}), r"no `choices`\n?.*\nhint: does --endpoint name a chat API"),
    "its own temperature": (
        as_json({"error": {"message": "Unsupported value: 'temperature' does not support 0 with this model."}}, 400),
        r"hint: .*--extra '\{\"temperature\": 1\}'",
    ),
    "a small context": (
        as_json({"error": {"message": "This model's maximum context length is 8192 tokens."}}, 400),
        r"hint: .*--window-size or --max-tokens-per-doc",
    ),
    "a large body": (as_json({}, 413), r"413 .*\nhint: .*--window-size or --max-tokens-per-doc"),
}  # fmt: skip


@pytest.mark.parametrize("name", HINTS)
def test_a_failure_says_which_option_helps(run, name):
    answer, words = HINTS[name]
    with Loopback(lambda _seen: answer) as server:
        done = ask(run, server.url, "--retries", "0")
    assert (done.code, done.out, len(server.seen)) == (5, b"", 1)
    assert re.search(words, done.err), done.err
    assert KEY not in done.err


def test_a_reply_that_was_cut_says_which_option_helps(run):
    with Loopback(lambda _seen: reply("[3] > [1", finish="length")) as server:
        done = ask(run, server.url)
    assert order(done) == [2, 0, 1]
    assert "--extra '{\"max_completion_tokens\": 4000}'" in done.err


def test_parts_of_a_text_are_joined_and_odd_ones_ignored(run):
    parts = [{"type": "text", "text": "[3] > [1]"}, {"type": "image"}, "x", {"type": "text", "text": "> [2]"}]
    with Loopback(lambda _seen: reply(parts)) as server:
        done = ask(run, server.url)
    assert order(done) == [2, 0, 1]
    assert done.json["meta"]["warnings"] == []


def test_the_cache_keeps_no_order_that_is_not_the_model_s(run, tmp_path):
    """The first window's reply has no order; the next run asks for all of it again, and the one after it for nothing."""
    cache = ("--cache", "--cache-path", str(tmp_path / "scores"), "--window-size", "2", "--retries", "0")
    with Loopback(lambda seen: reply("hm") if seen.number == 1 else perfect(seen)) as server:
        assert order(ask(run, server.url, *cache)) == [1, 0, 2]
        assert order(ask(run, server.url, *cache)) == [2, 0, 1]
        assert len(server.seen) == 4
        assert order(ask(run, server.url, *cache)) == [2, 0, 1]
        assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("https://h.example", "/v1/chat/completions"),
        ("http://localhost:11434", "/v1/chat/completions"),
        ("https://h.example/v1", "/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", "/api/v1/chat/completions"),
        ("https://openrouter.ai/api", "/api/v1/chat/completions"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "/v1beta/openai/chat/completions"),
        ("https://open.bigmodel.cn/api/paas/v4", "/api/paas/v4/chat/completions"),
        ("https://h.example/inference/chat/completions", "/inference/chat/completions"),
        ("https://h.example/v1/chat", "/v1/chat/completions"),
        ("https://h.example/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_an_endpoint_may_be_any_base_of_the_api(endpoint, path):
    settings = ModelSettings(remote=RemoteSettings(endpoint=endpoint))
    assert open_target("chat:vendor/model:free", settings, ENV).url.partition("//")[2].partition("/")[2] == path[1:]


def test_a_dry_run_splits_tokens_into_input_and_output(run, config):
    found = ask(run, "http://localhost:1", "--config", config, "--dry-run", count=50).json
    assert found["requests"] == 4
    assert found["input_tokens"] + found["output_tokens"] == found["tokens"]
    assert found["output_tokens"] == 80 * 5  # four windows of 20 identifiers
    assert found["cost"] == pytest.approx((found["input_tokens"] + 10 * found["output_tokens"]) / 1e6)
    assert "reasoning model" in " ".join(found["notes"])


def test_queries_at_a_time_cannot_exceed_the_limit_together(run, config):
    """Each request is expected to cost 0.0003 and costs 0.0103: after the four that are sent at once nothing is left."""
    rows = "".join(json.dumps({"query": f"q{n}", "documents": ["1", "2"]}) + "\n" for n in range(20))
    with Loopback(lambda _seen: reply("[2] > [1]", usage=(300, 1000))) as server:
        server.latency_s = 0.05
        done = run(
            "batch", "-m", "chat:m", "--endpoint", server.url, "--config", config, "--max-cost", "0.007",
            "--concurrency", "4", stdin=rows, env=ENV,
        )  # fmt: skip
    assert done.code == 2
    assert "more than --max-cost 0.007" in done.err
    assert len(server.seen) <= 4


def test_what_is_being_sent_counts_before_it_is_billed(tmp_path, config):
    """A limit of two requests' cost, and eight requests to a server at once: two are sent."""
    import threading

    with Loopback(cohere) as provider:
        provider.latency_s = 0.3
        program = Program(
            tmp_path, "-m", "cohere:rerank-v3.5", "--endpoint", provider.url, "--config", config, "--max-cost", "0.004",
            "--no-cache", env={"CO_API_KEY": KEY},
        )  # fmt: skip
        statuses = []
        threads = [
            threading.Thread(
                target=lambda: statuses.append(program.post("/v2/rerank", query="q", documents=["a"]).status)
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        program.close()
    assert sorted(statuses) == [200, 200, *[402] * 6]
    assert len(provider.seen) == 2


@pytest.mark.parametrize("command", [("-q", "q"), ("-q", "q", "--dry-run"), ("serve", "--port", "0")])
def test_a_limit_without_a_price_is_refused_at_the_start(run, config, command):
    done = run(*command, "-m", "chat:other", "--config", config, "--max-cost", "1", stdin="a\nb\n", env=ENV)
    assert (done.code, done.out) == (2, b"")
    assert "--max-cost needs the price of chat:other" in done.err


def test_a_limit_without_the_price_of_a_fallback_is_refused_at_the_start(run, config):
    with Loopback(perfect) as server:
        done = ask(run, server.url, "--config", config, "--max-cost", "1", "--fallback", "chat:other")
    assert (done.code, done.out, server.seen) == (2, b"", [])
    assert "--max-cost needs the price of chat:other" in done.err


def test_one_limit_holds_for_several_providers(tmp_path, config):
    """Cohere's request costs 0.002, the chat model's 0.0003; both together must stay within 0.0025."""
    with Loopback(lambda seen: perfect(seen) if "messages" in seen.body else cohere(seen)) as provider:
        named = f"""[endpoints.judge]\nprovider = "chat"\nurl = "{provider.url}"\nmodel = "m"\n
[endpoints.search]\nprovider = "cohere"\nurl = "{provider.url}"\nmodel = "rerank-v3.5"\n"""
        (tmp_path / "both.toml").write_text(PRICES + named)
        program = Program(
            tmp_path, "-m", "judge", "-m", "search", "--config", str(tmp_path / "both.toml"), "--max-cost", "0.0025",
            "--no-cache", env=ENV | {"CO_API_KEY": KEY},
        )  # fmt: skip
        statuses = [
            program.post("/v2/rerank", query="q", documents=["1", "2"], model=model).status
            for model in ("judge", "search", "judge", "search")
        ]
        program.close()
    assert statuses == [200, 200, 402, 402]
