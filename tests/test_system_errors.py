"""Names that the system refuses: one error with a way out, whatever option or command looks them up first."""

from __future__ import annotations

import pytest

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
