"""Every hint about an input works when it is followed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from free_scorer import FreeScorer
from readers_support import read

from rerank_cli.errors import InputError


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("column", ["Title, long", " padded", "a.b", "ünï", "it's", "--x", "long " * 30])
@pytest.mark.parametrize("option", [(), ("--rank-fields", "foo"), ("--text-field", "foo")])
def test_the_hint_for_a_column_works(run, tmp_path: Path, column: str, option: tuple[str, ...]) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({column: "1 some words", "n": 1}) + "\n")
    result = run("-q", "q", *option, "t.jsonl")
    assert result.code == 3
    hint = result.err.partition("hint: ")[2]
    if "did you mean `" in hint:
        proposed = shlex.split(hint.split("`")[1])
        assert run("-q", "q", *proposed, "t.jsonl").code == 0


def test_the_hint_for_a_folder_is_for_every_command(run, tmp_path: Path) -> None:
    (tmp_path / "q").write_text("1 0 a 1\n")
    for argv in (("-q", "q", "."), ("batch", "."), ("eval", "--qrels", "q", ".")):
        result = run(*argv)
        assert "hint: name its files, as in `./*`" in result.err
        assert "--input-format" not in result.err


def test_binary_input_errors_are_input_errors() -> None:
    with pytest.raises(InputError):
        read(b"PK\x03\x04" + b"\0" * 40)
