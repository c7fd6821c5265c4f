"""Whole files as documents: `--input-format files`. A document's id and raw bytes are its path."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.readers.input_stream import open_stream
from rerank_cli.readers.values import decode
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO


def read_files(names: Sequence[str], stdin: BinaryIO) -> Iterator[Document]:
    """One document per file, in the order given; `-` is stdin.

    Raises:
        InputError: a file that cannot be read or is not UTF-8 text.
    """
    source = Source("files", "file")
    for index, name in enumerate(names):
        stream = open_stream(name, stdin)
        try:
            text = decode(stream.whole(), stream.name)
        except InputError as exc:
            hint = "leave out files that are not text" if "UTF-8" in exc.message else exc.hint
            raise InputError(exc.message, hint) from exc
        finally:
            stream.close()
        raw = os.fsencode(name)
        yield Document(index, raw, text, source, raw.decode("utf-8", "replace"))
