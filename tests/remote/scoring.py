"""Scores a few pairs over one endpoint, without retries unless asked for."""

from __future__ import annotations

from typing import Any

from remote.loopback import as_json

from rerank_cli.records import Pair, Score
from rerank_cli.report import Report
from rerank_cli.scorers.remote import open_remote
from rerank_cli.settings import Limits, ModelSettings, RemoteSettings

KEY = "sk-very-secret-0123456789"
ENV = {f"{name}_API_KEY": KEY for name in ("CO", "JINA", "PINECONE", "TEI", "VOYAGE")}
PAIRS = [
    Pair("reset the router", text) for text in ("the router is reset by a pin", "cats", "the office opens at nine")
]
HTML = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<!DOCTYPE html><html><body>Please sign in</body></html>")


def results(*items: tuple[int, Any], **more: Any) -> tuple[int, dict[str, str], bytes]:
    """A reply of Cohere's shape with these indexes and scores."""
    return as_json({"results": [{"index": i, "relevance_score": s} for i, s in items], **more})


def open_at(url: str, reference: str = "cohere:rerank-v3.5", report: Report | None = None, **remote: Any) -> Any:
    """A scorer for an endpoint that has a key; retries, if any, follow quickly."""
    settings = RemoteSettings(endpoint=url, **{"retries": 0, "max_wait_s": 0.05, **remote})
    return open_remote(reference, ModelSettings(remote=settings), ENV, report or Report())


def score(
    url: str,
    pairs: list[Pair] = PAIRS,
    reference: str = "cohere:rerank-v3.5",
    limits: Limits | None = None,
    report: Report | None = None,
    **remote: Any,
) -> list[Score]:
    """Scores of pairs, from a scorer that is closed again."""
    scorer = open_at(url, reference, report, **remote)
    try:
        return scorer.score(pairs, limits or Limits())
    finally:
        scorer.close()
