"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.records import Body


def find_query(options: dict[str, Any], body: Body) -> str:
    """The query. Raises UsageError if there is none or two, or if it is blank."""
    query: str | None = options["query"]
    path: Path | None = options["query_file"]
    if query is not None and path is not None:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    if path is not None:
        query = read_query(path)
    if query is None:
        query = body.query
    if query is None:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    if not query.strip():
        raise UsageError("the query is blank", "a query needs at least one word")
    return query


def read_query(path: Path) -> str:
    """A query file's text without surrounding white space."""
    try:
        return path.read_bytes().decode("utf-8-sig").strip()
    except OSError as error:
        raise InputError(f"cannot read the query: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(f"the query is not UTF-8 (byte {error.start})", where=str(path)) from None
