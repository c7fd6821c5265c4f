"""CSV and TSV with a header row. A document is a row: fields by column name, raw bytes as they were."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.field_hints import name_list
from rerank_cli.fields import build_document, build_document_fast
from rerank_cli.readers.chunks import in_chunks
from rerank_cli.readers.delimiters import SAMPLE, delimiter_of, numbered, sep_line
from rerank_cli.readers.values import not_utf8
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

HINT = "quote fields that contain quotes, delimiters or newlines; plain text is `--input-format lines`"
CR = b"\r"
Row = tuple[list[str], bytes, int]  # fields, original bytes without the newline (a carriage return stays), first line


def read_rows(
    stream: InputStream, delimiter: str | None, report: Report, fields: FieldSettings, start: int
) -> Iterator[list[Document]]:
    """Chunks of documents, numbered from `start`; blank lines are skipped, columns of the same name are numbered.

    Without a delimiter it is the one of a first line `sep=;`, or the one that all rows fit.

    Raises:
        InputError: with file:line, for broken quoting, a row of another width than the header, invalid UTF-8, or a row
            without the field to score.
    """
    delimiter = delimiter or _delimiter(stream)
    return in_chunks(_documents(stream, delimiter, report, fields, start))


def _documents(
    stream: InputStream, delimiter: str, report: Report, fields: FieldSettings, start: int
) -> Iterator[Document]:
    rows = _rows(stream, delimiter)
    header = next(rows, None)
    if header and sep_line(header[1]):
        header = next(rows, None)
    if header is None:
        return
    names, header_raw, header_line = header
    _check_delimiter(names, delimiter, fields, f"{stream.name}:{header_line}")
    columns = numbered(names)
    if renamed := [new for new, old in zip(columns, names, strict=True) if new != old]:
        report.note(f"{stream.name}: columns of the same name are numbered: {name_list(renamed)}")
    newline = b"\r\n" if header_raw.endswith(CR) else b"\n"  # assumed for all rows
    kept = b"" if renamed else header_raw.removesuffix(CR)
    source = Source(stream.name, "row", tuple(columns), kept, delimiter, newline)
    build_fast, build = build_document_fast(fields), build_document(fields, report)
    width = len(columns)
    for index, (row, ended, line) in enumerate(rows, start):
        raw = ended.removesuffix(CR)
        if len(row) != width:
            message = f"the row has {len(row)} field{'s' * (len(row) != 1)}, the header has {width}"
            raise InputError(message, HINT, f"{stream.name}:{line}")
        value = dict(zip(columns, row, strict=True))
        yield build_fast(value, index, raw, source) or build(value, f"{stream.name}:{line}", index, raw, source)


def _delimiter(stream: InputStream) -> str:
    stream.first_line()
    first = bytes(stream.lookahead[:SAMPLE]).lstrip(b"\r\n").split(b"\n", 1)[0]
    sample, complete = stream.sample(SAMPLE)
    return sep_line(first) or delimiter_of(sample, complete=complete)


def _check_delimiter(columns: list[str], delimiter: str, fields: FieldSettings, where: str) -> None:
    """Raises InputError for a header of one column that seems to have another delimiter."""
    other = next((sign for sign in ",;\t|" if sign in columns[0] and sign != delimiter), None)
    if len(columns) > 1 or other is None or columns[0] in (*fields.rank_fields, fields.text_field):
        return
    hints = {",": "`--input-format csv`", "\t": "`--input-format tsv`"}
    hint = hints.get(other, f"`--delimiter '{other}'`")
    shown = "the tab" if other == "\t" else f"`{other}`"
    raise InputError(f"the header is one column, {name_list(columns)}; is {shown} the delimiter?", hint, where)


def allow_long_fields(most: int = 2**31 - 1) -> None:
    """Lift the csv module's limit of 128 KB per field to `most`, which may be our own limit of a line."""
    csv.field_size_limit(min(most, 2**31 - 1))


def _rows(stream: InputStream, delimiter: str) -> Iterator[Row]:
    taken: list[bytes] = []
    lines = _lines(stream, taken)
    allow_long_fields(stream.decoding.max_line)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as exc:
            if "new-line character" in str(exc):
                hint = "rows end with a newline: `tr '\\r' '\\n'` converts old Mac files; or quote the field"
                raise InputError("a carriage return inside a row", hint, f"{stream.name}:{line}") from exc
            if "field limit" in str(exc):
                raise stream.too_long(line) from exc
            raise InputError(f"broken quoting: {exc}", HINT, f"{stream.name}:{line}") from exc
        if row is None:
            return
        raw = taken[0] if len(taken) == 1 else b"\n".join(taken)
        taken.clear()
        if not is_blank(raw, delimiter):
            yield row, raw, line
        line = reader.line_num + 1


def is_blank(raw: bytes, delimiter: str) -> bool:
    """Whether a line is empty; one of delimiters only, tabs too, is a row of empty fields."""
    return not raw.strip() and delimiter.encode() not in raw


def _lines(stream: InputStream, taken: list[bytes]) -> Iterator[str]:
    """The text of each line with its end, for the csv reader; what it took since the last row is in `taken`."""
    first = 1
    for block in stream.records(b"\n"):
        try:
            text = block.decode()
        except UnicodeDecodeError as exc:
            raise not_utf8(block, exc.start, stream.name, first) from exc
        raws = block.split(b"\n")
        first += len(raws)
        for raw, line in zip(raws, text.split("\n"), strict=True):
            taken.append(raw)
            yield line + "\n"
