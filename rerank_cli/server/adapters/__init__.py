"""The APIs that the server speaks, one row of `ADAPTERS` each, and which of them a request belongs to.

Paths count by how they end, because SDKs append `v1/rerank` to whatever base URL they are given. Where several APIs
share a path, members or a header that only one of them has decide. Which members our own requests have is a matter of
`rerank_cli.request`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rerank_cli.server.adapters.cohere import INFINITY, JINA, V1, V2, VLLM
from rerank_cli.server.adapters.dashscope import DASHSCOPE
from rerank_cli.server.adapters.mixedbread import MIXEDBREAD
from rerank_cli.server.adapters.nvidia import NVIDIA
from rerank_cli.server.adapters.pinecone import PINECONE
from rerank_cli.server.adapters.score import SCORE
from rerank_cli.server.adapters.tei import TEI
from rerank_cli.server.adapters.voyage import VOYAGE
from rerank_cli.server.adapters.weaviate import WEAVIATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.server.records import Adapter

__all__ = ["ADAPTERS", "JINA", "adapter_of_body", "adapter_of_path", "plain_path"]

# The first whose path fits is taken: every path that ends with `/v2/rerank` ends with `/rerank` as well. Of those that
# are recognised by their members, the first whose member a body has: `top_k` is Mixedbread's as well as Voyage's.
ADAPTERS: tuple[Adapter, ...] = (
    INFINITY, VLLM, DASHSCOPE, NVIDIA, SCORE, PINECONE, TEI, MIXEDBREAD, WEAVIATE, VOYAGE, V2, V1, JINA,
)  # fmt: skip
SLASHES = re.compile("//+")  # SDKs join a base URL that ends with one
ABSOLUTE = re.compile("^https?://[^/]*", re.IGNORECASE)  # as proxies send it


def plain_path(target: str) -> str:
    """The path of a request's target, without scheme, host and needless slashes."""
    return SLASHES.sub("/", ABSOLUTE.sub("", target)).rstrip("/") or "/"


def adapter_of_path(path: str) -> Adapter | None:
    """The API that a path belongs to; None if it is not a rerank path."""
    return next((adapter for adapter in ADAPTERS if adapter.paths and path.endswith(adapter.paths)), None)


def adapter_of_body(
    members: Mapping[str, Any], headers: Mapping[str, str], of_path: Adapter, *, strict: bool
) -> Adapter:
    """The API that a request belongs to, by what it holds.

    A body with `documents` on Cohere's v2 path, if strict also on its v1 path, is Cohere's whatever else it holds.
    """
    documents = members.get("documents") is not None
    cohere = documents and of_path.lenient is not None and (strict or of_path.api == "v2")
    if cohere or not of_path.by_body:
        return of_path
    own = (adapter for adapter in ADAPTERS if _has_header(headers, adapter) or _has_key(members, adapter, documents))
    return next(own, of_path)


def _has_header(headers: Mapping[str, str], adapter: Adapter) -> bool:
    name, value = adapter.header or ("", "")
    return name in headers and headers[name].startswith(value)


def _has_key(members: Mapping[str, Any], adapter: Adapter, documents: bool) -> bool:
    """Whether a body has a member that shows the API; beside `documents`, `texts: true` is not one."""
    for key in adapter.keys:
        holds_documents = key == adapter.documents or adapter.names.get(key) == adapter.documents
        value = members.get(key)
        if isinstance(value, list) if documents and holds_documents else value is not None:
            return True
    return False
