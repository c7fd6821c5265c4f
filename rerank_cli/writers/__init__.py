"""Rankings to bytes: which format, and the one call that writes it.

Each format is a module that turns a ranking into blocks of bytes; `output` decides where they go. Only the table knows
Rich.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.settings import EXTENSIONS
from rerank_cli.writers.output import ClosedPipe, is_stdout, open_output

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from rerank_cli.records import Hit, Kind, Ranking
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings
    from rerank_cli.terminal import Terminal
    from rerank_cli.writers.output import Guard

__all__ = ["ClosedPipe", "choose_format", "open_output", "ranking_blocks", "write_ranking"]

# How bytes for a terminal are made harmless; the table has done so itself, and its colours must pass.
_GUARDS: dict[str, Guard] = {"json": "json", "jsonl": "json", "table": "none"}


def write_ranking(ranking: Ranking, settings: OutputSettings, terminal: Terminal, report: Report) -> None:
    """Write a ranking where and how the settings say; counts what was replaced or missing in the report.

    Raises:
        ClosedPipe: Nobody reads stdout any more: end quietly with 0.
        OutputError: The output cannot be written.
        InputError: The format cannot hold the documents (white space in an id of a TREC run).
    """
    from rerank_cli.writers.results import sources_of

    sources = sources_of(ranking)
    kinds = {source.kind for source in sources}
    form = choose_format(settings, terminal, kinds, {source.delimiter for source in sources})
    if report.counts["invalid_utf8"] and settings.documents and _alters(form, ranking.hits, kinds):
        report.note("invalid UTF-8 is written as replacement characters, too; `-f lines` writes the bytes as they were")
    if settings.explain and form not in {"json", "jsonl", "table"}:
        report.note(f"--explain shows nothing in {form}: json, jsonl and the table have it")
    with open_output(settings.output, terminal, _GUARDS.get(form, "text")) as write:
        for block in ranking_blocks(form, ranking, settings, terminal, report):
            write(block)


def _alters(form: str, hits: Sequence[Hit], kinds: Collection[Kind]) -> bool:
    """Whether a format for other programs writes lines that are no UTF-8 as text; TSV of lines has their own bytes."""
    if form not in {"json", "jsonl", "csv", "tsv", "markdown"} or (form == "tsv" and set(kinds) == {"line"}):
        return False
    return any("\ufffd" in hit.document.text for hit in hits if hit.document.source.kind == "line")


def choose_format(
    settings: OutputSettings, terminal: Terminal, kinds: Collection[Kind], delimiters: Collection[str] = ()
) -> str:
    """The format meant by `auto`: by the extension of `-o`; a table on a terminal; else what the documents were.

    Args:
        settings: The format asked for and the file.
        terminal: Whether stdout is one.
        kinds: The kinds of all documents.
        delimiters: Of all rows, to tell TSV from CSV.
    """
    if settings.format != "auto":
        return settings.format
    if settings.output is not None and not is_stdout(settings.output):
        by_name = EXTENSIONS.get(settings.output.suffix.lower())
        if by_name:
            return by_name
    elif terminal.stdout_tty:
        return "table"
    if set(kinds) == {"line"}:
        return "lines"
    if set(kinds) == {"row"}:
        return "tsv" if set(delimiters) == {"\t"} else "csv"
    return "jsonl"


def ranking_blocks(
    form: str, ranking: Ranking, settings: OutputSettings, terminal: Terminal, report: Report
) -> Iterator[bytes]:
    """The bytes of a ranking in one format, in blocks; formats are imported when used."""
    if form == "jsonl":
        from rerank_cli.writers import jsonl

        return jsonl.blocks(ranking, settings, report)
    if form == "json":
        from rerank_cli.writers import envelope

        return envelope.blocks(ranking, settings)
    if form in {"lines", "ids"}:
        from rerank_cli.writers import lines

        return (lines.blocks if form == "lines" else lines.id_blocks)(ranking, settings, report)
    if form in {"csv", "tsv"}:
        from rerank_cli.writers import separated

        return separated.blocks(ranking, "\t" if form == "tsv" else ",", settings, report)
    if form == "trec":
        from rerank_cli.writers import trec

        return trec.blocks(ranking, settings, report)
    if form == "markdown":
        from rerank_cli.writers import markdown

        return markdown.blocks(ranking, settings)
    from rerank_cli.writers import table

    return table.blocks(ranking, settings, terminal)
