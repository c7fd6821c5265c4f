"""Options, requests and environment variables: which value applies, and which combinations are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

REQUEST = {"query": "kettle", "documents": ["a kettle", "tea"], "return_documents": False}


def test_a_request_may_omit_documents_from_the_response_and_a_flag_restores_them(run) -> None:
    line = json.dumps(REQUEST)
    for command, flag in (("--json", "--documents"), ("batch", "--return-documents")):
        assert b"a kettle" not in run(command, stdin=line).out
        assert b"a kettle" in run(command, flag, stdin=line).out
    other = json.dumps({**REQUEST, "return_documents": True})
    both = run("batch", stdin=f"{line}\n{other}\n").lines
    assert ["a kettle" in row for row in both] == [False, True]


@pytest.mark.parametrize(
    "option", [("--endpoint", "https://tei.example"), ("--max-units", "0"), ("--header", "X-A: b")]
)
def test_endpoint_options_are_refused_with_a_local_model(run, option) -> None:
    found = run("-q", "tea", *option, stdin="tea\n")
    assert (found.code, found.out) == (2, b"")
    assert f"{option[0]} belongs to a remote endpoint, and `builtin` is a local model" in found.err
    name = "RERANK_" + option[0].removeprefix("--").upper().replace("-", "_")
    assert run("-q", "tea", stdin="tea\n", env={name: option[1]}).code == 0, "a variable may wait for its model"


@pytest.mark.parametrize("option", [("--cache-mode", "ro"), ("--cache-path", "x.db")])
def test_cache_options_need_cache(run, option) -> None:
    found = run("-q", "tea", *option, stdin="tea\n")
    assert (found.code, f"{option[0]} needs --cache" in found.err) == (2, True)


def test_depth_needs_a_run(run) -> None:
    assert run("batch", "--depth", "3", stdin=json.dumps(REQUEST)).code == 2


def test_an_invalid_environment_variable_is_named_rather_than_its_flag(run, tmp_path: Path) -> None:
    for name, value, words in [
        ("RERANK_TOP_N", "ten", "RERANK_TOP_N: `ten` is not a whole number"),
        ("RERANK_FORMAT", "jsn", "RERANK_FORMAT: unknown value `jsn`"),
        ("RERANK_THREADS", "5000", "RERANK_THREADS: `5000` is too large"),
    ]:
        found = run("-q", "tea", stdin="tea\n", env={name: value})
        assert (found.code, words in found.err) == (2, True), found.err
    (tmp_path / "a.toml").write_text("threads = 5000\n")
    found = run("-q", "tea", "--config", tmp_path / "a.toml", stdin="tea\n")
    assert (found.code, "a.toml" in found.err, "threads: 5000 is too large" in found.err) == (2, True, True)


def test_the_extension_of_an_output_overrides_a_configured_format(run, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert run("-q", "tea", "-o", target, stdin="tea\n", env={"RERANK_FORMAT": "table"}).code == 0
    assert json.loads(target.read_text())["results"]
    assert run("-q", "tea", "-o", target, "-f", "ids", stdin="tea\n").code == 0
    assert target.read_text() == "0\n"


@pytest.mark.parametrize("form", ["csv", "ids", "trec"])
def test_explain_gives_a_note_in_formats_that_cannot_show_it(run, form) -> None:
    found = run("-q", "tea", "--explain", "-f", form, stdin="tea\n")
    assert (found.code, f"--explain has no effect on {form}" in found.err) == (0, True)


def test_skipped_blank_lines_are_reported_with_keep_order(run) -> None:
    found = run("-q", "tea", "--keep-order", "-f", "tsv", stdin="boiling water\n\nkettle for tea\n")
    assert "blank lines are left out (1)" in found.err
    assert "blank" not in run("-q", "tea", stdin="boiling water\n\nkettle for tea\n").err
