"""Reports as bytes: sections of rows as aligned text or Markdown, records as CSV or JSON.

Its callers choose what a section says; this module lays it out and sanitizes text of users.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.text import escape_line, on_one_line, shortened
from rerank_cli.writers.output import open_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rerank_cli.terminal import Terminal

MAX_CELL = 72  # characters of a query's text in a table


class Section(NamedTuple):
    """A titled table; the first `names` columns are text, the rest numbers."""

    title: str
    headers: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    names: int = 1


def text(sections: Sequence[Section]) -> str:
    """Aligned plain text: names to the left, numbers to the right."""
    return "\n".join(_aligned(section) for section in sections if section.rows)


def _aligned(section: Section) -> str:
    rows = [list(map(shown, section.headers)), *([shown(cell) for cell in row] for row in section.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(section.headers))]
    lines = [f"{escape_line(section.title)}\n"] if section.title else []
    for row in rows:
        cells = (
            cell.ljust(width) if column < section.names else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def shown(cell: str) -> str:
    """A cell on one line of limited length."""
    return shortened(escape_line(on_one_line(cell)), MAX_CELL)


def markdown(sections: Sequence[Section]) -> str:
    """GitHub's tables under headings, as a CI job summary shows them."""
    from rerank_cli.writers.markdown import escaped

    parts = []
    for section in (section for section in sections if section.rows):
        alignment = ["---" if column < section.names else "---:" for column in range(len(section.headers))]
        rows = [section.headers, alignment, *([escaped(cell) for cell in row] for row in section.rows)]
        table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
        parts.append(f"### {escaped(section.title)}\n\n{table}" if section.title else table)
    return "\n".join(parts)


def csv_rows(records: Sequence[Mapping[str, Any]]) -> str:
    """Records with the same keys as CSV with a header; None is an empty cell, numbers keep all digits."""
    out = io.StringIO()
    if records:
        writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return out.getvalue()


def json_text(value: Any) -> str:
    """One JSON object, laid out."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def write_report(report: str, output: Path | None, terminal: Terminal, *, as_json: bool) -> None:
    """Write a finished report to a file or to stdout. Raises OutputError."""
    with open_output(output, terminal, "json" if as_json else "text") as write:
        write(report.encode("utf-8", "replace"))


def number(value: float | None, *, sign: bool = False) -> str:
    """Four digits, as papers print them; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:+.4f}" if sign else f"{value:.4f}"
