"""`--fallback`: another model scores all documents if the first is unusable, whatever makes it so."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM
from remote.loopback import Loopback, Tunnel, as_json, cohere, drip, free_port, hang, in_turn, make_certificate, reset
from remote.scoring import HTML, KEY, results
from test_remote_command import last_wrong

from rerank_cli import Reranker
from rerank_cli.errors import InputError, ModelError, RemoteError, UsageError

DOCS = b"the router is reset by a pin\ncats\nthe office opens at nine\n"
QUERY = ("-q", "reset the router")
COHERE = ("-m", "cohere:rerank-v3.5", "--retries", "1", "--max-wait", "0.02", "--endpoint")
HASTY = ("--timeout", "0.4")  # only where silence is the failure: a busy machine is none
ENV = {"CO_API_KEY": KEY}
# What the server does, and what the warning says of it.
FAILURES = {
    "time-out": (lambda _: hang, "did not answer within 0.4 s"),
    "a byte now and then": (lambda _: drip("body"), "did not answer within 0.4 s"),
    "a header now and then": (lambda _: drip("headers"), "did not answer within 0.4 s"),
    "connection lost": (lambda _: reset, "was lost"),
    "bad request": (lambda _: as_json({"message": "no such field"}, 400), "answered 400 Bad Request: no such field"),
    "wrong key": (lambda _: as_json({"message": f"bad {KEY}"}, 401), "answered 401 Unauthorized: bad ***"),
    "no credit": (lambda _: as_json({}, 402), "answered 402 Payment Required"),
    "forbidden": (lambda _: as_json({}, 403), "answered 403 Forbidden"),
    "no such model": (lambda _: as_json({}, 404), "answered 404 Not Found"),
    "rate limit": (lambda _: as_json({}, 429), "answered 429 Too Many Requests: {} (after 2 attempts)"),
    "rate limit for long": (lambda _: as_json({}, 429, retry_after="3600"), "it asks to wait 3,600 s"),
    "server error": (lambda _: as_json({}, 500), "answered 500 Internal Server Error: {} (after 2 attempts)"),
    "overloaded": (lambda _: as_json({}, 503), "answered 503 Service Unavailable: {} (after 2 attempts)"),
    "not implemented": (lambda _: as_json({}, 501), "answered 501 Not Implemented"),
    "moved": (lambda _: as_json({}, 302, location="https://elsewhere.example/"), "answered 302 Found"),
    "no JSON": (lambda _: (200, {"Content-Type": "application/json"}, b'{"results": ['), "not complete JSON"),
    "broken compression": (
        lambda _: (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, b"{}"), "compressed as its header says",
    ),
    "a web page": (lambda _: HTML, "text/html instead of JSON"),
    "other JSON": (lambda _: as_json({"scores": []}), "results"),
    "too few scores": (lambda _: results((0, 0.5)), "asked for 3 scores and got 1"),
    "one document twice": (lambda _: results((0, 0.5), (0, 0.4), (1, 0.3)), "0"),
    "beyond the end": (lambda _: results((0, 0.5), (1, 0.4), (3, 0.3)), "3"),
    "not a number": (last_wrong("NaN"), "the model gave nan for query"),
    "infinite": (last_wrong("-Infinity"), "the model gave -inf for query"),
    "no score": (last_wrong("null"), "document 2 (0-based) of <stdin>"),
}  # fmt: skip


def alone(run, *more: str, stdin: bytes = DOCS) -> dict:
    """The ranking of the embedded model, as it is without any chain."""
    return run(*QUERY, "-m", "builtin", "--json", *more, stdin=stdin).json


def told(found) -> list[str]:
    """The lines of stderr."""
    return found.err.splitlines()


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_of_an_endpoint_ends_in_the_ranking_of_the_embedded_model(run, name: str) -> None:
    answer, words = FAILURES[name]
    limit = HASTY if "within 0.4 s" in words else ()
    with Loopback(answer) as server:
        found = run(*QUERY, *COHERE, server.url, *limit, "--fallback", "builtin", "--json", stdin=DOCS, env=ENV)
        closed = run(*QUERY, *COHERE, server.url, *limit, "--json", stdin=DOCS, env=ENV)
    assert found.code == 0, found.err
    wanted, meta = alone(run), found.json["meta"]
    assert found.json["results"] == wanted["results"]
    (line,) = told(found)
    assert line.startswith("rerank: warning: `cohere:rerank-v3.5` is unusable, `builtin` takes its place: ")
    assert words in line
    assert KEY not in found.err + found.text
    (failure,) = meta.pop("fallback")
    assert (failure["model"], failure["exit_code"]) == ("cohere:rerank-v3.5", closed.code)
    assert line.endswith(failure["cause"])
    assert meta.pop("usage", None) in (None, {"search_units": 1}), "an answer that is not used is billed, too"
    assert {**meta, "warnings": []} == wanted["meta"], "who scored, and nothing of who failed"
    assert closed.code in {4, 5}
    assert closed.out == b"", "without --fallback a failure is a failure"


def test_a_certificate_that_is_not_trusted_and_a_proxy_that_refuses(run, tmp_path) -> None:
    both, _ = make_certificate(tmp_path, ["localhost"])
    with Loopback(tls=both) as server, Tunnel(1, b"407 Proxy Authentication Required") as proxy:
        for url, more, words in (
            (f"https://localhost:{server.port}", {}, "certificate"),
            ("https://api.example", {"HTTPS_PROXY": proxy.url}, "the proxy refused to connect"),
        ):
            found = run(*QUERY, *COHERE, url, "--fallback", "builtin", "--json", stdin=DOCS, env={**ENV, **more})
            assert (found.code, found.json["results"]) == (0, alone(run)["results"]), found.err
            (line,) = told(found)
            assert words in line
            assert KEY not in line


def test_a_refused_connection_and_a_model_that_is_not_here(run) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    missing = ("-m", "nobody/has-this-one", "--offline")
    for first, code, words in (
        ((*COHERE, nowhere), 5, "cannot connect to"),
        (missing, 4, "nobody/has-this-one"),
        (("-m", "./no-such-folder"), 4, "no-such-folder"),
        (("-m", "cohere:rerank-v3.5"), 2, "no key for cohere: "),  # opening fails, not the request
    ):
        env = ENV if "--endpoint" in first else {}
        assert run(*QUERY, *first, stdin=DOCS, env=env).code == code
        found = run(*QUERY, *first, "--fallback", "builtin", "--json", stdin=DOCS, env=env)
        assert (found.code, found.json["results"]) == (0, alone(run)["results"]), found.err
        (line,) = told(found)
        assert words in line
        assert found.json["meta"]["fallback"][0]["exit_code"] == code


def test_a_model_that_answers_is_not_replaced(run) -> None:
    with Loopback() as server:
        found = run(*QUERY, *COHERE, server.url, "--fallback", "builtin", "--json", stdin=DOCS, env=ENV)
        plain = run(*QUERY, *COHERE, server.url, "--json", stdin=DOCS, env=ENV)
    assert (found.out, found.err) == (plain.out, "")


def test_scores_of_two_models_are_never_mixed(run) -> None:
    """The first request is answered, the second is not: none of the answers counts."""
    many = "".join(f"{word} router\n" for word in ("reset", "sell", "paint", "old", "new")).encode()
    with Loopback(in_turn(cohere, as_json({}, 401))) as server:
        found = run(
            *QUERY, *COHERE, server.url, "--batch-docs", "2", "--concurrency", "1", "--fallback", "builtin", "--json",
            stdin=many, env=ENV,
        )  # fmt: skip
        assert len(server.seen) == 2
    assert found.json["results"] == alone(run, stdin=many)["results"]
    assert found.json["meta"]["usage"] == {"search_units": 1.0}, "what was billed was billed"
    assert "2 of 5 documents were scored" in found.err


@pytest.mark.parametrize("top_n", ["1", "3"])
def test_a_stream_of_many_chunks_keeps_every_document_for_the_next_model(run, top_n: str) -> None:
    lines = [f"line {number} about cats" for number in range(3000)] + ["reset the router"]
    with Loopback(lambda seen: as_json({}, 401)) as server:
        found = run(
            *QUERY, *COHERE, server.url, "--fallback", "builtin", "-n", top_n, "-f", "ids", "--long-documents", "truncate",
            stdin="\n".join(lines), env=ENV,
        )  # fmt: skip
    assert found.lines[0] == "3000"
    assert len(found.lines) == int(top_n)


def test_passthrough_keeps_the_order_without_scores_thresholds_or_boosts(run) -> None:
    records = b'{"text": "b", "lang": "en"}\n{"text": " "}\n{"text": "a", "lang": "de"}\n{"text": "b"}\n'
    with Loopback(lambda _: as_json({}, 401)) as server:
        call = (*QUERY, *COHERE, server.url, "--fallback", "passthrough")
        found = run(*call, "--min-score", "0.5", "--boost", "lang=de:100", "--json", stdin=records, env=ENV)
        cut = run(*call, "-n", "2", "-f", "ids", stdin=DOCS, env=ENV)
        fused = run(
            *call, "--prior-field", "s", "-f", "jsonl", stdin=b'{"text":"a","s":1}\n{"text":"b","s":2}\n', env=ENV
        )
        shown = run(*call, "-f", "table", stdin=DOCS, env=ENV)
        trec = run(*call, "-f", "trec", stdin=DOCS, env=ENV)
    assert found.code == 0, found.err
    assert [(one["index"], one["rank"], one["relevance_score"]) for one in found.json["results"]] == [
        (0, 1, None), (1, 2, None), (2, 3, None), (3, 4, None),
    ]  # fmt: skip
    meta = found.json["meta"]
    assert (meta["model"], meta["score_scale"], meta["documents"], meta["tokens"]) == ("passthrough", "none", 4, 0)
    assert "the documents keep their order" in found.err
    assert "empty" not in found.err
    assert cut.lines == ["0", "1"]
    assert [one["index"] for one in fused.records] == [0, 1]
    assert "fused_score" not in fused.records[0]
    assert [line.split()[0] for line in shown.lines[1:]] == ["1", "2", "3"]
    assert [line.split()[2] for line in trec.lines] == ["0", "1", "2"]


def test_models_are_tried_in_order_and_the_last_error_names_all(run) -> None:
    with Loopback(lambda _: as_json({"message": "first"}, 401)) as server:
        call = (*QUERY, *COHERE, server.url, "--fallback", "nobody/has-this-one", "--offline")
        third = run(*call, "--fallback", "builtin", "--json", stdin=DOCS, env=ENV)
        none = run(*call, stdin=DOCS, env=ENV)
    assert third.json["results"] == alone(run)["results"]
    assert [one["model"] for one in third.json["meta"]["fallback"]] == ["cohere:rerank-v3.5", "nobody/has-this-one"]
    assert len(told(third)) == 2
    assert (none.code, none.out) == (4, b"")
    assert "nobody/has-this-one" in none.err
    assert "before it failed `cohere:rerank-v3.5`: " in none.err


def test_usage_errors_and_input_errors_do_not_fall_back(run) -> None:
    long = "word " * 5000
    with Loopback() as server:
        units = run(*QUERY, *COHERE, server.url, "--max-units", "0", "--fallback", "builtin", stdin=DOCS, env=ENV)
        assert not server.seen
    assert (units.code, units.out) == (2, b"")
    too_long = run(*QUERY, "--long-documents", "error", "--fallback", "passthrough", stdin=long)
    assert (too_long.code, too_long.out) == (3, b"")
    assert run(*QUERY, "no-such-file.txt", "--fallback", "passthrough").code == 3
    assert run(*QUERY, "-m", "nothing", "--fallback", "passthrough", stdin=DOCS).code == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--fallback", "bulitin"), "unknown model `bulitin`\nhint: did you mean `builtin`?"),
        (("--fallback", "choere:x"), "choere"),
        (("--fallback", "passthrough", "--fallback", "builtin"), "passthrough never fails"),
        (("--fallback", "azure:x"), "needs --endpoint"),
        (("--fallback", "builtin", "--fail-closed"), "exclude each other"),
        (("--fallback", "jina:x", "--max-units", "5", "-m", "cohere:rerank-v3.5"), "jina bills tokens"),
    ],
)
def test_a_chain_that_could_not_work_is_refused_before_anything_fails(run, more: tuple[str, ...], words: str) -> None:
    found = run(*QUERY, *more, stdin=DOCS)
    assert (found.code, found.out) == (2, b"")
    assert words in found.err


def test_what_was_said_of_the_first_endpoint_does_not_reach_another(run) -> None:
    """Neither its address, nor its key, nor its headers: the fallback is another provider's server."""
    second_key = "sk-of-the-second-0123"
    with Loopback(lambda _: as_json({}, 401)) as first, Loopback() as second:
        named = (
            f'[endpoints.second]\nprovider = "cohere-v2"\nmodel = "m"\nurl = "{second.url}"\napi_key_env = "SECOND"\n'
        )
        found = run(
            *QUERY, *COHERE, first.url, "--header", "X-Team: search", "--extra", '{"priority": 1}',
            "--api-key-env", "FIRST", "--fallback", "second", "--config", write(named), "--json",
            stdin=DOCS, env={"FIRST": KEY, "SECOND": second_key},
        )  # fmt: skip
        assert found.code == 0, found.err
        assert len(first.seen) == 1
        (seen,) = second.seen
    assert seen.headers["authorization"] == f"Bearer {second_key}"
    assert "x-team" not in seen.headers
    assert "priority" not in seen.body
    assert found.json["meta"]["model"] == "cohere-v2:m"


def write(text: str) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml", delete=False) as file:
        file.write(text)
    return file.name


def test_the_cache_keeps_the_scores_of_each_model_apart(run, tmp_path) -> None:
    cache = ("--cache", "--cache-path", str(tmp_path / "cache"))
    failing = in_turn(as_json({}, 401), cohere, as_json({}, 401))
    with Loopback(failing) as server:
        call = (*QUERY, *COHERE, server.url, "--fallback", "builtin", *cache, "--json")
        fell, scored, again = (run(*call, stdin=DOCS, env=ENV) for _ in range(3))
        more = run(*call, stdin=DOCS + b"one more\n", env=ENV)
        assert len(server.seen) == 3
    models = [found.json["meta"]["model"] for found in (fell, scored, again, more)]
    assert models == ["builtin", "cohere-v2:rerank-v3.5", "cohere-v2:rerank-v3.5", "builtin"]
    assert fell.json["results"] == alone(run)["results"]
    assert again.json["results"] == scored.json["results"], "from the cache, and the provider's own"
    assert more.json["results"] == alone(run, stdin=DOCS + b"one more\n")["results"]


def test_a_configured_fallback_is_switched_off(run, user) -> None:
    user.write_text('fallback = ["builtin"]\n')
    with Loopback(lambda _: as_json({}, 401)) as server:
        call = (*QUERY, *COHERE, server.url)
        assert run(*call, stdin=DOCS, env=ENV).code == 0
        assert run(*call, "--fail-closed", stdin=DOCS, env=ENV).code == 5
        assert run(*call, stdin=DOCS, env={**ENV, "RERANK_FAIL_CLOSED": "1"}).code == 5
        both = run(*call, "--fallback", "passthrough", "--json", stdin=DOCS, env={**ENV, "RERANK_FAIL_CLOSED": "1"})
        listed = run(
            *call, "--json", stdin=DOCS, env={**ENV, "RERANK_FALLBACK": "nobody/x\npassthrough", "RERANK_OFFLINE": ""}
        )
    assert both.json["meta"]["model"] == "passthrough"
    assert listed.code == 0


def test_a_dry_run_reports_the_chain(run) -> None:
    call = (*QUERY, "-m", "cohere:rerank-v3.5", "--dry-run")
    chain = ("--fallback", "jina:jina-reranker-v2-base-multilingual", "--fallback", "builtin")
    found = run(*call, *chain, "--json", stdin=DOCS)
    assert found.code == 0, found.err
    jina, builtin = found.json["fallback"]
    assert (jina["model"], jina["requests"], jina["unit"]) == ("jina:jina-reranker-v2-base-multilingual", 1, "tokens")
    assert builtin == {"model": "builtin"}
    text = run(*call, *chain, "-f", "lines", stdin=DOCS)
    assert text.lines[-1] == "fallback: builtin"
    assert "fallback" not in run(*call, "--json", stdin=DOCS).json
    assert run(*call, "--fallback", "bulitin", stdin=DOCS).code == 2


def test_ctrl_c_does_not_fall_back(env: dict[str, str]) -> None:
    with Loopback(lambda _: hang) as server:
        argv = [*PROGRAM, *QUERY, "-m", "cohere:rerank-v3.5", "--endpoint", server.url, "--fallback", "builtin"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running = subprocess.Popen(argv, env=env | ENV, **pipes)
        assert running.stdin
        running.stdin.write(DOCS)
        running.stdin.close()
        running.stdin = None
        while not server.seen:
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b"")
    assert b"unusable" not in err


def test_python(free_port_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", KEY)
    texts = DOCS.decode().splitlines()
    where = {"endpoint": free_port_url, "retries": 0}
    with Reranker() as plain, Reranker("cohere:rerank-v3.5", fallback=["builtin"], **where) as chain:
        wanted, found = plain.rank("reset the router", texts), chain.rank("reset the router", texts)
        assert found.hits == wanted.hits
        assert [one["model"] for one in found.meta.fallback] == ["cohere:rerank-v3.5"]
        assert len(found.meta.warnings) == 1
        assert chain.score("reset the router", texts) == plain.score("reset the router", texts)
        assert "takes its place" in chain.report.warnings()[0]
        with pytest.raises(InputError):
            chain.rank("q", [{"no": "text"}])
    with pytest.raises(RemoteError), Reranker("cohere:rerank-v3.5", **where) as closed:
        closed.rank("q", texts)
    with pytest.raises(ModelError, match="before it failed"):
        Reranker("cohere:rerank-v3.5", fallback=["./no-such-folder"], **where).rank("q", texts)
    for wrong in ("builtin", ["bulitin"]):
        with pytest.raises(UsageError):
            Reranker("cohere:rerank-v3.5", fallback=wrong, **where)


@pytest.fixture
def free_port_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def test_what_is_not_a_mapping_of_json_stays_readable(run) -> None:
    """A cause on several lines stays on one, in the warning and in `meta`."""
    with Loopback(lambda _: as_json({"message": "one\nrerank: error: two"}, 403)) as server:
        found = run(*QUERY, *COHERE, server.url, "--fallback", "builtin", "--json", stdin=DOCS, env=ENV)
    assert len(told(found)) == 1
    assert "\n" not in json.loads(found.out)["meta"]["fallback"][0]["cause"]
