"""Names that the system refuses: one error with a way out, whatever option or command looks them up first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank_cli import lookup

LONG = "b" * 300
COMMANDS = (
    ("-q", "a", "-m", f"./{LONG}"),
    ("-q", "a", "-m", f"{LONG}/{LONG}"),
    ("-q", "a", "--config", LONG),
    ("-q", "a", "--qrels", LONG),
    ("-q", "a", "--cache-file", LONG),
    ("-q", "a", "-o", LONG),
    ("-q", "a", LONG),
    ("--query-file", LONG),
    ("models", "show", f"./{LONG}"),
    ("models", "convert", f"./{LONG}"),
    ("doctor", "-m", f"./{LONG}"),
    ("batch", LONG),
    ("batch", "--run", LONG),
    ("eval", LONG),
    ("compare", LONG, LONG),
    ("serve", "--keys-file", LONG),
)


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(c).replace(LONG, "LONG") for c in COMMANDS])
def test_a_name_that_is_too_long_is_refused_with_a_hint(run, command) -> None:
    found = run(*command, stdin=b"a document\n", env={"HF_HUB_OFFLINE": "1"})
    assert found.code in {2, 3, 4}, found.err
    assert "internal error" not in found.err
    assert "\nhint: " in found.err


def test_absent_is_what_is_not_there_and_not_what_cannot_be_looked_up(tmp_path: Path) -> None:
    """The same with every Python: from 3.14 on Path.exists is False for both."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    assert (lookup.exists(tmp_path), lookup.is_folder(tmp_path), lookup.is_file(tmp_path)) == (True, True, False)
    assert (lookup.is_folder(tmp_path / "file"), lookup.is_file(tmp_path / "file")) == (False, True)
    for name in ("nothing", "file/x", "loop", "gone", "a\0b"):
        assert not lookup.exists(tmp_path / name)
    for ask in (lookup.exists, lookup.is_file, lookup.is_folder):
        with pytest.raises(OSError, match="too long"):
            ask(tmp_path / LONG)


def test_a_folder_of_a_name_that_is_too_long_is_not_called_absent(run) -> None:
    found = run("-q", "a", "-m", f"./{LONG}", stdin=b"a document\n")
    assert (found.code, "File name too long" in found.err) == (3, True)


@pytest.mark.parametrize("depth", [700, 900, 1020, 3000, 20_000])
@pytest.mark.parametrize("end", ["", "closed"])
def test_json_nests_as_deep_with_every_python(run, tmp_path: Path, depth: int, end: str) -> None:
    """The parser's own limit is between 990 levels (3.11) and 65,000 (3.14)."""
    inner = "[" * depth + ("]" * depth + "}]" if end else "")
    (tmp_path / "a.json").write_text('[{"text": "one", "x": ' + inner)
    found = run("-q", "a", tmp_path / "a.json", "-f", "jsonl")
    if depth < 800 and end:
        assert json.loads(found.out)["text"] == "one"
    else:
        assert found.code == 3
        assert ("nested too deeply" if depth > 800 else "ends too early") in found.err


def test_deep_members_of_a_request_to_a_provider_are_refused(run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(f"extra = '{{\"a\": {'[' * 1200 + ']' * 1200}}}'\n")
    found = run("--config", tmp_path / "r.toml", "-q", "a", stdin=b"a document\n")
    assert (found.code, "not JSON" in found.err) == (2, True), found.err
