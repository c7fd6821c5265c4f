"""CSV and TSV: rows as they were read with index, rank and scores appended, lines behind scores, objects as columns.

Fields are quoted as RFC 4180 has it, with tabs as with commas; only the TSV of plain lines quotes nothing, because
there the line is the last column and ends with its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.hits import column
from rerank_cli.text import to_utf8
from rerank_cli.writers.members import numbers
from rerank_cli.writers.results import blocks_of, columns, keys, row_fields, shape_of, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.records import Hit, Ranking, Source
    from rerank_cli.report import Report
    from rerank_cli.settings import OutputSettings
    from rerank_cli.writers.results import Shape

_QUOTED = (b'"', b"\r", b"\n")  # what makes quotes necessary, beside the delimiter


class Frame(NamedTuple):
    """What every row of one output shares."""

    delimiter: bytes
    end: bytes
    shape: Shape
    names: tuple[str, ...]  # of our columns


def blocks(ranking: Ranking, delimiter: str, settings: OutputSettings, report: Report) -> Iterator[bytes]:
    """The ranking as CSV or TSV, some rows at a time."""
    shape = shape_of(ranking, settings)._replace(explain=False, parts=())
    names = tuple(f"{settings.result_key}.{key}" if settings.result_key else key for key in shape.keys)
    sources = sources_of(ranking)
    kinds = {source.kind for source in sources}
    frame = Frame(delimiter.encode(), b"\0" if settings.null else b"\n", shape, names)
    if kinds == {"line"} and delimiter == "\t":
        return scored_lines(ranking.hits, frame, settings)
    frame = frame._replace(end=b"\n")
    if not settings.documents:
        return places_only(ranking.hits, frame)
    if kinds == {"row"} and are_alike(sources, delimiter):
        return rows(ranking.hits, sources[0], frame._replace(end=sources[0].newline), report)
    return objects(ranking.hits, frame, report)


def delimiter_of(ranking: Ranking, output_format: str) -> str:
    """A tab for TSV; for CSV what separates the rows of the input, as `;`, else a comma."""
    delimiters = {source.delimiter if source.kind == "row" else "," for source in sources_of(ranking)}
    if output_format == "tsv":
        return "\t"
    return "," if len(delimiters) != 1 or "\t" in delimiters else delimiters.pop()


def are_alike(sources: list[Source], delimiter: str) -> bool:
    """Whether rows of all sources fit under one header as they are."""
    return {(source.columns, source.delimiter) for source in sources} == {(sources[0].columns, delimiter)}


def places(hits: Sequence[Hit], shape: Shape) -> list[list[bytes]]:
    """Index, rank and scores of each hit as texts; a missing score is empty."""
    numbered = [
        [b"%d" % index for index in column(hits, "index")],
        [b"%d" % rank for rank in column(hits, "rank")],
        *(
            [b"" if number == b"null" else number for number in numbers(column(hits, name))]
            for name in ("relevance_score", *shape.further_scores)
        ),
    ]
    return [list(row) for row in zip(*numbered, strict=True)]


def scored_lines(hits: Sequence[Hit], frame: Frame, settings: OutputSettings) -> Iterator[bytes]:
    """Rank, scores and the line's own bytes; tabs in the line stay, as it is the last column. No header."""
    for some in blocks_of(hits):
        texts = [[raw] if settings.documents else [] for raw in column(some, "raw")]
        joined = [b"\t".join(place[1:] + text) for place, text in zip(places(some, frame.shape), texts, strict=True)]
        yield frame.end.join(joined) + frame.end


def places_only(hits: Sequence[Hit], frame: Frame) -> Iterator[bytes]:
    """`--no-documents`: our columns alone."""
    yield frame.delimiter.join(field(name, frame.delimiter) for name in frame.names) + frame.end
    for some in blocks_of(hits):
        yield b"".join([frame.delimiter.join(place) + frame.end for place in places(some, frame.shape)])


def rows(hits: Sequence[Hit], source: Source, frame: Frame, report: Report) -> Iterator[bytes]:
    """The rows' own bytes with our columns appended, which replace columns of the same names."""
    kept = [number for number, column in enumerate(source.columns) if column not in frame.names]
    replaces = len(kept) < len(source.columns)
    width = max([len(source.columns), *(count_fields(raw, source.delimiter) for raw in column(hits, "raw"))])
    kept += range(len(source.columns), width)  # fields beyond the header are kept, under no name
    header = source.header or frame.delimiter.join(field(column, frame.delimiter) for column in source.columns)
    names = [field(name, frame.delimiter) for name in frame.names]
    yield (
        frame.delimiter.join([padded(header, source.delimiter, width, kept if replaces else None), *names]) + frame.end
    )
    report.replace([column for column in source.columns if column in frame.names], len(hits))
    for some in blocks_of(hits):
        whole = [padded(raw, source.delimiter, width, kept if replaces else None) for raw in column(some, "raw")]
        placed = places(some, frame.shape)
        joined = [frame.delimiter.join([raw, *place]) for raw, place in zip(whole, placed, strict=True)]
        yield frame.end.join(joined) + frame.end


def count_fields(raw: bytes, delimiter: str) -> int:
    """How many fields a row has."""
    return len(row_fields(raw, delimiter)) if b'"' in raw else raw.count(delimiter.encode()) + 1


def padded(raw: bytes, delimiter: str, width: int, kept: list[int] | None) -> bytes:
    """A row with as many fields as the widest, less those that are not kept (None: all are)."""
    missing = width - count_fields(raw, delimiter)
    separator = delimiter.encode()
    full = raw + separator * missing
    if kept is None:
        return full
    fields = row_fields(full, delimiter)
    return separator.join([fields[number] for number in kept])


def objects(hits: Sequence[Hit], frame: Frame, report: Report) -> Iterator[bytes]:
    """Any documents as rows: the columns are all their keys, in the order in which they come up."""
    ours = set(frame.names)
    seen: dict[str, None] = {}
    for hit in hits:
        names = keys(hit.document)
        seen.update(dict.fromkeys(names))
        report.replace(name for name in names if name in ours)
    shown = [column for column in seen if column not in ours]
    yield frame.delimiter.join(field(name, frame.delimiter) for name in (*shown, *frame.names)) + frame.end
    for some in blocks_of(hits):
        for hit, place in zip(some, places(some, frame.shape), strict=True):
            named = dict(columns(hit.document))
            yield (
                frame.delimiter.join([*(field(named.get(name, ""), frame.delimiter) for name in shown), *place])
                + frame.end
            )


def field(text: str, delimiter: bytes) -> bytes:
    """One value as a field, in quotes where it needs them."""
    raw = to_utf8(text)
    if delimiter in raw or any(sign in raw for sign in _QUOTED):
        return b'"%b"' % raw.replace(b'"', b'""')
    return raw
