"""Whole files as documents: `--input-format files`. A document's id and raw bytes are its path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.readers.input_stream import open_feed
from rerank_cli.readers.values import decode
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO


def read_files(names: Sequence[str], stdin: BinaryIO) -> Iterator[Document]:
    """One document a file, in the order given; `-` is stdin.

    Raises:
        InputError: a file that cannot be read or is not UTF-8 text.
    """
    source = Source("files", "file")
    for index, name in enumerate(names):
        feed = open_feed(name, stdin)
        try:
            text = decode(feed.whole(), feed.name)
        except InputError as exc:
            hint = "leave files out that are no text" if "UTF-8" in exc.message else exc.hint
            raise InputError(exc.message, hint) from exc
        finally:
            feed.close()
        raw = os.fsencode(name)
        yield Document(index, raw, text, source, raw.decode("utf-8", "replace"))
