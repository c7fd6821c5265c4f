"""How many documents are handed out at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rerank_cli.records import Document

MAX_DOCUMENTS = 8192  # per chunk
MAX_TEXT = 8_000_000  # characters and bytes per chunk, roughly


def in_chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in lists that fit in memory."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text) + len(document.raw)
        if len(chunk) >= MAX_DOCUMENTS or size >= MAX_TEXT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def in_slices(documents: list[Document]) -> Iterator[list[Document]]:
    """A list of short documents in chunks."""
    for first in range(0, len(documents), MAX_DOCUMENTS):
        yield documents[first : first + MAX_DOCUMENTS]
