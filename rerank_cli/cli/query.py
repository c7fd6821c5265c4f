"""Which query is asked: flag, file or request body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from rerank_cli.records import Body
    from rerank_cli.terminal import Terminal


def told_query(options: dict[str, Any], terminal: Terminal) -> str | None:
    """The query of --query or --query-file (`-` is stdin). Raises UsageError if both are given."""
    if options["query_file"] is None:
        query: str | None = options["query"]
        return query
    if options["query"] is not None:
        raise UsageError("--query and --query-file exclude each other", "give one of them")
    from rerank_cli.readers import read_query

    return read_query(str(options["query_file"]), terminal)


def find_query(told: str | None, body: Body) -> str:
    """The query: the one told, else the request's. Raises UsageError if there is none or it is blank."""
    query = body.query if told is None else told
    if query is None:
        raise UsageError("no query", 'give one: `rerank --query "…"`, or a request with a `query` member')
    if not query.strip():
        raise UsageError("the query is blank", "a query needs at least one word")
    return well_formed(query)


def well_formed(text: str) -> str:
    """Text without lone surrogates: bytes that the locale could not decode are read as UTF-8, else replaced."""
    if text.isascii():
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a JSON request may hold halves of pairs that were never bytes
        raw = text.encode("utf-8", "replace")
    return raw.decode("utf-8", "replace")
