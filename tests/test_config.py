"""Configuration: which files are used, which value overrides which, and what `rerank config` reports."""

from __future__ import annotations

import json
from pathlib import Path

import platformdirs
import pytest
from config_support import options

from rerank_cli.config.files import user_file


def test_each_layer_overrides_the_next(run, project: Path, user: Path, tmp_path: Path) -> None:
    """Flag, variable, --config, project, user, default: six options, each set in all layers below the one that wins."""
    keys = ["top_n", "min_score", "weight", "max_tokens_per_doc", "query_id"]
    values: dict[str, object] = {"top_n": 1, "min_score": 0.1, "weight": 0.1, "max_tokens_per_doc": 10, "query_id": "u"}

    def text(chosen: list[str], plus: int) -> str:
        lines = (f"{key} = {json.dumps(v if isinstance(v := values[key], str) else v + plus)}" for key in chosen)
        return "\n".join(lines)

    user.write_text(text(keys, 0))
    (project / "rerank.toml").write_text(text(keys[:4], 1))
    explicit = tmp_path / "mine.toml"
    explicit.write_text(text(keys[:3], 2))
    result = run("config", "--config", explicit, "--json", env={"RERANK_TOP_N": "9"})
    got = options(result)
    assert got["top_n"] == (9, "RERANK_TOP_N")
    assert got["min_score"] == (2.1, f"--config file {explicit}")
    assert got["max_tokens_per_doc"] == (11, f"project file {project / 'rerank.toml'}")
    assert got["query_id"] == ("u", f"user file {user}")
    assert got["format"] == ("auto", "default")
    assert [(file["role"], file["trusted"]) for file in result.json["files"]] == [
        ("--config", True), ("project", False), ("user", True),
    ]  # fmt: skip


def test_a_flag_overrides_everything(run, project: Path, capital: list[str]) -> None:
    (project / "rerank.toml").write_text("top_n = 1\n")
    assert len(run("-q", "capital", "-f", "lines", stdin="\n".join(capital)).lines) == 1
    assert len(run("-q", "capital", "-f", "lines", "-n", "2", stdin="\n".join(capital)).lines) == 2
    assert len(run("-q", "capital", "-f", "lines", "--no-config", stdin="\n".join(capital)).lines) == 3


@pytest.fixture
def capital() -> list[str]:
    return ["Washington, D.C. is the capital of the United States.", "Paris is in France.", "Cats sleep a lot."]


def test_a_section_applies_to_its_command_and_overrides_top_level_keys(run, user: Path) -> None:
    user.write_text("verbose = 0\nquiet = true\n[config]\nquiet = false\n[rank]\nquiet = false\ntop_n = 3\n")
    assert options(run("config", "--json"))["quiet"] == (False, f"user file {user}")
    assert options(run("config", "config", "--json"))["quiet"] == (False, f"user file {user}")
    assert "top_n" not in options(run("config", "config", "--json"))


def test_a_top_level_key_applies_to_the_commands_that_have_the_option(run, user: Path) -> None:
    """`format` is rank's alone, `return_documents` rank's and batch's, `documents` a file of batch: no quarrel."""
    user.write_text('return_documents = false\ndocuments = ["d.jsonl"]\nformat = "jsonl"\ntop_n = 3\n')
    rank = options(run("config", "rank", "--json"))
    assert rank["return_documents"] == (False, f"user file {user}")
    assert rank["format"][0] == "jsonl"
    batch = options(run("config", "batch", "--json"))
    assert batch["return_documents"][0] is False
    assert batch["documents"][0] == [str(user.parent / "d.jsonl")]
    assert batch["batch_format"][1] == "default"
    assert batch["top_n"][0] == 3
    assert run("config", "eval").code == 0


@pytest.mark.parametrize(
    ("command", "name", "line", "value"),
    [
        ("batch", "batch_format", 'format = "trec"', "trec"),
        ("batch", "batch_format", 'batch-format = "trec"', "trec"),
        ("eval", "report_format", 'format = "csv"', "csv"),
        ("compare", "report_format", 'report_format = "csv"', "csv"),
        ("rank", "return_documents", "documents = false", False),
        ("rank", "return_documents", "return_documents = false", False),
    ],
)
def test_a_section_accepts_the_flag_name_of_an_option(run, user: Path, command, name, line, value) -> None:
    user.write_text(f"[{command}]\n{line}\n")
    assert options(run("config", command, "--json"))[name] == (value, f"user file {user}")


def test_return_documents_and_documents_have_separate_variables(run, capital: list[str]) -> None:
    env = {"RERANK_RETURN_DOCUMENTS": "0", "RERANK_DOCUMENTS": "docs.jsonl"}
    got = run("-q", "capital", "--json", env=env, stdin="\n".join(capital))
    assert got.code == 0, got.err
    assert "document" not in got.json["results"][0]
    assert options(run("config", "batch", "--json", env=env))["documents"][0] == ["docs.jsonl"]


def test_the_nearest_project_file_within_the_repository_is_used(run, project: Path) -> None:
    outside = project.parent / "rerank.toml"
    outside.write_text("top_n = 7\n")
    try:
        assert options(run("config", "--json"))["top_n"] == (None, "default")
        (project / "rerank.toml").write_text("top_n = 5\n")
        assert options(run("config", "--json"))["top_n"][0] == 5
        (project / "src" / "rerank.toml").write_text("top_n = 6\n")
        assert options(run("config", "--json"))["top_n"][0] == 6
    finally:
        outside.unlink()


def test_no_config_reads_nothing(run, project: Path, user: Path, tmp_path: Path) -> None:
    for path in (user, project / "rerank.toml", tmp_path / "named.toml"):
        path.write_text("this is = no TOML")
    for argv, env in (
        (("--no-config",), {}),
        (("--no-config",), {"RERANK_CONFIG": str(tmp_path / "named.toml")}),
        ((), {"RERANK_NO_CONFIG": "1"}),
    ):
        assert run("config", *argv, "--json", env=env).json["files"] == []
    both = run("config", "--no-config", "--config", "x.toml")
    assert both.code == 2
    assert "exclude each other" in both.err


def test_rerank_config_names_a_file_and_an_empty_value_counts_as_unset(run, project: Path, tmp_path: Path) -> None:
    named = tmp_path / "named.toml"
    named.write_text('model = "./models/mine"\napi_key_file = "~/key"\nca_bundle = "ca.pem"\n')
    got = options(run("config", "--json", env={"RERANK_CONFIG": str(named)}))
    assert got["model"][0] == str(tmp_path / "models" / "mine"), "paths start at the file that says them"
    assert got["ca_bundle"][0] == str(tmp_path / "ca.pem")
    assert Path(got["api_key_file"][0]).is_absolute()
    assert run("config", "--json", env={"RERANK_CONFIG": ""}).json["files"] == []
    missing = run("config", env={"RERANK_CONFIG": str(tmp_path / "none.toml")})
    assert missing.code == 2
    assert "no such file" in missing.err


def test_lists_are_accepted_for_options_with_several_values(run, user: Path) -> None:
    user.write_text('rank_fields = ["title", "body.text"]\nexpect = ["a@1", "b@2"]\n')
    got = options(run("config", "--json"))
    assert got["rank_fields"][0] == "title,body.text"
    assert got["expect"][0] == ["a@1", "b@2"]
    records = '{"title": "Washington, D.C.", "body": {"text": "capital"}, "id": "a"}\n{"title": "Paris", "id": "b"}\n'
    ranked = run("-q", "capital of the United States", "-f", "ids", stdin=records)
    assert (ranked.code, ranked.lines[0]) == (0, "a")


def test_a_flag_overrides_a_conflicting_configured_option(run, user: Path) -> None:
    user.write_text('rank_fields = ["title"]\nformat = "csv"\n')
    records = '{"title": "Paris", "text": "Washington"}\n'
    flagged = run("-q", "Washington", "--text-field", "text", "--json", stdin=records)
    assert flagged.code == 0, flagged.err
    assert flagged.json["results"][0]["document"]["title"] == "Paris"


def test_verbose_reports_which_files_are_used(run, project: Path, user: Path) -> None:
    (project / "rerank.toml").write_text("top_n = 1\n")
    told = run("-q", "x", "-v", stdin="a\nb\n")
    assert f"rerank: configuration: project file {project / 'rerank.toml'}\n" in told.err
    assert "rerank: configuration: no file\n" in run("-q", "x", "-v", "--no-config", stdin="a\n").err
    assert "configuration" not in run("-q", "x", stdin="a\n").err
    assert f"user file {user} (not there)" in run("config", "-v").err


def test_a_named_endpoint_works_as_a_model_and_a_misspelt_one_does_not(run, user: Path) -> None:
    """A named endpoint is understood by -m (nobody listens on it), a misspelt one is not."""
    user.write_text('[endpoints.mine]\nprovider = "tei"\nurl = "http://127.0.0.1:9"\n')
    called = run("-q", "x", "-m", "mine", "--retries", "0", stdin="a\nb\n")
    assert called.code == 5, called.err
    for more in ((), ("--dry-run",)):
        missed = run("-q", "x", "-m", "mime", *more, stdin="a\n")
        assert (missed.code, missed.err) == (2, "rerank: error: unknown model `mime`\nhint: did you mean `mine`?\n")


def test_the_table_is_plain_text(run, user: Path) -> None:
    user.write_text('top_n = 5\n[endpoints.mine]\nprovider = "tei"\nurl = "http://h/"\n[prices]\ntei = 0.5\n')
    lines = run("config").lines
    assert any(line.split() == ["top_n", "5", "user", "file", str(user)] for line in lines)
    assert any(line.split() == ["endpoints.mine", "http://h/"] for line in lines)
    assert any(line.split() == ["prices.tei", "0.5"] for line in lines)
    unknown = run("config", "rnk")
    assert (unknown.code, "did you mean `rank`?" in unknown.err) == (2, True)


def test_help_works_with_a_broken_configuration(run, user: Path) -> None:
    user.write_text("broken")
    assert run("rank", "--help").code == 0
    assert run("--help").code == 0


def test_the_user_file_is_where_platformdirs_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "/elsewhere/config"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        monkeypatch.setenv("HOME", "/home/somebody")
        env = {"XDG_CONFIG_HOME": value, "HOME": "/home/somebody"}
        assert user_file(env) == Path(platformdirs.user_config_dir("rerank")) / "rerank.toml"
