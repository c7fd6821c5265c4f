"""Configuration: which files count, what they may say, who wins, and what is refused, all through the command line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import platformdirs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_cli.cli.app import root
from rerank_cli.cli.defaults import Options
from rerank_cli.config import ConfigFile, Role, check_file
from rerank_cli.config.files import read_file, user_file
from rerank_cli.errors import ConfigError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a folder in it; the command runs in that folder."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "src" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "src" / "deep")
    return tmp_path


@pytest.fixture
def user(home: Path) -> Path:
    path = home / ".config" / "rerank" / "rerank.toml"
    path.parent.mkdir(parents=True)
    return path


def options(result) -> dict[str, tuple[object, str]]:
    assert result.code == 0, result.err
    return {name: (row["value"], row["source"]) for name, row in result.json["options"].items()}


def test_each_layer_beats_the_next(run, project: Path, user: Path, tmp_path: Path) -> None:
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


def test_a_flag_beats_everything(run, project: Path, capital: list[str]) -> None:
    (project / "rerank.toml").write_text("top_n = 1\n")
    assert len(run("-q", "capital", "-f", "lines", stdin="\n".join(capital)).lines) == 1
    assert len(run("-q", "capital", "-f", "lines", "-n", "2", stdin="\n".join(capital)).lines) == 2
    assert len(run("-q", "capital", "-f", "lines", "--no-config", stdin="\n".join(capital)).lines) == 3


@pytest.fixture
def capital() -> list[str]:
    return ["Washington, D.C. is the capital of the United States.", "Paris is in France.", "Cats sleep a lot."]


def test_a_section_speaks_to_its_command_and_beats_the_top(run, user: Path) -> None:
    user.write_text("verbose = 0\nquiet = true\n[config]\nquiet = false\n[rank]\nquiet = false\ntop_n = 3\n")
    assert options(run("config", "--json"))["quiet"] == (False, f"user file {user}")
    assert options(run("config", "config", "--json"))["quiet"] == (False, f"user file {user}")
    assert "top_n" not in options(run("config", "config", "--json"))


def test_a_key_at_the_top_speaks_to_the_commands_that_understand_it(run, user: Path) -> None:
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
def test_in_its_section_an_option_may_go_by_its_flag(run, user: Path, command, name, line, value) -> None:
    user.write_text(f"[{command}]\n{line}\n")
    assert options(run("config", command, "--json"))[name] == (value, f"user file {user}")


def test_the_switch_of_rank_and_the_files_of_batch_have_variables_of_their_own(run, capital: list[str]) -> None:
    env = {"RERANK_RETURN_DOCUMENTS": "0", "RERANK_DOCUMENTS": "docs.jsonl"}
    got = run("-q", "capital", "--json", env=env, stdin="\n".join(capital))
    assert got.code == 0, got.err
    assert "document" not in got.json["results"][0]
    assert options(run("config", "batch", "--json", env=env))["documents"][0] == ["docs.jsonl"]


def test_the_project_file_is_the_nearest_and_the_repository_is_the_end(run, project: Path) -> None:
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


def test_rerank_config_names_a_file_and_an_empty_one_counts_as_unset(run, project: Path, tmp_path: Path) -> None:
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
    "a file to read": ('[batch]\ncorpus = "corpus.jsonl"', "may not name files"),
    "a file to write": ('[batch]\nsummary = "summary.json"', "may not name files"),
    "threads": ("threads = 64", "no input, ranking or output option"),
}


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_a_project_file_may_not(run, project: Path, text: str, why: str) -> None:
    """What comes with a checkout must not choose where data goes, which code runs, which files are written."""
    path = project / "rerank.toml"
    path.write_text(text)
    refused = run("-q", "x", stdin="a\nb\n")
    assert (refused.code, refused.out) == (2, b"")
    assert refused.err.startswith(f"rerank: error: {path}: ")
    assert why in refused.err
    assert "hint: put " in refused.err


@pytest.mark.parametrize(("text", "why"), REFUSED.values(), ids=REFUSED)
def test_the_user_file_may(run, user: Path, text: str, why: str) -> None:
    user.write_text(text)
    assert run("config").code == 0


@pytest.mark.parametrize(
    "text",
    [
        'rank_fields = ["title", "body"]', 'format = "jsonl"', "min_score = 0.5", "long_documents = 'truncate'",
        'model = "builtin"', 'model = "BAAI/bge-reranker-base"', 'model = "BAAI/bge-reranker-base@abc123"',
    ],
)  # fmt: skip
def test_a_project_file_may(run, project: Path, text: str) -> None:
    (project / "rerank.toml").write_text(text)
    assert run("config").code == 0


def test_standing_trust_does_not_reach_a_model_that_a_project_chose(run, project: Path, user: Path) -> None:
    user.write_text("trust_remote_code = true\n")
    assert options(run("config", "--json"))["trust_remote_code"][0] is True
    (project / "rerank.toml").write_text('model = "evil/model@abc"\n')
    assert options(run("config", "--json"))["trust_remote_code"] == (False, "default")
    got = options(run("config", "--json", env={"RERANK_ALLOW_PICKLE": "1"}))
    assert got["allow_pickle"] == (False, "default")
    own = options(run("config", "--json", env={"RERANK_MODEL": "mine/model@abc"}))
    assert own["trust_remote_code"][0] is True


def test_a_project_file_in_the_users_own_folder_is_the_users(run, user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_variables_for_secrets_are_fine(run, user: Path) -> None:
    user.write_text(
        'header = ["Authorization: @env:MY_TOKEN", "X-Team: search"]\napi_key_env = "CO_API_KEY"\n'
        'extra = { priority = 1 }\nauth_header = "api-key: {key}"\n'
    )
    got = options(run("config", "--json"))
    assert got["header"][0] == ["Authorization: @env:MY_TOKEN", "X-Team: ***"]
    assert json.loads(got["extra"][0]) == {"priority": 1}
    shown = run("config", "--json", env={"RERANK_HEADER": f"Authorization: {SECRET}"})
    assert SECRET not in shown.text


WRONG = {
    "typo": ("topn = 5", "topn: unknown key\nhint: did you mean `top_n`?"),
    "section typo": ("[rnk]\ntop_n = 5", "rnk: unknown section\nhint: did you mean `rank`?"),
    "typo in a section": ("[rank]\nmin_scor = 1", "rank.min_scor: unknown key\nhint: did you mean `min_score`?"),
    "option of another command": ("[config]\ntop_n = 5", "config.top_n: unknown key"),
    "text for a number": ('top_n = "5"', "top_n: expected a whole number, found a string\nhint: for example top_n = 5"),
    "float for a whole number": ("top_n = 5.0", "top_n: expected a whole number, found a number"),
    "boolean for a number": ("top_n = true", "top_n: expected a whole number, found a boolean"),
    "number for a boolean": ("dedupe = 1", "dedupe: expected true or false, found a whole number"),
    "number for text": (
        "query_id = 1",
        'query_id: expected a string, found a whole number\nhint: for example query_id = "…"',
    ),
    "table for text": ("[model]\nname = 1", "model: expected a string, found a table"),
    "date": ("model = 2020-01-01", "model: expected a string, found a date or time"),
    "list for one": ('model = ["a", "b"]', "model: expected a string, found a list"),
    "too small": ("top_n = 0", "top_n: 0 is too small\nhint: at least 1"),
    "infinite": ("min_score = inf", "min_score: expected a finite number"),
    "choice": ('format = "jsnl"', "format: unknown value `jsnl`\nhint: did you mean `jsonl`?"),
    "comma": ('rank_fields = ["a,b"]', "rank_fields: a name with a comma"),
    "twice": ("top_n = 1\ntop-n = 2", "top-n: said twice"),
    "twice, by name and flag": ('[batch]\nformat = "trec"\nbatch_format = "trec"', "batch.batch_format: said twice"),
    "command line only": ('query = "x"', "query: belongs on the command line, not in a file"),
    "output path": ('output = "x"', "output: belongs on the command line, not in a file"),
    "NUL": ('model = "a\\u0000"', "model: holds a NUL character"),
    "no TOML": ("top_n = = 5", "not valid TOML: Invalid value (at line 1, column 9)"),
    "unquoted": ("model = builtin", "not valid TOML"),
    "nested": ("x = " + "[" * 5000, "nested too deeply"),
    "digits": ("top_n = " + "9" * 5000, "not valid TOML"),
    "endpoint without provider": ('[endpoints.x]\nurl = "http://x"', "endpoints.x: `provider` is missing"),
    "endpoint typo": (
        '[endpoints.x]\nprovidr = "tei"',
        "endpoints.x.providr: unknown key\nhint: did you mean `provider`?",
    ),
    "endpoint's provider": (
        '[endpoints.x]\nprovider = "te"',
        "endpoints.x.provider: unknown provider `te`\nhint: ",
    ),
    "endpoint's place": (
        '[endpoints.x]\nprovider = "tei"\nurl = "not a url"',
        "endpoints.x.url: not an http(s) URL\nhint: ",
    ),
    "endpoint type": ("[endpoints.x]\nprovider = 1", "endpoints.x.provider: expected a string"),
    "endpoint name": ('[endpoints."a/b"]\nprovider = "tei"', "endpoints.a/b: no name for an endpoint"),
    "endpoints": ("endpoints = 1", "endpoints: expected tables"),
    "price": ('[prices]\n"x" = -1', "prices.x: expected a price"),
    "prices": ("prices = 1", "prices: expected a table"),
    "extra": ("extra = { when = 2020-01-01 }", "extra: dates and times"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_file_and_key(run, user: Path, text: str, message: str) -> None:
    user.write_text(text)
    refused = run("-q", "x", stdin="a\n")
    assert (refused.code, refused.out) == (2, b"")
    assert refused.err.startswith(f"rerank: error: {user}: {message}"), refused.err
    assert "Traceback" not in refused.err


def test_bytes_that_are_no_text(run, user: Path) -> None:
    user.write_bytes(b'model = "\xff"')
    assert f"{user}: not UTF-8 (byte 9)" in run("config").err
    user.write_bytes(b"\xef\xbb\xbftop_n = 4\n")
    assert options(run("config", "--json"))["top_n"][0] == 4, "a byte order mark is no fault"
    user.unlink()
    user.mkdir()
    folder = run("config")
    assert (folder.code, "Is a directory" in folder.err) == (2, True)


def test_lists_take_the_option_form(run, user: Path) -> None:
    user.write_text('rank_fields = ["title", "body.text"]\nexpect = ["a@1", "b@2"]\n')
    got = options(run("config", "--json"))
    assert got["rank_fields"][0] == "title,body.text"
    assert got["expect"][0] == ["a@1", "b@2"]
    records = '{"title": "Washington, D.C.", "body": {"text": "capital"}, "id": "a"}\n{"title": "Paris", "id": "b"}\n'
    ranked = run("-q", "capital of the United States", "-f", "ids", stdin=records)
    assert (ranked.code, ranked.lines[0]) == (0, "a")


def test_a_flag_ends_a_configured_opposite(run, user: Path) -> None:
    user.write_text('rank_fields = ["title"]\nformat = "csv"\n')
    records = '{"title": "Paris", "text": "Washington"}\n'
    flagged = run("-q", "Washington", "--text-field", "text", "--json", stdin=records)
    assert flagged.code == 0, flagged.err
    assert flagged.json["results"][0]["document"]["title"] == "Paris"


def test_v_tells_which_files_count(run, project: Path, user: Path) -> None:
    (project / "rerank.toml").write_text("top_n = 1\n")
    told = run("-q", "x", "-v", stdin="a\nb\n")
    assert f"rerank: configuration: project file {project / 'rerank.toml'}\n" in told.err
    assert "rerank: configuration: no file\n" in run("-q", "x", "-v", "--no-config", stdin="a\n").err
    assert "configuration" not in run("-q", "x", stdin="a\n").err
    assert f"user file {user} (not there)" in run("config", "-v").err


def test_named_endpoints_reach_the_model(run, user: Path) -> None:
    """A named endpoint is understood by -m (nobody listens on it), a misspelt one is not."""
    user.write_text('[endpoints.mine]\nprovider = "tei"\nurl = "http://127.0.0.1:9"\n')
    called = run("-q", "x", "-m", "mine", "--retries", "0", stdin="a\nb\n")
    assert called.code == 5, called.err
    for more in ((), ("--dry-run",)):
        missed = run("-q", "x", "-m", "mime", *more, stdin="a\n")
        assert (missed.code, missed.err) == (2, "rerank: error: unknown model `mime`\nhint: did you mean `mine`?\n")


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


def test_the_table_is_plain_text(run, user: Path) -> None:
    user.write_text('top_n = 5\n[endpoints.mine]\nprovider = "tei"\nurl = "http://h/"\n[prices]\ntei = 0.5\n')
    lines = run("config").lines
    assert any(line.split() == ["top_n", "5", "user", "file", str(user)] for line in lines)
    assert any(line.split() == ["endpoints.mine", "http://h/"] for line in lines)
    assert any(line.split() == ["prices.tei", "0.5"] for line in lines)
    unknown = run("config", "rnk")
    assert (unknown.code, "did you mean `rank`?" in unknown.err) == (2, True)


def test_environment_variables_are_checked_too(run) -> None:
    wrong = run("-q", "x", stdin="a\n", env={"RERANK_DEDUPE": "maybe"})
    assert (wrong.code, "RERANK_DEDUPE: `maybe` is neither true nor false" in wrong.err) == (2, True)
    assert options(run("config", "--json", env={"RERANK_EXPECT": "a@1\nb@2"}))["expect"][0] == ["a@1", "b@2"]
    assert options(run("config", "--json", env={"RERANK_TOP_N": ""}))["top_n"] == (None, "default")


def test_help_needs_no_configuration(run, user: Path) -> None:
    user.write_text("broken")
    assert run("rank", "--help").code == 0
    assert run("--help").code == 0


def test_the_user_file_lies_where_platformdirs_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "/elsewhere/config"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        monkeypatch.setenv("HOME", "/home/somebody")
        env = {"XDG_CONFIG_HOME": value, "HOME": "/home/somebody"}
        assert user_file(env) == Path(platformdirs.user_config_dir("rerank")) / "rerank.toml"


OPTIONS = Options(root())
SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(["auto", "rrf", "a:b", "@env:X"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*OPTIONS.of("rank"), "endpoints", "prices", "rank", "config", "top-n"]) | st.text(max_size=10)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.dictionaries(NAMES, VALUES, max_size=5), role=st.sampled_from(Role))
def test_any_table_is_taken_or_refused_in_our_words(data: dict[str, object], role: Role) -> None:
    file = ConfigFile(Path("/nowhere/rerank.toml"), role, data)
    try:
        checked = check_file(file, "rank", OPTIONS)
    except ConfigError as error:
        assert error.message.startswith("/nowhere/rerank.toml: ")  # noqa: PT017 either outcome is right
    else:
        known = OPTIONS.of("rank")
        for name, value in checked.values.items():
            assert name in known
            assert isinstance(value, str | int | float | list)
        if not role.trusted:
            assert checked.endpoints == checked.prices == {}
            assert not {"endpoint", "header", "trust_remote_code", "allow_pickle", "ca_bundle"} & set(checked.values)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=200) | st.text(alphabet="[]{}=\"'\n#a.1-:T+_\\u", max_size=80).map(str.encode))
def test_any_bytes_are_toml_or_an_error_of_ours(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(raw)
    try:
        assert read_file(path, Role.USER).data == tomllib.loads(raw.decode("utf-8-sig"))
    except ConfigError as error:
        assert str(path) in error.message  # noqa: PT017 likewise
