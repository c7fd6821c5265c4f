"""An option that none of the models of a run takes is refused where it is typed, and waits where it is configured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from remote.loopback import Loopback, as_json, cohere
from serve.harness import Program

from rerank_cli import Reranker
from rerank_cli.errors import UsageError
from rerank_cli.options import options_of
from rerank_cli.scorers.model_options import KINDS
from rerank_cli.settings import ModelSettings

COHERE, CHAT = "cohere:rerank-v3.5", "chat:judge-1"
LINE = json.dumps({"query": "tea", "documents": ["tea", "a kettle"]}) + "\n"
KEYS = {"CO_API_KEY": "key-1234567890", "OPENAI_API_KEY": "key-1234567890"}
VALUES = {
    "endpoint": "https://tei.example", "api_key_env": "A_KEY", "api_key_file": "key", "auth_header": "X-Key",
    "client_name": "me", "header": "X-A: b", "extra": "{}", "batch_docs": "5", "concurrency": "2", "timeout": "9",
    "retries": "1", "max_wait": "2", "requests_per_minute": "50", "tokens_per_minute": "5000", "max_units": "9",
    "max_cost": "9", "window_size": "4", "window_step": "2", "passes": "2", "ca_bundle": "ca.pem", "backend": "onnx",
    "device": "cpu", "dtype": "fp32", "threads": "1",
}  # fmt: skip
# Which model is scored, the best local one, the prompt: the model or the provider itself says whether it takes them.
SAID_ELSEWHERE = {"as", "instruction", "template"}
FOR_ANY = {
    "model",
    "fallback",
    "fail_closed",
    "offline",
    "require_revision",
    "trust_remote_code",
    "allow_pickle",
    "dry_run",
}
LOCAL = ["backend", "device", "dtype", "threads"]
CHAT_ONLY = ["window_size", "window_step", "passes"]
REMOTE = [
    *(name for name in VALUES if name not in {*LOCAL, *CHAT_ONLY}),
    "allow_split",
    "native_rank_fields",
    "insecure",
]


def typed(name: str) -> list[str]:
    return [f"--{name.replace('_', '-')}", *([VALUES[name]] if name in VALUES else [])]


def test_each_option_of_models_is_for_a_kind_of_model_or_for_any() -> None:
    decided = set().union(*(kind.options for kind in KINDS))
    assert {one.name for one in options_of(ModelSettings)} == decided | SAID_ELSEWHERE | FOR_ANY
    assert not decided & (SAID_ELSEWHERE | FOR_ANY)
    assert {*LOCAL, *CHAT_ONLY, *REMOTE} == decided


@pytest.mark.parametrize("name", [*REMOTE, *CHAT_ONLY])
def test_options_of_providers_are_refused_with_a_local_model(run, name: str) -> None:
    kind = "a chat model" if name in CHAT_ONLY else "a remote endpoint"
    for argv, stdin in ((("-q", "tea"), "tea\n"), (("batch",), LINE), (("serve",), ""), (("mcp",), "")):
        found = run(*argv, *typed(name), stdin=stdin)
        assert (found.code, found.out) == (2, b"")
        assert f"{typed(name)[0]} belongs to {kind}, and `builtin` is " in found.err


@pytest.mark.parametrize("name", [*LOCAL, *CHAT_ONLY, "native_rank_fields"])
def test_other_options_are_refused_with_a_provider(run, name: str) -> None:
    for argv, stdin in ((("-q", "tea"), "tea\n"), (("batch",), LINE), (("serve",), ""), (("mcp",), "")):
        found = run(*argv, "-m", COHERE, *typed(name), stdin=stdin, env=KEYS)
        assert (found.code, found.out) == (2, b"")
        assert f"{typed(name)[0]} belongs to a " in found.err
        assert f"`{COHERE}` is " in found.err


def test_a_chat_model_takes_its_windows_and_no_batches(run, monkeypatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    reply = as_json({"choices": [{"message": {"content": "[2] > [1]"}, "finish_reason": "stop"}], "usage": {}})
    with Loopback(lambda _seen: reply) as server:
        argv = ("-q", "tea", "-m", CHAT, "--endpoint", server.url)
        windows = [word for name in CHAT_ONLY for word in typed(name)]
        assert run(*argv, *windows, stdin="a\nb\n", env=KEYS).code == 0
        refused = run(*argv, "--batch-docs", "2", stdin="a\nb\n", env=KEYS)
        assert (refused.code, "--batch-docs belongs to a provider that scores documents" in refused.err) == (2, True)
        with Reranker(CHAT, endpoint=server.url, window_size=4, passes=3) as reranker:
            assert reranker.rank("tea", ["a", "b"]).hits[0].index == 1  # turned round three times


@pytest.mark.parametrize("source", ["variable", "file"])
def test_what_is_configured_waits_for_its_model(run, tmp_path: Path, source: str) -> None:
    """The same settings serve a local model, a provider and a chat model."""
    (tmp_path / "key").write_text("key-1234567890")
    names = [name for name in VALUES if name not in {"endpoint", "api_key_file", "ca_bundle", "batch_docs", "max_cost"}]
    env, argv = {}, ()
    if source == "variable":
        env = {f"RERANK_{name.upper()}": VALUES[name] for name in names}
    else:
        numbers = {name: VALUES[name] if VALUES[name].isdigit() else json.dumps(VALUES[name]) for name in names}
        numbers["header"] = '["X-A: b"]'
        (tmp_path / "all.toml").write_text("".join(f"{name} = {value}\n" for name, value in numbers.items()))
        argv = ("--config", tmp_path / "all.toml")
    for command, stdin in ((("-q", "tea"), "tea\n"), (("batch",), LINE)):
        assert run(*command, *argv, stdin=stdin, env=env).code == 0
    with Loopback(cohere) as server:
        found = run("-q", "tea", "-m", COHERE, "--endpoint", server.url, *argv, stdin="tea\n",
                    env=env | {"A_KEY": "key-1234567890"})  # fmt: skip
        assert (found.code, len(server.seen)) == (0, 1), found.err


def test_an_option_that_reaches_a_fallback_is_taken(run) -> None:
    with Loopback(cohere) as server:
        lost = ("-q", "tea", "-m", COHERE, "--endpoint", server.url.replace("127.0.0.1", "127.0.0.2"), "--retries", "0")
        found = run(*lost, "--fallback", "builtin", "--threads", "1", stdin="tea\n", env=KEYS)
        assert found.code == 0, found.err
    for name, code in (("retries", 0), ("max_units", 0), ("endpoint", 2), ("header", 2), ("window_size", 2)):
        found = run("-q", "tea", "--fallback", COHERE, *typed(name), stdin="tea\n", env=KEYS)
        assert found.code == code, (name, found.err)
    found = run("-q", "tea", "-m", COHERE, "--fallback", "passthrough", "--backend", "onnx", stdin="tea\n", env=KEYS)
    assert (found.code, "--backend belongs to a local model" in found.err) == (2, True)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("builtin", {"retries": 1}, "`retries` belongs to a remote endpoint"),
        ("builtin", {"timeout_s": 9.0}, "`timeout_s` belongs to a remote endpoint"),
        ("builtin", {"headers": ("X-A: b",)}, "`headers` belongs to a remote endpoint"),
        ("builtin", {"window_size": 4}, "`window_size` belongs to a chat model"),
        (COHERE, {"passes": 2}, "`passes` belongs to a chat model"),
        (COHERE, {"backend": "torch"}, "`backend` belongs to a local model"),
    ],
)
def test_python_refuses_them_too(monkeypatch, model: str, options: dict, words: str) -> None:
    monkeypatch.setenv("CO_API_KEY", KEYS["CO_API_KEY"])
    with pytest.raises(UsageError, match=words):
        Reranker(model, **options)


def test_python_takes_defaults_and_what_a_fallback_takes(monkeypatch) -> None:
    monkeypatch.setenv("CO_API_KEY", KEYS["CO_API_KEY"])
    Reranker("builtin", timeout_s=60.0, endpoint=None).close()
    Reranker("builtin", fallback=[COHERE], retries=1).close()


def test_a_server_takes_what_one_of_its_models_takes(tmp_path: Path, run) -> None:
    program = Program(tmp_path, "-m", "builtin", "-m", COHERE, "--threads", "1", "--retries", "1", "--cache-path",
                      tmp_path / "scores.db", env=KEYS)  # fmt: skip
    assert program.post("/v2/rerank", query="tea", documents=["tea"], model="builtin").status == 200
    program.close()
    for option in (("--cache-path", tmp_path / "x.db"), ("--cache-mode", "ro"), ("--cache",)):
        found = run("serve", *option)
        assert (found.code, f"{option[0]} is for scores of providers" in found.err) == (2, True)
