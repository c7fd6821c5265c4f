"""Search units: how Cohere, and servers that answer like it, count what a request costs; amounts of money as text.

It knows model names and token counts: no providers, prices, requests or replies.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENTS_PER_UNIT = 100
DEFAULT_CHUNK = 500  # tokens of a billing chunk for unknown model names: the rule of v3.5
# Billing chunk in tokens by model name, first match wins. v4's is undocumented: v3.5's is the upper estimate.
CHUNKS: tuple[tuple[str, int], ...] = (
    (r"rerank-v?3[.-]5", 500),
    (r"rerank-(v3|english-v3|multilingual-v3)", 4096),
    (r"rerank", 500),
)


def chunk_of(model: str) -> int:
    """The billing chunk of a model in tokens."""
    return next((size for pattern, size in CHUNKS if re.search(pattern, model.lower())), DEFAULT_CHUNK)


def chunks_of(query_tokens: int, document_tokens: int, chunk: int) -> int:
    """Billing chunks of one document: the query is repeated in each (an upper estimate)."""
    if query_tokens + document_tokens <= chunk:
        return 1
    return -(-document_tokens // max(1, chunk - query_tokens))


def search_units(query_tokens: int, document_tokens: Iterable[int], chunk: int) -> int:
    """Search units of one request: one per 100 chunks, rounded up."""
    chunks = sum(chunks_of(query_tokens, tokens, chunk) for tokens in document_tokens)
    return max(1, -(-chunks // DOCUMENTS_PER_UNIT))


def digits(amount: float) -> str:
    """An amount of money without an exponent, four digits of it significant: `0.00001056`."""
    return f"{Decimal(f'{amount:.4g}'):,f}"
