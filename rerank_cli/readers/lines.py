"""Plain records: lines, or NUL-terminated ones. Any bytes are accepted; invalid UTF-8 is replaced for scoring only.

A line's raw bytes keep a trailing carriage return, so that output is the input reordered; its text does not.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from rerank_cli.fields import refuse_fields
from rerank_cli.readers.chunks import in_slices
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

_new: Callable[..., Document] = partial(tuple.__new__, Document)  # skips the defaults: half the time of Document(...)


def read_lines(
    stream: InputStream, report: Report, fields: FieldSettings, start: int, *, null: bool = False
) -> Iterator[list[Document]]:
    """Chunks of documents, numbered from `start`; blank records are skipped."""
    refuse_fields(fields, stream.name, "a plain line")
    separator = b"\0" if null else b"\n"
    source = Source(stream.name, "line")
    for block in stream.records(separator):
        raws = block.split(separator)
        texts = _texts(block, raws, report, null=null)
        numbers = count(start)
        documents = [
            _new((next(numbers), raw, text, source, None, 0, None))
            for raw, text in zip(raws, texts, strict=True)
            if text and not text.isspace()
        ]
        start += len(documents)
        report.count("blank_lines", len(raws) - len(documents))
        yield from in_slices(documents)


def _texts(block: bytes, raws: list[bytes], report: Report, *, null: bool) -> list[str]:
    try:
        text = block.decode()
    except UnicodeDecodeError:
        report.count("invalid_utf8", sum(map(_invalid, raws)))
        texts = [raw.decode("utf-8", "replace") for raw in raws]
    else:
        texts = text.split("\0" if null else "\n")
    return texts if null or b"\r" not in block else [line.removesuffix("\r") for line in texts]


def _invalid(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return True
    return False
