"""What `rerank config --json` reports, for the tests of configuration."""

from __future__ import annotations

from conftest import Result


def options(result: Result) -> dict[str, tuple[object, str]]:
    """name -> (value, where the value comes from)."""
    assert result.code == 0, result.err
    return {name: (row["value"], row["source"]) for name, row in result.json["options"].items()}
