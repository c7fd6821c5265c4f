"""Headers of a response whose body has no place for what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.server.json_body import dump

if TYPE_CHECKING:
    from rerank_cli.server.records import Call, RerankResult


def warning_headers(result: RerankResult, _call: Call) -> dict[str, str]:
    """The warnings as a JSON array."""
    if not result.warnings:
        return {}
    return {"x-rerank-warnings": dump(result.warnings).decode().encode("ascii", "replace").decode()}
