"""Plain lines: the original lines in their new order, or only the ids.

A record ends with a newline, with `-z` with NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.hits import column
from rerank_cli.text import to_utf8
from rerank_cli.writers.members import decode_string, one_line
from rerank_cli.writers.results import blocks_of, id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.records import Document, Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings


def blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """Original bytes: lines, rows and paths as they were, JSON objects on one line, JSON strings as their text."""
    end = b"\0" if settings.null else b"\n"
    for hits in blocks_of(ranking.hits):
        if {source.kind for source in column(hits, "source")} <= {"line", "row"}:
            yield end.join(column(hits, "raw")) + end
        else:
            yield end.join([line(hit.document, settings, report) for hit in hits]) + end


def line(document: Document, settings: OutputSettings, report: Report) -> bytes:
    """One record without its end."""
    if document.source.kind == "file":
        return path_of(document, settings, report)
    if document.source.kind != "json":
        return document.raw
    flat = one_line(document.raw)
    return in_one_record(decode_string(flat), settings, report) if flat.startswith(b'"') else flat


def id_blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """The id of each hit; the index of those without, counted."""
    end = b"\0" if settings.null else b"\n"
    for hits in blocks_of(ranking.hits):
        yield end.join([id_bytes(hit.index, hit.document, settings, report) for hit in hits]) + end


def id_bytes(index: int, document: Document, settings: OutputSettings, report: Report) -> bytes:
    """One id, or path, without its end."""
    if document.source.kind == "file":
        return path_of(document, settings, report)
    name = id_of(document)
    if name is None:
        report.count("missing_id")
        return b"%d" % index
    return in_one_record(name, settings, report)


def path_of(document: Document, settings: OutputSettings, report: Report) -> bytes:
    """The path of a whole file: its own bytes, UTF-8 or not, unless a line break in it would split the record."""
    raw = document.raw
    broken = not settings.null and (b"\n" in raw or b"\r" in raw)
    return in_one_record(raw.decode("utf-8", "replace"), settings, report) if broken else raw


def in_one_record(text: str, settings: OutputSettings, report: Report) -> bytes:
    r"""Text that does not split a record: newlines written as `\n`, with a note, unless NUL ends the records."""
    if settings.null:
        return to_utf8(text.replace("\0", "\ufffd"))
    if "\n" in text or "\r" in text:
        report.note("line breaks inside documents are written as `\\n`; `-f jsonl` keeps them")
        text = text.replace("\r", "\\r").replace("\n", "\\n")
    return to_utf8(text)
