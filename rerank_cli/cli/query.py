"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.text import well_formed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rerank_cli.records import Queries, RequestOptions
    from rerank_cli.settings import Decoding
    from rerank_cli.terminal import Terminal


def query_of_file(file: Path, query: Sequence[str], terminal: Terminal, decoding: Decoding) -> tuple[str, ...]:
    """The query of --query-file (`-` is stdin). Raises UsageError if --query is given too."""
    if query:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    from rerank_cli.readers import read_query

    return (read_query(str(file), terminal, decoding),)


def find_query(options: Sequence[str], body: RequestOptions) -> Queries:
    """The query, or several different ones: the options', else the request's.

    Raises UsageError if there is none or one is blank.
    """
    queries = options or ((body.query,) if isinstance(body.query, str) else body.query or ())
    if not queries:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    for query in queries:
        if not query.strip():
            raise UsageError("the query is blank", "a query needs at least one word")
    found = tuple(dict.fromkeys(map(well_formed, queries)))
    return found if len(found) > 1 else found[0]
