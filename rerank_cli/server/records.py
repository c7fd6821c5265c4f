"""What travels through the server: a call, the request in it, and the ranking of its documents.

`Adapter` is the type of the rows in `adapters.ADAPTERS`. Records only: nothing here reads, scores or speaks HTTP.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.records import Document, Failure, Hit, RequestOptions
    from rerank_cli.request import Api
    from rerank_cli.server.http_errors import HttpError
    from rerank_cli.settings import Limits


@dataclass(slots=True)
class Call:
    """One HTTP request on its way, for the log; never its texts."""

    id: str
    method: str
    path: str
    client: str
    adapter: Adapter | None = None  # of the path, then of the body; None: not a rerank path
    start: float = field(default_factory=time.perf_counter)
    route: str = "other"  # the label in metrics
    model: str = ""  # that was chosen; a label, too
    status: int = 0
    documents: int = 0
    queued: float = 0.0  # seconds
    scored: float = 0.0  # seconds


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """One request, whatever API it came by. `values` are the documents as sent, `documents` what is scored of them."""

    adapter: Adapter
    query: str
    options: RequestOptions
    values: list[Any]
    documents: list[Document]
    limits: Limits
    warnings: tuple[str, ...] = ()
    shortened: frozenset[int] = frozenset()  # indices of documents of which only a beginning is in `documents`
    strict: bool = False  # an empty document is refused; else it gets the lowest score
    queries: tuple[str, ...] = ()  # of each document, where they are not all `query`


@dataclass(frozen=True, slots=True)
class RerankResult:
    """The ranking that answers a request, before it is written as one API wants it."""

    request: RerankRequest
    request_id: str
    model: str
    hits: Sequence[Hit]
    tokens: int  # of all documents and of the query beside each of their windows
    computed_tokens: int  # likewise, equal documents counted once, as they are scored
    search_units: int
    warnings: tuple[str, ...]
    stages: tuple[dict[str, Any], ...] = ()  # what each did, as in `Meta.stages`
    context: str | None = None  # the block for a prompt, if it was asked for
    fallback: tuple[Failure, ...] = ()  # the models that failed before `model` scored


@dataclass(frozen=True, slots=True)
class Adapter:
    """All that differs between the APIs: how their clients write a request and read a response."""

    api: Api  # whose members a request has, once they have our names
    paths: tuple[str, ...]  # how its paths end
    response: Callable[[RerankResult], Any]  # the JSON value of a response
    error: Callable[[HttpError, str], dict[str, Any]]  # of an error response, from the error and the request's id
    headers: Callable[[RerankResult, Call], dict[str, str]] | None = None  # further headers of a response
    documents: str = "documents"  # the member that holds the documents
    label: str = ""  # in metrics, if not that of `api`
    keys: tuple[str, ...] = ()  # members that only its requests have, whatever their path
    header: tuple[str, str] | None = None  # likewise a header, and what its value begins with
    names: Mapping[str, str] = field(default_factory=dict)  # what it calls our members; `a.b` is b inside a
    defaults: Mapping[str, Any] = field(default_factory=dict)  # members that count where a request says nothing
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None  # a change of values, before all others
    by_body: bool = False  # requests of other APIs come by its paths, too
    objects: bool = True  # documents may be objects
    many_queries: bool = False  # each document may have a query of its own
    needs_model: bool = False  # a request without `model` is refused
    refuse_cut_query: bool = False  # where a long document is an error, so is a query that would be cut
    lenient: Adapter | None = None  # reads requests in its place unless the server is strict

    @property
    def name(self) -> str:
        """What metrics call it."""
        return self.label or self.api
