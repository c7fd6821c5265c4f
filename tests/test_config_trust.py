"""A project file cannot redirect data or run code, and no secret is accepted or shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from config_support import options

REFUSED = {
    "endpoint": ('endpoint = "https://evil.example"', "where documents and keys go"),
    "header": ('header = ["X-Trace: 1"]', "where documents and keys go"),
    "key variable": ('api_key_env = "CO_API_KEY"', "where documents and keys go"),
    "key file": ('api_key_file = "key"', "where documents and keys go"),
    "certificates": ('ca_bundle = "ca.pem"', "where documents and keys go"),
    "insecure": ("insecure = true", "where documents and keys go"),
    "remote code": ("trust_remote_code = true", "run code"),
    "pickle": ("allow_pickle = true", "run code"),
    "in a section": ("[rank]\ntrust_remote_code = true", "run code"),
    "with a dash": ("trust-remote-code = true", "run code"),
    "endpoints": ('[endpoints.x]\nprovider = "tei"\nurl = "http://x"', "where documents and keys go"),
    "prices": ('[prices]\n"cohere" = 0', "may not set"),
    "provider": ('model = "cohere:rerank-v3.5"', "may choose"),
    "folder": ('model = "./model"', "may choose"),
    "absolute folder": ('model = "/tmp/model"', "may choose"),
    "home folder": ('model = "~/model"', "may choose"),
    "named endpoint": ('model = "mine"', "may choose"),
    "provider as a fallback": ('fallback = ["builtin", "cohere:rerank-v3.5"]', "not `cohere:rerank-v3.5`"),
    "folder as a fallback": ('fallback = "./model"', "may choose"),
    "named endpoint as a fallback": ('fallback = ["mine"]', "may choose"),
    "a file to read": ('[batch]\ncorpus = "corpus.jsonl"', "may not name files"),
    "a file to write": ('[batch]\nsummary = "summary.json"', "may not name files"),
    "threads": ("threads = 64", "not an input, ranking or output option"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_a_project_file_may_not_set_trusted_options(run, project: Path, text: str, why: str) -> None:
    """What comes with a checkout must not choose where data goes, which code runs, which files are written."""
    path = project / "rerank.toml"
    path.write_text(text)
    refused = run("-q", "x", stdin="a\nb\n")
    assert (refused.code, refused.out) == (2, b"")
    assert refused.err.startswith(f"rerank: error: {path}: ")
    assert why in refused.err
    assert "hint: put " in refused.err


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_the_user_file_may_set_trusted_options(run, user: Path, text: str, why: str) -> None:
    user.write_text(text)
    assert run("config").code == 0


@pytest.mark.parametrize(
    "text",
    [
        'rank_fields = ["title", "body"]', 'format = "jsonl"', "min_score = 0.5", "long_documents = 'truncate'",
        'fallback = ["BAAI/bge-reranker-base@abc123", "builtin", "passthrough"]', "min_score = { builtin = 0.5 }",
        'model = "builtin"', 'model = "BAAI/bge-reranker-base"', 'model = "BAAI/bge-reranker-base@abc123"',
    ],
)  # fmt: skip
def test_a_project_file_may_set_harmless_options(run, project: Path, text: str) -> None:
    (project / "rerank.toml").write_text(text)
    assert run("config").code == 0


def test_inherited_trust_does_not_apply_to_a_model_chosen_by_a_project(run, project: Path, user: Path) -> None:
    user.write_text("trust_remote_code = true\n")
    assert options(run("config", "--json"))["trust_remote_code"][0] is True
    (project / "rerank.toml").write_text('model = "evil/model@abc"\n')
    assert options(run("config", "--json"))["trust_remote_code"] == (False, "default")
    got = options(run("config", "--json", env={"RERANK_ALLOW_PICKLE": "1"}))
    assert got["allow_pickle"] == (False, "default")
    own = options(run("config", "--json", env={"RERANK_MODEL": "mine/model@abc"}))
    assert own["trust_remote_code"][0] is True


OTHER = 12345


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("how", ["file", "link to another's file", "another's link"])
def test_a_project_file_of_another_user_is_not_obeyed(run, project: Path, user: Path, how: str) -> None:
    path, real = project / "rerank.toml", project / "real.toml"
    written = path if how == "file" else real
    written.write_text("not even = TOML\n" if how == "file" else "top_n = 1\n")
    if how != "file":
        path.symlink_to(real)
    os.chown(path, OTHER, OTHER, follow_symlinks=how != "another's link")
    user.write_text("top_n = 2\n")
    found = run("config", "--json")
    assert options(found)["top_n"][0] == 2, "other files count as before"
    assert [file["role"] for file in found.json["files"]] == ["user"]
    assert found.err.count("\n") == 1
    assert f"the project file {path} belongs to another user and is not obeyed (--config {path} obeys it" in found.err
    assert run("-q", "x", "--quiet", stdin="a\nb\nc\n").err == ""
    if how != "file":
        assert options(run("config", "--json", "--config", path))["top_n"][0] == 1
    assert run("config", "--no-config").err == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_under_sudo_the_callers_project_is_obeyed(run, project: Path) -> None:
    (project / "rerank.toml").write_text("top_n = 1\n")
    os.chown(project / "rerank.toml", OTHER, OTHER)
    for caller, top_n in ((str(OTHER), 1), ("54321", None), ("x", None), ("", None), ("1" * 400, None)):
        assert options(run("config", "--json", env={"SUDO_UID": caller}))["top_n"][0] == top_n


def test_the_user_file_is_not_read_again_as_a_project_file(run, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user.write_text("threads = 1\n")
    monkeypatch.chdir(user.parent)
    assert [file["role"] for file in run("config", "--json").json["files"]] == ["user"]


SECRET = "s3cr3tZXCVBNMasdfghjklqwertyuiop42"
SECRETS = {
    "key": f'api_key = "{SECRET}"',
    "key, dashed": f'api-key = "{SECRET}"',
    "token in a section": f'[rank]\ntoken = "{SECRET}"',
    "pasted for a variable": f'api_key_env = "{SECRET}"',
    "header": f'header = ["Authorization: Bearer {SECRET}"]',
    "header of a kind": f'header = "x-api-key: {SECRET}"',
    "bearer anywhere": f'header = ["X-Thing: Bearer {SECRET}"]',
    "header without a colon": f'header = ["Authorization {SECRET}", "api_key: {SECRET}"]',
    "template": f'auth_header = "Authorization: Bearer {SECRET}"',
    "user of a URL": f'endpoint = "https://me:{SECRET}@host/"',
    "query of a URL": f'endpoint = "https://host/?api-key={SECRET}"',
    "member": f'extra = {{ auth = {{ api_key = "{SECRET}" }} }}',
    "member as JSON": f'extra = \'{{"api_key": "{SECRET}"}}\'',
    "endpoint's key": f'[endpoints.x]\nprovider = "tei"\napi_key = "{SECRET}"',
    "endpoint's variable": f'[endpoints.x]\nprovider = "tei"\napi_key_env = "{SECRET}"',
    "endpoint's URL": f'[endpoints.x]\nprovider = "tei"\nurl = "https://{SECRET}@h/"',
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_secrets_are_refused_in_any_file_and_not_repeated(run, user: Path, text: str) -> None:
    user.write_text(text)
    refused = run("-q", "x", "--debug", stdin="a\n")
    assert (refused.code, refused.out) == (2, b"")
    assert SECRET not in refused.err
    assert "rerank.toml: " in refused.err


def test_secrets_may_be_named_by_environment_variable(run, user: Path) -> None:
    user.write_text(
        'header = ["Authorization: @env:MY_TOKEN", "X-Team: search"]\napi_key_env = "CO_API_KEY"\n'
        'extra = { priority = 1 }\nauth_header = "api-key: {key}"\n'
    )
    got = options(run("config", "--json"))
    assert got["header"][0] == ["Authorization: @env:MY_TOKEN", "X-Team: ***"]
    assert json.loads(got["extra"][0]) == {"priority": 1}
    shown = run("config", "--json", env={"RERANK_HEADER": f"Authorization: {SECRET}"})
    assert SECRET not in shown.text


def test_config_shows_no_secret_of_the_environment(run) -> None:
    env = {
        "RERANK_ENDPOINT": f"https://host/v1?api_key={SECRET}",
        "RERANK_API_KEY_ENV": SECRET,
        "RERANK_EXTRA": f'{{"api_key": "{SECRET}"}}',
        "RERANK_AUTH_HEADER": f"X-Key: {SECRET}",
    }
    for form in ((), ("--json",)):
        found = run("config", *form, env=env)
        assert (found.code, SECRET in found.text + found.err) == (0, False)
    plain = run("config", "--json", env={"RERANK_ENDPOINT": "https://host/v1?sig=abc", "RERANK_API_KEY_ENV": "MY_KEY"})
    options = plain.json["options"]
    assert options["endpoint"]["value"] == "https://host/v1?…"
    assert options["api_key_env"]["value"] == "MY_KEY"
