"""How many documents there will be, for the progress bar: known once all are read, estimated by bytes before."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.compression import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.records import Document
    from rerank_cli.terminal import Progress


def with_total(
    chunks: Iterator[list[Document]], files: Sequence[str], advance: Progress, most: int | None = None
) -> Iterator[list[Document]]:
    """The chunks, read one ahead; the bar gets the total as far as it is known before each is scored.

    `most`: how many are scored at most (`--prefilter`).
    """
    size = size_of(files)
    limit = math.inf if most is None else most
    documents = read = 0
    before: list[Document] | None = None
    for chunk in chunks:
        documents += len(chunk)
        read += sum(len(document.raw) + 1 for document in chunk)
        if before is not None:
            if size and read:
                advance.expect(int(min(limit, max(documents, round(documents * size / read)))))
            yield before
        before = chunk
    if before is not None:
        advance.expect(int(min(limit, documents)))
        yield before


def size_of(files: Sequence[str]) -> int | None:
    """Bytes of plain files; None where their length says nothing, as for stdin, folders and compressed files."""
    sizes = []
    for name in files:
        path = Path(name)
        if name == "-" or name.lower().endswith((*SUFFIXES, ".parquet")) or not path.is_file():
            return None
        sizes.append(path.stat().st_size)
    return sum(sizes) or None
