"""rerank: put search results in the right order, from the command line or from Python.

The public API is small and resolved lazily, so that `import rerank_cli` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.version import __version__

if TYPE_CHECKING:
    from rerank_cli.api import Reranker
    from rerank_cli.records import Hit, Ranking

__all__ = ["Hit", "Ranking", "Reranker", "__version__"]

_HOMES = {"Reranker": "rerank_cli.api", "Hit": "rerank_cli.records", "Ranking": "rerank_cli.records"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rerank_cli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
