"""Plain lines: the original lines in their new order, or only the ids.

A record ends with a newline, with `-z` with NUL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.writers.members import decode_string, one_line
from rerank_cli.writers.results import blocks_of, id_of, utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.records import Document, Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings


def blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """Original bytes: lines, rows and paths as they were, JSON objects on one line, JSON strings as their text."""
    end = b"\0" if settings.null else b"\n"
    for hits in blocks_of(ranking.hits):
        if {hit[3][3].kind for hit in hits} <= {"line", "row", "file"}:
            yield end.join([hit[3][1] for hit in hits]) + end
        else:
            yield end.join([line(hit[3], settings, report) for hit in hits]) + end


def line(document: Document, settings: OutputSettings, report: Report) -> bytes:
    """One record without its end."""
    if document.source.kind != "json":
        return document.raw
    flat = one_line(document.raw)
    return separable(decode_string(flat), settings, report) if flat.startswith(b'"') else flat


def id_blocks(ranking: Ranking, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """The id of each hit; the index of those without, counted."""
    end = b"\0" if settings.null else b"\n"
    for hits in blocks_of(ranking.hits):
        names = [id_of(hit[3]) for hit in hits]
        report.count("missing_id", names.count(None))
        shown = [
            b"%d" % hit[0] if name is None else separable(name, settings, report)
            for hit, name in zip(hits, names, strict=True)
        ]
        yield end.join(shown) + end


def separable(text: str, settings: OutputSettings, report: Report) -> bytes:
    r"""Text that does not break records apart: newlines written as `\n`, with a note, unless NUL ends the records."""
    if settings.null:
        return utf8(text.replace("\0", "\ufffd"))
    if "\n" in text or "\r" in text:
        report.note("line breaks inside documents are written as `\\n`; to keep them use `-z` or `-f jsonl`")
        text = text.replace("\r", "\\r").replace("\n", "\\n")
    return utf8(text)
