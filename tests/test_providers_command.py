"""`rerank models providers`: the table, one provider, and examples that are taken as they are printed."""

from __future__ import annotations

import shlex

import pytest

from rerank_cli.scorers.remote.providers import load_table

ROWS = load_table().rows


def test_the_list_has_a_line_for_each_provider(run):
    done = run("models", "providers")
    assert (done.code, done.err) == (0, "")
    assert len(done.lines) == len(ROWS) + 1
    for line, (name, row) in zip(done.lines[1:], ROWS.items(), strict=True):
        assert line.startswith(f"{name}:{row.example}")
        assert row.title in line
    [cohere] = [line for line in done.lines if line.startswith("cohere-v2:")]
    assert cohere.split("  ")[0] == "cohere-v2:rerank-v4.0-pro"
    assert all(part in cohere for part in ("CO_API_KEY", "search units, tokens", "1,000 (at most 9,999)"))


def test_json_has_the_same_facts(run):
    found = run("models", "providers", "--json").json
    assert [facts["name"] for facts in found] == list(ROWS)
    [bedrock] = run("models", "providers", "bedrock", "--json").json
    assert bedrock == next(facts for facts in found if facts["name"] == "bedrock")
    assert bedrock["signed_with"] == "aws"
    assert bedrock["other_variables"] == ["AWS_REGION"]
    [cohere] = run("models", "providers", "cohere", "--json").json
    assert (cohere["billed_in"], cohere["billed_by_model"]) == ("search_units", {"rerank-v?5": "tokens"})


def test_one_provider_by_id_alias_or_as_it_is_written_before_a_model(run):
    for name in ("voyage", "voyageai", "Voyage", "voyage:"):
        done = run("models", "providers", name)
        assert done.code == 0
        assert {"name: voyage", "instruction: query", "tokens_per_request: 600,000"} <= set(done.lines)
    both = run("models", "providers", "azure")
    assert [line for line in both.lines if line.startswith("name: ")] == [
        "name: azure-serverless",
        "name: azure-foundry",
    ]


def test_an_unknown_provider_gets_a_suggestion(run):
    done = run("models", "providers", "coher")
    assert (done.code, done.out) == (2, b"")
    assert done.err == "rerank: error: unknown provider `coher`\nhint: did you mean `cohere`?\n"


@pytest.mark.parametrize("name", ROWS)
def test_examples_are_taken_as_they_are_printed(run, monkeypatch, tmp_path, name):
    if ROWS[name].signer:
        pytest.importorskip({"aws": "botocore", "google": "google.auth.transport.requests"}[ROWS[name].signer[0]])
    (tmp_path / "docs.jsonl").write_text('{"text": "Refunds take a week."}\n')
    monkeypatch.chdir(tmp_path)
    lines = run("models", "providers", name).lines
    assert lines.count("example:") == 1
    *exports, command = (line.strip() for line in lines[lines.index("example:") + 1 :])
    env = {line.removeprefix("export ").partition("=")[0]: "value-1234" for line in exports}
    program, *argv = shlex.split(command)
    assert program == "rerank"
    done = run(*argv, "--dry-run", "--json", env=env)
    assert done.code == 0, done.err
    assert (done.json["provider"], done.json["documents"]) == (name, 1)
    assert "is unset" not in done.err
