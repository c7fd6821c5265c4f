"""JSON lines: one object or string per line. The hot path of the package: about 1.5 microseconds per record.

orjson parses; what it refuses or would round goes to the exact parser. A document keeps its line's own bytes. From the
first line on that is not one JSON value, values may stand on several lines or share one, as jq reads them.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from rerank_cli.errors import InputError
from rerank_cli.fields import build_document, build_document_fast, type_name
from rerank_cli.readers.chunks import in_slices
from rerank_cli.readers.jsontext import parse_values
from rerank_cli.readers.values import Element, exact, not_utf8
from rerank_cli.records import Document, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings

    SlowPath = Callable[[bytes, int, int], Document]  # (line, its number, index)


class Place(NamedTuple):
    """A line of an input, from 1."""

    name: str
    line: int


HINT = "plain text is `--input-format lines`"
WHOLE = "a list, or one object over several lines, is `--input-format json`"


def read_jsonl(stream: InputStream, report: Report, fields: FieldSettings, start: int) -> Iterator[list[Document]]:
    """Chunks of documents, numbered from `start`.

    Raises:
        InputError: with file:line, at a line that is neither a JSON object nor a string or lacks the field to score.
    """
    source = Source(stream.name, "json")
    loads, build_fast, slow_path = orjson.loads, build_document_fast(fields), _slow_path(fields, report, source)
    first_line = 1
    blocks = stream.records(b"\n")
    for block in blocks:
        documents: list[Document] = []
        append = documents.append
        number = first_line
        lines = block.split(b"\n")
        for number, line in enumerate(lines, first_line):
            raw = line.strip()
            if not raw:
                continue
            try:
                value = loads(raw)
            except orjson.JSONDecodeError:
                try:
                    append(slow_path(raw, number, start))
                except InputError as error:
                    rest = chain([b"\n".join(lines[number - first_line :])], blocks)
                    values = _values(partial(stream.joined, rest), raw, Place(stream.name, number), error)
                    documents += _documents(values, source, fields, report, start)
                    break
                start += 1
                continue
            document = build_fast(value, start, raw, source) if type(value) is dict else None
            append(document or slow_path(raw, number, start))
            start += 1
        first_line = number + 1
        yield from in_slices(documents)


def _values(rest: Callable[[], bytes], raw: bytes, place: Place, error: InputError) -> list[Element]:
    """The values from a line on that is not one value; raises the error of that line if it does not begin any."""
    if raw[:1] not in {b"{", b"[", b'"'} or "not valid JSON" not in error.message:
        raise error
    data = rest()
    try:
        return parse_values(data.decode(), *place)
    except UnicodeDecodeError:
        raise error from None
    except InputError as deeper:
        incomplete = raw in {b"{", b"[", b"[{"}  # what is wrong comes further down
        raise (deeper if incomplete else error) from None


def _documents(
    elements: list[Element], source: Source, fields: FieldSettings, report: Report, start: int
) -> Iterator[Document]:
    build = build_document(fields, report)
    for index, (value, raw, where) in enumerate(elements, start):
        yield build(value, where, index, raw, source)


def line_elements(stream: InputStream) -> Iterator[Element]:
    """The values of JSON lines with their own text and place, for lines that are an engine's records."""
    for number, line in stream.lines():
        raw, where = line.strip(), f"{stream.name}:{number}"
        yield Element(exact_line(raw, where), raw, where)


def _slow_path(fields: FieldSettings, report: Report, source: Source) -> SlowPath:
    build = build_document(fields, report)

    def slow_path(raw: bytes, number: int, index: int) -> Document:
        where = f"{source.name}:{number}"
        value = exact_line(raw, where)
        if value is not None and not isinstance(value, (dict, str)):
            message = f"a line must hold a JSON object or a string, not {type_name(value)}"
            raise InputError(message, WHOLE if isinstance(value, list) else HINT, where)
        return build(value, where, index, raw, source)

    return slow_path


def exact_line(raw: bytes, where: str) -> Any:
    """The value of one line of JSON, exactly; raises InputError."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        name, _, number = where.rpartition(":")
        raise not_utf8(raw, exc.start, name, int(number)) from exc
    return exact(text, where, WHOLE if text in {"{", "["} else HINT)
