"""Reads documents through `open_documents` over a real Terminal of byte streams, to the end.

`zstd` is the standard library's module, or its backport before Python 3.14.
"""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import dataclass
from typing import Any

from rerank_cli.readers import open_documents
from rerank_cli.readers.delimited import allow_long_fields
from rerank_cli.readers.values import exact
from rerank_cli.records import Document, RequestOptions
from rerank_cli.report import Report
from rerank_cli.settings import Decoding, FieldSettings, InputSettings
from rerank_cli.terminal import Terminal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Reading", "load_value", "read", "zstd"]
DECODING_KEYS = ("encoding", "max_line", "max_unpacked")
FIELD_KEYS = (
    "rank_fields",
    "field_format",
    "on_missing",
    "text_field",
    "id_fields",
    "prior_field",
    "explicit_text_field",
)


@dataclass
class Reading:
    body: RequestOptions
    documents: list[Document]
    report: Report
    chunks: list[int]

    @property
    def texts(self) -> list[str]:
        return [document.text for document in self.documents]

    @property
    def raws(self) -> list[bytes]:
        return [document.raw for document in self.documents]

    @property
    def ids(self) -> list[str | None]:
        return [document.id for document in self.documents]


def read(data: bytes = b"", *files: str, tty: bool = False, stdin_taken: bool = False, **settings: Any) -> Reading:
    """All documents of `files`, or of stdin holding `data`; the settings are those of its three records."""
    fields = FieldSettings(**{key: settings.pop(key) for key in FIELD_KEYS if key in settings})
    terminal = Terminal(io.BytesIO(data), io.BytesIO(), io.StringIO(), stdin_tty=tty)
    report = Report()
    decoding = Decoding(**{key: settings.pop(key) for key in DECODING_KEYS if key in settings})
    inputs = InputSettings(decoding=decoding, files=tuple(map(str, files)), fields=fields, **settings)
    stream = open_documents(inputs, terminal, report, stdin_taken=stdin_taken)
    chunks = list(stream.chunks)
    documents = [document for chunk in chunks for document in chunk]
    assert [document.index for document in documents] == list(range(len(documents)))
    return Reading(stream.body, documents, report, [len(chunk) for chunk in chunks])


def load_value(document: Document) -> Any:
    """The value of a document read again from its raw bytes: what the writers can still know of it.

    An object or string for `json`, strings by column for `row`, a string for `line`, `{"id": path}` for `file`.
    """
    kind, raw, source = document.source.kind, document.raw, document.source
    if kind == "json":
        return exact(raw.decode(), source.name)
    if kind == "row":
        allow_long_fields()
        lines = (line + "\n" for line in raw.decode().split("\n"))
        row = next(csv.reader(lines, delimiter=source.delimiter, strict=True))
        return dict(zip(source.columns, row, strict=True))
    if kind == "file":
        return {"id": document.id}
    return raw.decode("utf-8", "replace").removesuffix("\r")
