"""What people type before they have read the manual: words of other programs, and what they are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROW = '{"id": "a", "body": "loans are cheap"}\n'


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current directory, with two documents."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "news.jsonl").write_text(ROW + ROW)


def hint_of(result) -> str:
    return result.err.partition("hint: ")[2].strip()


@pytest.mark.parametrize(("argv", "hint"), [
    (["loans", "news.jsonl", "--text-field", "body"], "is it the query? `rerank --query loans …`"),
    (["loans"], "is it the query? `rerank --query loans`"),
    (["what's", "news.jsonl"], """is it the query? `rerank --query 'what'"'"'s' …`"""),
    (["new.jsonl"], "did you mean `news.jsonl`?"),  # more likely a request whose name is misspelt
    (["-q", "loans", "nothing"], "`ls .` shows what is there"),
    (["--query-file", "news.jsonl", "nothing"], "`ls .` shows what is there"),
    (["news.jsonl", "nothing"], "`ls .` shows what is there"),
])  # fmt: skip
def test_a_query_in_front_of_the_files_is_recognised(run, argv: list[str], hint: str) -> None:
    result = run(*argv)
    assert (result.code, result.out, hint_of(result)) == (3, b"", hint)
    assert "no such file" in result.err


@pytest.mark.parametrize(("argv", "hint"), [
    (["--threshold", "0.5"], "did you mean `--min-score`?"),
    (["--limit", "3"], "did you mean `--top-n`?"),
    (["-k", "3"], "did you mean `--top-n`?"),
    (["--topk", "3"], "did you mean `--top-n`?"),
    (["--field", "body"], "did you mean `--text-field`?"),
    (["--column", "body"], "did you mean `--text-field`?"),
    (["--csv"], "did you mean `-f csv`?"),
    (["--jsonl"], "did you mean `-f jsonl`?"),
    (["--output-format", "csv"], "did you mean `--format`?"),
    (["--api-key", "x"], "did you mean `--api-key-env`?"),
    (["--fromat", "csv"], "did you mean `--format`?"),
    (["--zzz"], "see `rerank rank --help`"),
    (["--as-csv"], "see `rerank rank --help`"),
])  # fmt: skip
def test_an_option_of_other_programs_leads_to_ours(run, argv: list[str], hint: str) -> None:
    result = run("-q", "x", *argv, "news.jsonl")
    assert (result.code, hint_of(result)) == (2, hint)


@pytest.mark.parametrize(("argv", "hint"), [
    (["serve", "--api-key", "x"], "did you mean `--keys-file`?"),
    (["eval", "--output-format", "csv"], "did you mean `--format`?"),
    (["eval", "--csv"], "did you mean `-f csv`?"),
    (["batch", "--csv"], "see `rerank batch --help`"),  # it has no such format
    (["batch", "--json"], "it is an option of `rerank rank`, not of `rerank batch`"),
    (["models", "list", "--csv"], "see `rerank models list --help`"),
])  # fmt: skip
def test_an_option_is_proposed_only_where_the_command_has_it(run, argv: list[str], hint: str) -> None:
    result = run(*argv)
    assert (result.code, hint_of(result)) == (2, hint)


@pytest.mark.parametrize(("model", "hint"), [
    ("cohere", "`cohere` is a provider: `-m cohere:rerank-v"),
    ("jina", "`jina` is a provider: `-m jina:jina-reranker-v"),
    ("tei", "`tei` is a provider: `-m tei:`"),
    ("openai:gpt-4o", "did you mean `-m chat:gpt-4o`?"),
    ("openai", "did you mean `-m chat:MODEL`?"),
    ("hf:BAAI/bge-reranker-v2-m3", "did you mean `-m BAAI/bge-reranker-v2-m3`?"),
    ("gpt-4o", "did you mean `-m chat:gpt-4o`?"),
    ("rerank-v3.5", "did you mean `-m cohere:rerank-v3.5`?"),
    ("rerank-2.5", "did you mean `-m voyage:rerank-2.5`?"),
    ("jina-reranker-v3.5", "did you mean `-m jina:jina-reranker-v3.5`?"),  # the one of the hub is refused
    ("jina-reranker-v2-base-multilingual", "did you mean `-m jinaai/jina-reranker-v2-base-multilingual`?"),
])  # fmt: skip
def test_a_provider_is_found_by_its_name_and_by_its_models(run, model: str, hint: str) -> None:
    for argv in (["-m", model], ["-m", "builtin", "--fallback", model], ["-m", model, "--dry-run"]):
        result = run("-q", "x", *argv, "news.jsonl", "--text-field", "body")
        assert (result.code, hint_of(result).startswith(hint)) == (2, True), result.err


def test_a_folder_named_like_a_provider_is_a_folder(run, tmp_path: Path) -> None:
    (tmp_path / "cohere").mkdir()
    assert "-m ./cohere" in hint_of(run("-q", "x", "-m", "cohere", "news.jsonl"))


@pytest.mark.parametrize("written", ["cohere", "cohere-v2", "COHERE"])
def test_messages_call_a_provider_as_the_command_line_does(run, written: str) -> None:
    ask = ["-q", "x", "news.jsonl", "--text-field", "body", "-m"]
    for argv, words in {
        (f"{written}:",): f"`{written}:` does not name a model\nhint: write {written}:MODEL",
        (f"{written}:rerank-v3.5",): f"no key for {written}: ",
        (f"{written}:rerank-v3.5", "--offline"): f"--offline: {written} is on the network",
        (
            f"{written}:rerank-v3.5",
            "--endpoint",
            "http://127.0.0.1:9",
            "--instruction",
            "x",
        ): f"{written} does not take",
        (f"{written}:rerank-v3.5", "--endpoint", "http://127.0.0.1:9", "--batch-docs", "99999"): f"{written} takes at",
    }.items():
        assert words in run(*ask, *argv).err


def test_messages_call_a_named_endpoint_by_its_name(run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[endpoints.mine]\nprovider = "cohere"\nmodel = "rerank-v3.5"\n')
    done = run("-q", "x", "news.jsonl", "--text-field", "body", "-m", "mine", "--config", "mine.toml")
    assert (done.code, "no key for mine: " in done.err) == (2, True)


TWO = '{"id": "a", "head": "1 a", "body": "8 b"}\n{"id": "b", "head": "2 a", "body": "9 b"}\n'


def test_of_an_option_given_twice_the_last_value_counts_and_lists_add_up(run, free) -> None:
    def ids(*argv: str, env: dict[str, str] | None = None) -> list[str]:
        result = run("-q", "q", "-f", "ids", *argv, stdin=TWO, env=env)
        assert result.code == 0, result.err
        return result.lines

    assert ids("--text-field", "head", "-n", "1", "-n", "2") == ["b", "a"]
    assert ids("--text-field", "head", "--top-n=2", "-n", "1") == ["b"]
    assert ids("--text-field", "none", "--text-field", "body", "--on-missing", "error") == ["b", "a"]
    explained = [
        run("-q", "q", "-f", "jsonl", "--explain", *argv, stdin=TWO, env={"RERANK_RANK_FIELDS": "id"}).out
        for argv in (("--rank-fields", "head,body"), ("--rank-fields", "head", "--rank-fields", " body,"))
    ]
    assert explained[0] == explained[1]
    assert json.loads(explained[0].splitlines()[0])["explain"]["text"].startswith("head: ")


def test_thresholds_of_several_models_add_up(run, free) -> None:
    argv = ("-q", "q", "-f", "ids", "--text-field", "head", "--fallback", "cohere:x")
    both = run(*argv, "--min-score", "builtin=9", "--min-score", "cohere=0.1", stdin=TWO)
    assert (both.code, both.out) == (0, b"")
    assert run(*argv, "--min-score", "9", "--min-score", "-9", stdin=TWO).lines == ["b", "a"]
    for values in (("builtin=9", "builtin=1"), ("9", "builtin=1")):
        mixed = run(*argv, "--min-score", values[0], "--min-score", values[1], stdin=TWO)
        assert (mixed.code, "each model once" in mixed.err) == (2, True)


@pytest.mark.parametrize(("argv", "code", "hint"), [
    (["version"], 3, "did you mean `rerank --version`?"),
    (["help"], 3, "did you mean `rerank --help`?"),
    (["help", "batch"], 3, "did you mean `rerank --help`?"),
    (["-q", "x", "help"], 3, "`ls .` shows what is there"),
    (["-V"], 2, "`rerank --version` prints the version"),
    (["batch", "--version"], 2, "`rerank --version` prints the version"),
])  # fmt: skip
def test_the_version_and_help_are_found(run, argv: list[str], code: int, hint: str) -> None:
    result = run(*argv)
    assert (result.code, hint_of(result)) == (code, hint)
    assert "\n      --version" in run("--help").text
    assert "\n      --version" in run("-h").text


def test_a_file_called_version_is_a_file(run, free, tmp_path: Path) -> None:
    (tmp_path / "version").write_text("1 a\n")
    assert run("-q", "x", "-f", "lines", "version").out == b"1 a\n"
