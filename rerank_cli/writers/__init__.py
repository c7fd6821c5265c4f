"""Rankings to bytes: which format, and the one call that writes it.

Each format is a module that turns a ranking into blocks of bytes; `output` decides where they go. Only the table knows
Rich.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.compression import extension_of
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


class Format(NamedTuple):
    """What holds of an output format; `ranking_blocks` says which module writes it."""

    guard: Guard = "text"  # how bytes for a terminal are sanitized; the table has done so itself, its colours must pass
    explains: bool = False  # it shows what --explain adds
    marks: bool = False  # it shows highlights
    rewrites: bool = False  # it is for other programs and writes lines as text: invalid UTF-8 is replaced


FORMATS: dict[str, Format] = {
    "table": Format("none", explains=True, marks=True),
    "json": Format("json", explains=True, marks=True, rewrites=True),
    "jsonl": Format("json", explains=True, marks=True, rewrites=True),
    "lines": Format(),
    "ids": Format(),
    "csv": Format(rewrites=True),
    "tsv": Format(rewrites=True),
    "trec": Format(),
    "markdown": Format(marks=True, rewrites=True),
    "context": Format(rewrites=True),
}


def write_ranking(ranking: Ranking, settings: OutputSettings, terminal: Terminal, report: Report) -> None:
    """Write a ranking where and how the settings say; the report counts what was replaced or missing.

    Raises ClosedPipe: the reader of stdout has gone (end quietly with 0); OutputError: the output cannot be written;
    InputError: the format cannot represent the documents (white space in an id of a TREC run).
    """
    from rerank_cli.writers.results import sources_of

    sources = sources_of(ranking)
    kinds = {source.kind for source in sources}
    output_format = choose_format(settings, terminal, kinds, {source.delimiter for source in sources})
    if report.counts["invalid_utf8"] and settings.documents and _alters(output_format, ranking.hits, kinds):
        report.note("invalid UTF-8 is also written as replacement characters; `-f lines` writes the original bytes")
    if settings.explain and not FORMATS[output_format].explains:
        report.note(f"--explain has no effect on {output_format}: json, jsonl and the table show it")
    if not FORMATS[output_format].marks and any(stage["stage"] == "highlights" for stage in ranking.meta.stages):
        report.note(f"--highlight has no effect on {output_format}: json, jsonl, markdown and the table show it")
    with open_output(settings.output, terminal, FORMATS[output_format].guard) as write:
        for block in ranking_blocks(output_format, ranking, settings, terminal, report):
            write(block)


def _alters(output_format: str, hits: Sequence[Hit], kinds: Collection[Kind]) -> bool:
    """Whether a format for other programs writes invalid UTF-8 of lines as text; TSV of lines keeps their bytes."""
    if not FORMATS[output_format].rewrites or (output_format == "tsv" and set(kinds) == {"line"}):
        return False
    return any("\ufffd" in hit.document.text for hit in hits if hit.document.source.kind == "line")


def choose_format(
    settings: OutputSettings, terminal: Terminal, kinds: Collection[Kind], delimiters: Collection[str] = ()
) -> str:
    """The format of `auto`: by the extension of `-o`; a table on a terminal; else as the documents were read.

    `kinds` are those of all documents; `delimiters` those of all rows, to tell TSV from CSV.
    """
    if settings.format != "auto":
        return settings.format
    if settings.output is not None and not is_stdout(settings.output):
        by_name = EXTENSIONS.get(extension_of(settings.output))
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
    output_format: str, ranking: Ranking, settings: OutputSettings, terminal: Terminal, report: Report
) -> Iterator[bytes]:
    """The bytes of a ranking in one format, in blocks; formats are imported when used."""
    if output_format == "jsonl":
        from rerank_cli.writers import jsonl

        return jsonl.blocks(ranking, settings, report)
    if output_format == "json":
        from rerank_cli.writers import envelope

        return envelope.blocks(ranking, settings)
    if output_format in {"lines", "ids"}:
        from rerank_cli.writers import lines

        return (lines.blocks if output_format == "lines" else lines.id_blocks)(ranking, settings, report)
    if output_format in {"csv", "tsv"}:
        from rerank_cli.writers import separated

        return separated.blocks(ranking, separated.delimiter_of(ranking, output_format), settings, report)
    if output_format == "trec":
        from rerank_cli.writers import trec

        return trec.blocks(ranking, settings, report)
    if output_format == "markdown":
        from rerank_cli.writers import markdown

        return markdown.blocks(ranking, settings)
    if output_format == "context":
        from rerank_cli.writers import context

        return context.blocks(ranking)
    if output_format == "table":
        from rerank_cli.writers import table

        return table.blocks(ranking, settings, terminal)
    raise ValueError(f"no module writes {output_format}")
