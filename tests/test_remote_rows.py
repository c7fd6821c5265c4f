"""Every row of the table: faults in its replies, and options that a dry run takes or refuses as the run does."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote.loopback import DOCUMENTED, Loopback, as_json, in_turn
from remote.scoring import HTML

from rerank_cli.errors import RemoteError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.cost import estimate
from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.remote.wire import encode, get, put
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

ROWS = load_table().rows
SCORING = [name for name, row in ROWS.items() if row.kind != "order"]  # chat: its replies are in test_remote_chat.py
KEY = "sk-rows-0123456789"
ENV = {
    "AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": KEY,
    "GOOGLE_CLOUD_PROJECT": "my-project", "CLOUDFLARE_ACCOUNT_ID": "my-account",
}  # fmt: skip
PAIRS = [Pair("q", text) for text in ("a", "b", "c")]


def env_of(name: str) -> dict[str, str]:
    return ENV | dict.fromkeys(ROWS[name].keys[:1], KEY)


def model_of(name: str) -> str:
    fact = DOCUMENTED[name]
    return fact.get("model") or get(fact["request"], ROWS[name].model or "model") or "some-model"


def open_at(url: str, name: str, report: Report | None = None, **remote: object):
    if not ROWS[name].keys:
        pytest.importorskip("botocore")
    settings = ModelSettings(remote=RemoteSettings(endpoint=url, **{"retries": 0, "max_wait_s": 0.05, **remote}))
    return open_remote(f"{name}:{model_of(name)}", settings, env_of(name), report or Report())


def with_results(name: str, change) -> object:
    """The documented reply with its results changed."""
    reply = json.loads(json.dumps(DOCUMENTED[name]["response"]))
    results = change(get(reply, ROWS[name].results))
    if not ROWS[name].results:
        return results
    put(reply, ROWS[name].results, results)
    return reply


def first_score(name: str, value: object):
    """Results whose first score is something else."""
    if ROWS[name].index_kind == "position":
        return lambda results: [value, *results[1:]]
    return lambda results: [{**results[0], ROWS[name].score: value}, *results[1:]]


def with_index(name: str, value: object):
    """Results whose first index is something else; where there is none, one result more."""
    if ROWS[name].index_kind == "position":
        return lambda results: [*results, 0.5]
    return lambda results: [{**results[0], ROWS[name].index: value}, *results[1:]]


def leaf(form, value, wanted: str):
    """What stands in a value where a form has a placeholder."""
    if isinstance(form, str) and wanted in form:
        before, after = form.split(wanted)
        return value.removeprefix(before).removesuffix(after)
    parts = zip(form.values(), value.values(), strict=True) if isinstance(form, dict) else zip(form, value, strict=True)
    return next((found for part, of in parts if not isinstance(part, str) or wanted in part
                 if (found := leaf(part, of, wanted)) is not None), None)  # fmt: skip


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ["{text}", "{index}", "{query}", "{model}", "TEXT", '"}', "\\"]
)


@given(query=ANY_TEXT, texts=st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_query_and_documents_are_sent_as_they_are(query, texts):
    for row in (ROWS[name] for name in SCORING):
        body = json.loads(encode(row, {}, query, texts))
        asked = get(body, row.query)
        assert [leaf(row.query_form, one, "{query}") for one in (asked if row.query_per_document else [asked])] == (
            [query] * (len(texts) if row.query_per_document else 1)
        )
        documents = get(body, row.docs)
        assert [leaf(row.doc_form, one, "{text}") for one in documents] == texts
        if "{index}" in str(row.doc_form):
            assert [leaf(row.doc_form, one, "{index}") for one in documents] == [str(i) for i in range(len(texts))]


@pytest.mark.parametrize("name", SCORING)
def test_no_fault_in_a_reply_becomes_a_ranking(name):
    text = ROWS[name].index_kind == "text"
    faults = {
        "a document is missing": (lambda results: results[1:], "asked for 3 scores and got 2"),
        "a document twice": (lambda results: [*results, results[0]], "twice|only 3 documents"),
        "an unknown document": (with_index(name, "7" if text else 7), "only 3 documents"),
        "an index that is none": (with_index(name, "x"), "a string|only 3 documents"),
        "a score that is text": (first_score(name, "0.9"), "a string instead of a number"),
        "no score": (first_score(name, None), "null or missing"),
        "nothing": (lambda _results: [], "asked for 3 scores and got 0"),
        "no results": (lambda _results: {"error": "later"}, "the reply has no"),
    }
    replies = [as_json(with_results(name, change)) for change, _ in faults.values()]
    broken = (200, {"Content-Type": "application/json"}, b'{"results": [')
    others = [(HTML, "instead of JSON"), (broken, "not complete JSON"), (as_json(DOCUMENTED[name]["response"]), None)]
    wanted = [*(words for _, words in faults.values()), *(words for _, words in others)]
    answers = in_turn(*replies, *(reply for reply, _ in others))
    with Loopback(answers) as server, closing(open_at(server.url, name)) as scorer:
        for words in wanted:
            if words is None:
                assert [score.value for score in scorer.score(PAIRS, Limits())] == DOCUMENTED[name]["scores"]
                continue
            with pytest.raises(RemoteError, match=words) as caught:
                scorer.score(PAIRS, Limits())
            assert KEY not in str(caught.value)


@pytest.mark.parametrize("name", ROWS)
def test_errors_say_what_the_provider_said_and_busy_servers_are_asked_again(name):
    error: dict[str, object] = {}
    put(error, ROWS[name].error[0], "this model is not served here")
    busy = as_json({"message": "slow down"}, 429, retry_after="0")
    answers = in_turn(as_json(error, 404), busy, as_json(DOCUMENTED[name]["response"]))
    with Loopback(answers) as server, closing(open_at(server.url, name, retries=1)) as scorer:
        with pytest.raises(RemoteError, match="answered 404 Not Found: this model is not served here"):
            scorer.score(PAIRS, Limits())
        assert [score.value for score in scorer.score(PAIRS, Limits())] == DOCUMENTED[name]["scores"]
    assert len(server.seen) == 3


def test_errors_of_cloudflare_are_a_list():
    told = {"success": False, "result": None, "errors": [{"code": 10000, "message": "Authentication error"}]}
    with (
        Loopback(lambda _seen: as_json(told, 401)) as server,
        closing(open_at(server.url, "cloudflare")) as scorer,
        pytest.raises(RemoteError, match="401 Unauthorized: Authentication error"),
    ):
        scorer.score(PAIRS, Limits())


@pytest.mark.parametrize("name", SCORING)
def test_a_price_makes_a_cost_where_the_unit_can_be_estimated(name):
    row = ROWS[name]
    model = ModelSettings(remote=RemoteSettings(prices={name: 0.5}))
    found = estimate(f"{name}:{model_of(name)}", PAIRS, model)
    assert found.unit == row.billed_in(model_of(name))
    if found.unit in {"search_units", "queries"}:
        assert (found.units, found.cost) == (1, 0.5)
    elif found.unit == "tokens":
        assert found.cost == found.tokens * 0.5 > 0
    else:
        assert found.cost is None


@pytest.mark.parametrize(
    ("reference", "unit"),
    [
        ("cohere:rerank-v4.0-pro", "search_units"),
        ("cohere:rerank-v5.0-pro", "tokens"),
        ("cohere-v1:rerank-v5.0-fast", "tokens"),
        ("azure-foundry:Cohere-rerank-v5-fast", "tokens"),
        ("openrouter:cohere/rerank-5-fast", "tokens"),
        ("openrouter:cohere/rerank-v3.5", "search_units"),
        ("openrouter:other/model", None),
        ("vercel:voyage/rerank-2.5", "tokens"),
        ("litellm:cohere/rerank-v5.0-pro", "tokens"),
        ("litellm:my-reranker", None),
        ("bedrock:cohere.rerank-v3-5:0", "search_units"),
        ("vertex:", "queries"),
    ],
)
def test_the_unit_depends_on_the_model(reference, unit):
    name, _, model = reference.partition(":")
    assert load_table().find(name).billed_in(model) == unit


def test_google_counts_queries_of_100_documents():
    pairs = [Pair("q", f"t{i}") for i in range(450)]
    found = estimate("vertex:", pairs, ModelSettings())
    assert (found.requests, found.units) == (3, 5)  # 200 + 200 + 50 documents


def calls_of(name: str) -> dict[str, tuple[str, ...]]:
    """Option sets by what is tried; nothing listens on the endpoint."""
    row, at = ROWS[name], ("--endpoint", "http://127.0.0.1:9")
    model = ("-m", f"{name}:{model_of(name)}")
    return {
        "nothing": (*model, *at),
        "an instruction": (*model, *at, "--instruction", "x"),
        "rank fields": (*model, *at, "--rank-fields", "a,b"),
        "rank fields of its own": (*model, *at, "--rank-fields", "a,b", "--native-rank-fields"),
        "rank fields that are nowhere": (*model, *at, "--rank-fields", "nowhere"),
        "longer documents": (*model, *at, "--max-tokens-per-doc", "9000"),
        "chunks": (*model, *at, "--max-chunks-per-doc", "3"),
        "too many documents": (*model, *at, "--batch-docs", "99999"),
        "no model": ("-m", f"{name}:", *at),
        **({"no endpoint": model} if "{" in row.base and not row.variables else {}),
        "plain http": (*model, "--endpoint", "http://example.com"),
        "offline": (*model, "--endpoint", "https://example.com", "--offline"),
        "an extra member": (*model, *at, "--extra", '{"priority": 1}'),
        "an extra member that is taken": (*model, *at, "--extra", json.dumps({row.docs.partition(".")[0]: 1})),
        "units": (*model, *at, "--max-units", "9"),
        "a cut-off": (*model, *at, "--cutoff", "auto"),
        "highlights": (*model, *at, "--highlight", "1"),
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_dry_run_refuses_exactly_what_the_run_refuses(run, name):
    if not ROWS[name].keys:
        pytest.importorskip("botocore")
    docs = '{"a": "one", "b": "two", "text": "three"}\n{"a": "four", "b": "five", "text": "six"}\n'
    refused = []
    for what, argv in calls_of(name).items():
        call = ("-q", "q", "--retries", "0", *argv)
        real = run(*call, stdin=docs, env=env_of(name))
        dry = run(*call, "--dry-run", stdin=docs, env=env_of(name))
        if real.code == 5:  # it was sent
            assert dry.code == 0, (what, dry.err)
        else:
            refused.append(what)
            assert (dry.code, dry.out, dry.err) == (real.code, b"", real.err), what
        assert KEY not in dry.err + dry.text
    row, model = ROWS[name], model_of(name)
    facts = {
        "an instruction": row.follows_instruction(model),
        "too many documents": row.hard_docs is None and row.kind != "order",  # windows, no batches
        "no model": not row.model_required or row.model_default is not None,
        "units": row.billed_in(model) == "search_units",
    }
    assert {what for what, taken in facts.items() if not taken} <= set(refused)
    assert not {what for what, taken in facts.items() if taken} & set(refused)
    always = {"rank fields that are nowhere", "plain http", "offline", "an extra member that is taken", "a cut-off"}
    assert always <= set(refused)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.key_required])
def test_a_key_that_is_missing_stops_the_run_and_not_the_dry_run(run, name):
    base = ROWS[name].base
    at = ("--endpoint", "https://example.com") if "{" in base and not ROWS[name].variables else ()
    call = ("-q", "q", "-m", f"{name}:{model_of(name)}", *at)
    real = run(*call, stdin="a\n", env=ENV)
    assert (real.code, real.out) == (2, b"")
    assert f"`{ROWS[name].keys[0]}` is unset" in real.err
    dry = run(*call, "--dry-run", stdin="a\n", env=ENV)
    assert dry.code == 0
    assert f"without --dry-run a key is needed: the environment variable `{ROWS[name].keys[0]}` is unset" in dry.err
