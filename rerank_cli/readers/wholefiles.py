"""Whole files as documents: `--input-format files`. A document's id and raw bytes are its path.

Files that cannot be read as text are left out and counted: one of them must not end `find … | xargs rerank`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rerank_cli.compression import without_suffix
from rerank_cli.errors import InputError
from rerank_cli.readers.binary import LOOK, holds_nul
from rerank_cli.readers.htmltext import declared_encoding, html_text, is_html
from rerank_cli.readers.input_stream import open_stream
from rerank_cli.readers.values import decode
from rerank_cli.records import Document, Source
from rerank_cli.settings import DECODING, Decoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from rerank_cli.report import Report

NOT_TEXT = ("this is not text: it holds NUL", "leave it out")


def read_files(
    names: Sequence[str], stdin: BinaryIO, report: Report, decoding: Decoding = DECODING
) -> Iterator[Document]:
    """One document per file, in the order given; `-` is stdin. Of HTML only its text counts.

    Raises:
        InputError: none of the files can be read as text.
    """
    source = Source("files", "file")
    index, errors = 0, []
    for name in names:
        try:
            text = read_text(name, stdin, decoding)
        except InputError as error:
            errors.append(error)
            continue
        raw = os.fsencode(name)
        yield Document(index, raw, text, source, raw.decode("utf-8", "replace"))
        index += 1
    if errors and not index:
        raise errors[0]
    if errors:
        left = "is left out" if len(errors) == 1 else "are left out, the first"
        hint = f" ({errors[0].hint})" if errors[0].hint else ""
        report.warn(f"{len(errors)} of {len(names)} files {left}: {errors[0].message}{hint}")


def read_text(name: str, stdin: BinaryIO, decoding: Decoding) -> str:
    """The text of one file. Raises InputError for a file that cannot be opened or holds no text."""
    stream = open_stream(name, stdin, decoding)
    try:
        if b"\0" in stream.sample(LOOK)[0]:  # before gigabytes of it are read
            raise InputError(*NOT_TEXT, stream.name)
        data = stream.whole()
    finally:
        stream.close()
    plain = without_suffix(name)
    text = _declared(data) if decoding.encoding is None and is_html(plain, data[:4096].decode("latin-1")) else None
    text = decode(data, stream.name) if text is None else text
    if holds_nul(text):
        raise InputError(*NOT_TEXT, stream.name)
    return html_text(text) if is_html(plain, text) else text


def _declared(page: bytes) -> str | None:
    """A page in the encoding that it says it has; None if that is not known or wrong."""
    try:
        return page.decode(declared_encoding(page) or "utf-8-sig").removeprefix("\ufeff")
    except (LookupError, ValueError):
        return None
