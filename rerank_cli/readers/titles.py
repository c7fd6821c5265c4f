"""The note on documents in BEIR's layout, whose title and text are scored together wherever a file holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli import nesting
from rerank_cli.fields import is_beir, title_and_text

if TYPE_CHECKING:
    from rerank_cli.records import Document
    from rerank_cli.report import Report

NOTE = "title and text are scored together, as BEIR does (--text-field text scores the text alone)"


def note_titles(document: Document, report: Report) -> None:
    """A note if the text of a document is its title and text joined."""
    if document.source.kind == "row":
        joined = {"_id", "title", "text"} <= set(document.source.columns)
    else:
        joined = document.source.kind == "json" and _is_joined(document)
    if joined:
        report.note(NOTE)


def _is_joined(document: Document) -> bool:
    if b'"_id"' not in document.raw or b'"title"' not in document.raw:
        return False
    try:
        value = nesting.loads(document.raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and is_beir(value) and document.text == title_and_text(value)
