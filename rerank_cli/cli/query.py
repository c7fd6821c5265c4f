"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.text import is_blank, well_formed

if TYPE_CHECKING:
    from rerank_cli.records import RequestOptions
    from rerank_cli.terminal import Terminal


def query_option(options: dict[str, Any], terminal: Terminal) -> str | None:
    """The query of --query or --query-file (`-` is stdin). Raises UsageError if both are given."""
    if options["query_file"] is None:
        query: str | None = options["query"]
        return query
    if options["query"] is not None:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    from rerank_cli.readers import read_query

    return read_query(str(options["query_file"]), terminal)


def find_query(told: str | None, body: RequestOptions) -> str:
    """The query: the one told, else the request's. Raises UsageError if there is none or it is blank."""
    query = body.query if told is None else told
    if query is None:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    if is_blank(query):
        raise UsageError("the query is blank", "a query needs at least one word")
    return well_formed(query)
