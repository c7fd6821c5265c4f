"""Every provider has a valid entry, and its documented request and response are sent and understood."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from remote.loopback import DOCUMENTED, Loopback, as_json

from rerank_cli.errors import ConfigError, ModelError, RemoteError, UsageError
from rerank_cli.records import Pair
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.keys import find_key
from rerank_cli.scorers.remote.providers import TABLE, load_table
from rerank_cli.scorers.remote.target import choose, open_target
from rerank_cli.scorers.remote.url import build_url, values_of
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

HERE = Path(__file__).parent
ROWS = load_table().rows
# The example of each provider: its scores in document order.
QUERY = "how do I reset the router?"
TEXTS = [
    "Hold the recessed pin for ten seconds.",
    "The office opens at nine.",
    "Routers forward packets between networks.",
]

VARIABLES = {"AWS_REGION": "us-west-2", "GOOGLE_CLOUD_PROJECT": "my-project", "CLOUDFLARE_ACCOUNT_ID": "my-account"}
TEXT, FLAG, COUNT = (str,), (bool,), (int,)
MAYBE_TEXT, MAYBE_COUNT = (str, type(None)), (int, type(None))
SCHEMA = {
    "title": TEXT, "aliases": list, "when": list, "base": TEXT, "path": TEXT, "url_rule": {"overlap", "azure", "chat"},
    "auth": list, "headers": dict, "keys": list, "key_required": FLAG, "key_hosts": dict,
    "model": MAYBE_TEXT, "model_required": FLAG, "model_default": MAYBE_TEXT, "model_paths": dict,
    "query": TEXT, "docs": TEXT, "doc": (str, dict), "top": MAYBE_TEXT, "fixed": dict,
    "results": TEXT, "index": TEXT, "score": TEXT, "kind": {"unit", "logit", "model", "upstream", "order"},
    "usage": MAYBE_TEXT, "error": list,
    "max_tokens": MAYBE_TEXT, "max_chunks": MAYBE_TEXT, "instruction": MAYBE_TEXT, "rank_fields": MAYBE_TEXT,
    "native_by_default": FLAG,
    "max_docs": COUNT, "hard_docs": MAYBE_COUNT, "max_body": MAYBE_COUNT, "request_tokens": MAYBE_COUNT,
    "requests_per_minute": MAYBE_COUNT, "tokens_per_minute": MAYBE_COUNT,
    "billing": {"search_units", "tokens", "rerank_units", "queries", None},
}  # fmt: skip
# Columns that a row may leave out.
OPTIONAL = {
    "variables": dict, "example": TEXT, "signer": list, "model_form": TEXT, "query_form": (str, list, dict), "query_per_document": FLAG,
    "instruction_form": TEXT, "instruction_models": TEXT, "index_kind": {"number", "text", "position"},
    "billing_models": dict, "own_models": TEXT,
}  # fmt: skip


def settings(**remote: object) -> ModelSettings:
    return ModelSettings(remote=RemoteSettings(**remote))


@pytest.mark.parametrize("name", ROWS)
def test_each_provider_has_the_columns_of_the_schema_and_no_others(name):
    row = json.loads(TABLE.read_text())["rows"][name]
    assert set(SCHEMA) <= set(row) <= set(SCHEMA | OPTIONAL)
    for column, rule in (SCHEMA | {name: OPTIONAL[name] for name in OPTIONAL if name in row}).items():
        if isinstance(rule, set):
            assert row[column] in rule, column
        else:
            assert type(row[column]) in (rule if isinstance(rule, tuple) else (rule,)), column
    assert row["base"].startswith(("https://", "http://localhost:"))
    assert row["path"].startswith("/")
    assert len(row["auth"]) == 2
    assert "{key}" in row["auth"][1]
    assert row["keys"] or row["signer"]
    assert not (row["key_required"] and "signer" in row)
    assert isinstance(row["doc"], dict) or row["doc"] in {"str", "text"}
    assert all(key.isupper() for key in row["keys"])
    assert row["max_docs"] > 0
    assert row["hard_docs"] is None or row["hard_docs"] >= row["max_docs"]
    assert not any(value is None for value in row["fixed"].values())


def test_every_provider_is_documented_and_no_alias_hides_one():
    assert set(DOCUMENTED) == set(ROWS)
    assert not {alias for row in ROWS.values() for alias in row.aliases} & set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_documented_request_is_sent_and_the_documented_response_is_understood(name):
    row, fact = ROWS[name], DOCUMENTED[name]
    if not row.keys:
        pytest.importorskip("botocore")
    model = fact.get("model") or fact["request"].get("model", "my-reranker" if name == "elasticsearch" else "")
    with Loopback(lambda _seen: as_json(fact["response"], x_compute_tokens="53")) as server:
        base = server.url + (row.path.removesuffix("/v2/rerank") if name == "azure-foundry" else "")
        reference = f"{name}:" if name == "azure-serverless" else f"{name}:{model}"
        env = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s-1234", **VARIABLES}
        scorer = open_remote(reference, settings(endpoint=base), env | dict.fromkeys(row.keys[:1], "k-1234"), Report())
        scores = scorer.score([Pair(QUERY, text) for text in TEXTS], Limits())
        scorer.close()
    [seen] = server.seen
    assert seen.body == fact["request"]
    nvidia = "nvidia/llama-3_2-nv-rerankqa-1b-v2"
    in_path = model.replace(":", "%3A")
    assert seen.path == fact["path"].replace("{model_path}", nvidia).replace("{model}", in_path)
    header = "api-key" if name == "pinecone" else "authorization"
    values = {"pinecone": "k-1234", "elasticsearch": "ApiKey k-1234", "baseten": "Api-Key k-1234"}
    if name == "bedrock":
        assert seen.headers[header].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    else:
        assert seen.headers[header] == values.get(name, "Bearer k-1234")
    if name == "pinecone":
        assert seen.headers["x-pinecone-api-version"] == "2026-04"
    assert [score.value for score in scores] == fact["scores"]
    assert scorer.usage() == fact["usage"]
    scales = dict.fromkeys(("llamacpp", "nvidia-nim", "nvidia-hosted"), "logit") | {"chat": "rank"}
    assert scorer.info.scale == scales.get(name, "vendor")


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if "{" not in row.base or row.variables])
def test_without_endpoint_the_documented_url_is_used(name):
    row = ROWS[name]
    url = build_url(choose(f"{name}:some-model", RemoteSettings()), values=values_of(row, VARIABLES))
    wanted = row.base + row.path
    for placeholder in ("{model_path}", "{model_name}", "{model}"):
        wanted = wanted.replace(placeholder, "some-model")
    for placeholder, value in (("region", "us-west-2"), ("project", "my-project"), ("account", "my-account")):
        wanted = wanted.replace(f"{{{placeholder}}}", value)
    assert url == wanted


@pytest.mark.parametrize(
    ("reference", "endpoint", "url"),
    [
        # Azure
        ("azure:m", "https://d.eastus.models.ai.azure.com", "https://d.eastus.models.ai.azure.com/v2/rerank"),
        ("azure:m", "https://d.eastus.models.ai.azure.com/", "https://d.eastus.models.ai.azure.com/v2/rerank"),
        ("azure:m", "https://d.eastus.models.ai.azure.com/v1", "https://d.eastus.models.ai.azure.com/v1/rerank"),
        ("azure:m", "https://d.eastus.inference.ai.azure.com/v1/rerank", "https://d.eastus.inference.ai.azure.com/v1/rerank"),
        ("azure:m", "https://r.services.ai.azure.com", "https://r.services.ai.azure.com/providers/cohere/v2/rerank"),
        ("azure:m", "https://r.services.ai.azure.com/providers/cohere", "https://r.services.ai.azure.com/providers/cohere/v2/rerank"),
        ("azure:m", "https://x.azure-api.net/a/providers/cohere/v2/rerank", "https://x.azure-api.net/a/providers/cohere/v2/rerank"),
        ("azure:m", "https://x.azure-api.net/a", "https://x.azure-api.net/a/v2/rerank"),
        # everybody else: what is there is kept, what is missing is added
        ("cohere:m", "https://gw.example/v2", "https://gw.example/v2/rerank"),
        ("cohere:m", "https://gw.example/v1", "https://gw.example/v1/rerank"),
        ("cohere:m", "https://gw.example/cohere/v2/rerank", "https://gw.example/cohere/v2/rerank"),
        ("cohere:m", "https://gw.example/api/", "https://gw.example/api/v2/rerank"),
        ("jina:m", "https://gw.example/v1?api-version=3", "https://gw.example/v1/rerank?api-version=3"),
        ("tei:", "http://tei:8080", "http://tei:8080/rerank"),
        ("tei:", "http://tei:8080/rerank/", "http://tei:8080/rerank"),
        ("infinity:m", "http://inf:7997/v1", "http://inf:7997/v1/rerank"),
        ("mixedbread:m", "https://gw.example/v1", "https://gw.example/v1/reranking"),
        ("dashscope-compat:m", "https://gw.example/compatible-api", "https://gw.example/compatible-api/v1/reranks"),
        ("elasticsearch:e5", "https://es:9200", "https://es:9200/_inference/rerank/e5"),
        ("elasticsearch:e5", "https://es:9200/_inference/rerank", "https://es:9200/_inference/rerank/e5"),
        ("nvidia:nv-rerank-qa-mistral-4b:1", None, "https://ai.api.nvidia.com/v1/retrieval/nvidia/reranking"),
        # langchain-nvidia-ai-endpoints 1.5.0, _statics.py
        *((f"nvidia:nvidia/{name}", None, f"https://ai.api.nvidia.com/v1/retrieval/nvidia/{path}/reranking") for name, path in (
            ("llama-3.2-nv-rerankqa-1b-v2", "llama-3_2-nv-rerankqa-1b-v2"),
            ("llama-nemotron-rerank-1b-v2", "llama-nemotron-rerank-1b-v2"),
            ("llama-nemotron-rerank-vl-1b-v2", "llama-nemotron-rerank-vl-1b-v2"),
        )),
    ],
)  # fmt: skip
def test_endpoints_are_completed_to_rerank_urls(reference, endpoint, url):
    assert build_url(choose(reference, RemoteSettings(endpoint=endpoint))) == url


def test_azure_picks_its_row_by_the_host():
    assert choose("azure:m", RemoteSettings(endpoint="https://r.services.ai.azure.com")).provider.id == "azure-foundry"
    assert (
        choose("azure:m", RemoteSettings(endpoint="https://d.e.models.ai.azure.com")).provider.id == "azure-serverless"
    )
    assert choose("cohere:rerank-v3.5", RemoteSettings()).provider.id == "cohere-v2"


@pytest.mark.parametrize(
    ("reference", "remote", "words", "hint"),
    [
        ("coher:rerank-v3.5", {}, "unknown provider `coher`", "did you mean `cohere`?"),
        ("zzz:m", {}, "unknown provider `zzz`", "`rerank models providers` lists all"),
        ("cohere:", {}, "does not name a model", "cohere:MODEL"),
        ("azure:", {}, "needs --endpoint URL", "models.ai.azure.com or https://{resource}.services"),
        ("new-api:m", {}, "needs --endpoint URL", "--endpoint https://{gateway}"),
        ("tei:", {"endpoint": "tei.internal:80"}, "not an http(s) URL", "https://host/path"),
        ("tei:", {"endpoint": "ftp://tei"}, "not an http(s) URL", None),
        ("tei:", {"endpoint": "http://[::1"}, "not a URL", None),
        ("tei:", {"endpoint": "https://u:secret@tei"}, "user name or password", "--api-key-env"),
        ("tei:", {"extra": "{"}, "--extra is not JSON", None),
        ("tei:", {"extra": "[1]"}, "not a JSON object", None),
        ("tei:", {"extra": '{"texts": []}'}, "may not set `texts`", None),
        ("dashscope:m", {"extra": '{"parameters": {"top_n": 1}}'}, "may not set `parameters.top_n`", None),
        ("tei:", {"extra": '{"raw_scores": null}'}, "`raw_scores` is null", "leave it out"),
        ("tei:", {"headers": ("Authorization: Bearer abc",)}, "would stay in your shell's history", "@env:VARIABLE"),
        ("tei:", {"headers": ("x-api-key: abc",)}, "carries a secret", None),
        ("tei:", {"headers": ("X-Foo: Bearer abc",)}, "carries a secret", "@env:VARIABLE"),
        ("tei:", {"headers": ("X-Foo: @env:sk-abc",)}, "not the name of an environment variable", "put it in a variable"),
        ("tei:", {"api_key_env": "sk-abc"}, "--api-key-env: this is not the name", "put it in a variable"),
        ("tei:", {"api_key_env": "jina_0123456789abcdef0123456789"}, "not the name of an environment", None),
        ("tei:", {"headers": ("nonsense",)}, "`Name: value`", None),
        ("tei:", {"headers": ("A b: c",)}, "not a header name", None),
        ("tei:", {"headers": ("Host: other",)}, "set by rerank itself", None),
        ("tei:", {"headers": ("X-A: b\r\nX-B: c",)}, "not a line of ASCII", None),
        ("tei:", {"headers": ("X-A: @env:NOPE",)}, "`NOPE`", "export NOPE="),
        ("tei:", {"api_key_env": "NOPE"}, "`NOPE`", "export NOPE="),
        ("tei:", {"api_key_file": Path("/nonexistent/key")}, "cannot read the key file", None),
        ("mine", {}, "not a named endpoint", "provider:model"),
        ("mine", {"endpoints": {"mine": {"url": "https://x"}}}, "`provider` is missing", None),
        ("mine", {"endpoints": {"mine": {"provider": "tei", "ur": "x"}}}, "unknown key `ur`", "did you mean `url`?"),
        ("mine", {"endpoints": {"mine": {"provider": 3}}}, "expected a string", None),
        ("mine", {"endpoints": {"mine": {"provider": "te"}}}, "endpoints.mine.provider: unknown provider", "`tei`"),
        ("mine", {"endpoints": {"mine": {"provider": "tei", "url": "x"}}}, "endpoints.mine.url: not an http(s) URL", None),
        ("mine", {"endpoints": {"mine": {"provider": "cohere", "url": "https://x"}}}, "does not name a model",
         'add model = "…" under [endpoints.mine]'),
        ("min", {"endpoints": {"mine": {"provider": "tei"}}}, "not a named endpoint", "did you mean `mine`?"),
    ],
)  # fmt: skip
def test_invalid_targets_are_refused_before_any_connection(reference, remote, words, hint):
    with pytest.raises(UsageError) as caught:
        open_target(reference, settings(**remote), {"CO_API_KEY": "k-1234", "JINA_API_KEY": "k", "DASHSCOPE_API_KEY": "k",
                                                   "AZURE_AI_API_KEY": "k", "NEW_API_KEY": "k"})  # fmt: skip
    assert words in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")
    assert not isinstance(caught.value, ModelError)


def test_a_missing_key_names_the_variable():
    with pytest.raises(ConfigError, match="`CO_API_KEY` is unset"):
        open_target("cohere:rerank-v3.5", settings(), {})
    assert open_target("tei:", settings(), {}).headers == ()


@pytest.mark.parametrize(
    "url", ["http://10.0.0.5", "http://tei.internal:80", "http://localhost.example", "http://0.0.0.0"]
)
def test_a_key_never_travels_over_plain_http(url):
    with pytest.raises(UsageError, match="not sent over plain http"):
        open_target("tei:", settings(endpoint=url + "?api_key=abc"), {})
    with pytest.raises(UsageError, match="not sent over plain http"):
        open_target("tei:", settings(endpoint=url), {"TEI_API_KEY": "k-1234"})
    assert open_target("tei:", settings(endpoint=url), {}).url == url + "/rerank"


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.9:1", "http://[::1]:1", "http://a.localhost:1"])
def test_loopback_may_use_plain_http(url):
    assert open_target("tei:", settings(endpoint=url), {"TEI_API_KEY": "k-1234"}).secrets


def test_keys_come_from_flag_file_named_endpoint_and_environment_in_that_order(tmp_path):
    file = tmp_path / "key"
    file.write_text("from-file\n")
    env = {"CO_API_KEY": "from-env", "COHERE_API_KEY": "second", "MINE": "from-flag", "NAMED": "from-name"}
    row = ROWS["cohere-v2"]

    def found(named=None, env=env, **remote):
        key = find_key(row, RemoteSettings(**remote), env, named)
        return key and key.reveal()

    assert found(api_key_env="MINE", api_key_file=file) == "from-flag"
    assert found("NAMED", api_key_file=file) == "from-file"
    assert found("NAMED") == "from-name"
    assert found() == "from-env"
    assert found(env={"COHERE_API_KEY": "second"}) == "second"
    assert found(env={}) is None
    file.write_text("two words")
    with pytest.raises(UsageError, match="not hold a usable key") as caught:
        found(api_key_file=file)
    assert "two words" not in caught.value.message


@pytest.mark.parametrize(
    ("auth_header", "name", "value"),
    [
        (None, "Authorization", "Bearer k-1234"),
        ("api-key", "api-key", "k-1234"),
        ("authorization", "authorization", "Bearer k-1234"),
        ("Authorization: {key}", "Authorization", "k-1234"),
        ("X-Auth: Token {key}", "X-Auth", "Token k-1234"),
    ],
)
def test_auth_header_takes_a_name_or_a_template(auth_header, name, value):
    target = open_target("cohere:m", settings(auth_header=auth_header), {"CO_API_KEY": "k-1234"})
    [(found, secret)] = target.headers
    assert (found, secret.reveal()) == (name, value)


def test_voyage_keys_of_mongodb_go_to_mongodb():
    assert open_target("voyage:rerank-2.5", settings(), {"VOYAGE_API_KEY": "pa-1"}).url.startswith(
        "https://api.voyageai"
    )
    assert (
        open_target("voyage:rerank-2.5", settings(), {"VOYAGE_API_KEY": "al-1"}).url
        == "https://ai.mongodb.com/v1/rerank"
    )


def test_named_endpoints_name_provider_url_model_and_key():
    entry = {"provider": "cohere", "url": "https://gw.example/api", "model": "rerank-v4.0-pro", "api_key_env": "GW_KEY"}
    target = open_target("search", settings(endpoints={"search": entry}), {"GW_KEY": "k-1234", "CO_API_KEY": "wrong"})
    assert (target.provider.id, target.model, target.url) == (
        "cohere-v2",
        "rerank-v4.0-pro",
        "https://gw.example/api/v2/rerank",
    )
    assert target.headers[0][1].reveal() == "Bearer k-1234"


def test_a_secret_is_never_shown():
    target = open_target(
        "cohere:m", settings(headers=("X-Key: @env:OTHER",)), {"CO_API_KEY": "k-1234", "OTHER": "o-5678"}
    )
    shown = f"{target!r} {target} {target.headers} {target.secrets!r} {target.secrets[0]}"
    assert "1234" not in shown
    assert "5678" not in shown
    assert {secret.reveal() for secret in target.secrets} == {"Bearer k-1234", "o-5678", "k-1234"}


def test_every_name_before_the_colon_is_known():
    names = load_table().names()
    for name in names:
        assert load_table().find(name).id in ROWS
    assert {"cohere", "azure", "tei", "new-api"} <= set(names)
    assert all(urlsplit(row.base).scheme for row in ROWS.values())


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("elasticsearch:a?b#c d", "/_inference/rerank/a%3Fb%23c%20d"),
        ("elasticsearch:my/../id", "/_inference/rerank/my%2F..%2Fid"),
        ("nvidia:a/b?c#d", "/v1/retrieval/a/b%3Fc%23d/reranking"),
    ],
)
def test_a_model_stays_inside_its_part_of_the_path(reference, path):
    with Loopback(lambda _seen: as_json({})) as server:
        scorer = open_remote(reference, settings(endpoint=server.url), {"NVIDIA_API_KEY": "k-1234"}, Report())
        with closing(scorer), pytest.raises(RemoteError):
            scorer.score([Pair("q", "d")], Limits())
    assert server.seen[0].path == path


@pytest.mark.parametrize(
    ("reference", "remote"),
    [
        ("cohere:m", {}),
        ("tei:", {"endpoint": "https://tei.example"}),
        ("s", {"endpoints": {"s": {"provider": "jina", "model": "m"}}}),
    ],
)
def test_offline_refuses_what_is_not_on_this_machine(reference, remote):
    offline = replace(settings(**remote), offline=True)
    with pytest.raises(UsageError, match=r"--offline: .* is on the network") as caught:
        open_target(reference, offline, {"CO_API_KEY": "k-1234", "JINA_API_KEY": "k-1234"})
    assert "-m builtin" in caught.value.hint
    for url in ("http://127.0.0.1:9", "https://localhost"):
        open_target("cohere:m", replace(settings(endpoint=url), offline=True), {})
    open_target("tei:", replace(settings(), offline=True), {})
