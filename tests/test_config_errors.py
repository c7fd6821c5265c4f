"""Every invalid configuration file or variable is refused with a message that names file and key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from config_support import options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank_cli.cli.app import root
from rerank_cli.cli.sources import Options
from rerank_cli.config import ConfigFile, Role, check_file
from rerank_cli.config.files import read_file
from rerank_cli.errors import ConfigError

WRONG = {
    "typo": ("topn = 5", "topn: unknown key\nhint: did you mean `top_n`?"),
    "section typo": ("[rnk]\ntop_n = 5", "rnk: unknown section\nhint: did you mean `rank`?"),
    "typo in a section": ("[rank]\nmin_scor = 1", "rank.min_scor: unknown key\nhint: did you mean `min_score`?"),
    "option of another command": ("[config]\ntop_n = 5", "config.top_n: unknown key"),
    "text for a number": ('top_n = "5"', "top_n: expected a whole number, found a string\nhint: for example top_n = 5"),
    "float for a whole number": ("top_n = 5.0", "top_n: expected a whole number, found a number"),
    "boolean for a number": ("top_n = true", "top_n: expected a whole number, found a boolean"),
    "number for a boolean": ("keep_order = 1", "keep_order: expected true or false, found a whole number"),
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
    "twice": ("top_n = 1\ntop-n = 2", "top-n: key set twice"),
    "twice, by name and flag": ('[batch]\nformat = "trec"\nbatch_format = "trec"', "batch.batch_format: key set twice"),
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
    "endpoint's provider": ('[endpoints.x]\nprovider = "te"', "endpoints.x.provider: unknown provider `te`\nhint: "),
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
def test_errors_name_the_file_and_the_key(run, user: Path, text: str, message: str) -> None:
    user.write_text(text)
    refused = run("-q", "x", stdin="a\n")
    assert (refused.code, refused.out) == (2, b"")
    assert refused.err.startswith(f"rerank: error: {user}: {message}"), refused.err
    assert "Traceback" not in refused.err


def test_a_file_that_is_not_utf8_is_refused_and_a_byte_order_mark_is_accepted(run, user: Path) -> None:
    user.write_bytes(b'model = "\xff"')
    assert f"{user}: not UTF-8 (byte 9)" in run("config").err
    user.write_bytes(b"\xef\xbb\xbftop_n = 4\n")
    assert options(run("config", "--json"))["top_n"][0] == 4, "a byte order mark is no fault"
    user.unlink()
    user.mkdir()
    folder = run("config")
    assert (folder.code, "Is a directory" in folder.err) == (2, True)


def test_environment_variables_are_checked_too(run) -> None:
    wrong = run("-q", "x", stdin="a\n", env={"RERANK_KEEP_ORDER": "maybe"})
    assert (wrong.code, "RERANK_KEEP_ORDER: `maybe` is neither true nor false" in wrong.err) == (2, True)
    assert options(run("config", "--json", env={"RERANK_EXPECT": "a@1\nb@2"}))["expect"][0] == ["a@1", "b@2"]
    assert options(run("config", "--json", env={"RERANK_TOP_N": ""}))["top_n"] == (None, "default")


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


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(data=st.dictionaries(NAMES, VALUES, max_size=5), role=st.sampled_from(Role))
def test_any_table_is_accepted_or_refused_with_a_config_error(data: dict[str, object], role: Role) -> None:
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


@settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(raw=st.binary(max_size=200) | st.text(alphabet="[]{}=\"'\n#a.1-:T+_\\u", max_size=80).map(str.encode))
def test_any_bytes_are_valid_toml_or_give_a_config_error(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(raw)
    try:
        assert read_file(path, Role.USER).data == tomllib.loads(raw.decode("utf-8-sig"))
    except ConfigError as error:
        assert str(path) in error.message  # noqa: PT017 likewise
