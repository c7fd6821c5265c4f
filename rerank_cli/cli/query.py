"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.text import is_blank, well_formed

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.records import RequestOptions
    from rerank_cli.terminal import Terminal


def query_option(query: str | None, file: Path | None, terminal: Terminal, encoding: str | None) -> str | None:
    """The query of --query or --query-file (`-` is stdin). Raises UsageError if both are given."""
    if file is None:
        return query
    if query is not None:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    from rerank_cli.readers import read_query

    return read_query(str(file), terminal, encoding)


def find_query(option: str | None, body: RequestOptions) -> str:
    """The query: the option's, else the request's. Raises UsageError if there is none or it is blank."""
    query = body.query if option is None else option
    if query is None:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    if is_blank(query):
        raise UsageError("the query is blank", "a query needs at least one word")
    return well_formed(query)
