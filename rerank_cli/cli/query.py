"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import UsageError
from rerank_cli.text import well_formed

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.records import RequestOptions
    from rerank_cli.settings import Decoding
    from rerank_cli.terminal import Terminal


def query_of_file(file: Path, query: str | None, terminal: Terminal, decoding: Decoding) -> str:
    """The query of --query-file (`-` is stdin). Raises UsageError if --query is given too."""
    if query is not None:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    from rerank_cli.readers import read_query

    return read_query(str(file), terminal, decoding)


def find_query(option: str | None, body: RequestOptions) -> str:
    """The query: the option's, else the request's. Raises UsageError if there is none or it is blank."""
    query = body.query if option is None else option
    if query is None:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    if not query.strip():
        raise UsageError("the query is blank", "a query needs at least one word")
    return well_formed(query)
