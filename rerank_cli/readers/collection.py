"""Records of a collection in any input format: what queries and corpora are read from.

It does not know which part of a record is its id or its text.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from rerank_cli.errors import InputError
from rerank_cli.field_hints import name_list
from rerank_cli.readers.delimiters import parse_delimiter
from rerank_cli.readers.formats import by_name, detect_format, sniff
from rerank_cli.readers.headerless import PAIR, columns_without_header, is_header, numbered_lines, record_of
from rerank_cli.readers.input_stream import InputStream, open_stream
from rerank_cli.readers.topics import OTHER_XML, looks_like_topics, read_topics
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from rerank_cli.readers.values import Element, Parsed
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings, InputSettings

CollectionFormat = Literal["auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files", "topics"]
JSONL_HINT = "plain text is `--input-format lines`"
_LINE = re.compile(r":(\d+)(?:: documents\[\d+\])?$")


class Record(NamedTuple):
    """One record: an object or a text, its place, and its number, which stands for an id where it has none."""

    value: dict[str, Any] | str
    raw: bytes  # its own JSON text on one line; empty: it was not JSON
    number: int  # the line where a line is a record, else its 1-based position
    where: str

    @property
    def line(self) -> int:
        """Its line, as far as that is known."""
        if self.where.endswith(f":{self.number}"):
            return self.number
        match = _LINE.search(self.where)
        return int(match[1]) if match else self.number


def read_records(
    path: str,
    chosen: CollectionFormat,
    inputs: InputSettings,
    report: Report,
    stdin: BinaryIO | None = None,
    *,
    answers: bool = False,
) -> Iterator[Record]:
    """The records of a file (`-` is stdin), plain or compressed, in its order.

    The format `auto` goes by name and content, as for documents, and knows TREC topics and `id<TAB>text` without a
    header besides. A first line that has the fields of `inputs` is a header. With `answers`, answers of search engines
    are recognised and --records counts. Raises InputError with `file:line` for what cannot be read in that format.
    """
    stream = open_stream(path, stdin or cast("BinaryIO", io.BytesIO()), inputs.decoding)
    try:
        chosen = _detected(path, stream, inputs, report) if chosen == "auto" else chosen
        if chosen == "jsonl" and not (answers and _is_answer(stream, inputs.fields)):
            yield from _json_lines(stream)
        elif chosen == "lines":
            yield from (Record(text, b"", number, f"{stream.name}:{number}") for number, text in numbered_lines(stream))
        elif chosen == "tsv" and not inputs.delimiter:
            yield from _tabbed(stream, inputs.fields, report)
        elif chosen in {"csv", "tsv"}:
            yield from _rows(stream, parse_delimiter(inputs.delimiter) if inputs.delimiter else None, report)
        elif chosen == "topics":
            yield from _topics(stream)
        elif chosen == "files":
            raise InputError("a collection is one file of records, not whole files", "leave `--input-format` out", path)
        else:
            parsed = _parsed(stream, yaml=chosen == "yaml")
            yield from (
                _answer(parsed, stream.name, inputs.fields, report) if answers else _elements(parsed, stream.name)
            )
    finally:
        stream.close()


def _detected(path: str, stream: InputStream, inputs: InputSettings, report: Report) -> CollectionFormat:
    line, _ = stream.first_line()
    if looks_like_topics(line):
        return "topics"
    if line.startswith(b"<") and (path.lower().endswith((".xml", ".html")) or line.startswith(b"<!")):
        raise InputError(OTHER_XML, "convert it to JSON lines", stream.name)
    named = by_name(path)
    if named in {"lines", "tsv"} and line.startswith(b"{"):
        detected = sniff(stream)
    else:
        detected = "csv" if inputs.delimiter else detect_format(path, stream, inputs.fields, report)
    if detected != "lines":
        return detected
    if line.startswith(b"{"):
        return "jsonl"  # broken: its reader says where
    return "tsv" if b"\t" in line else "lines"


def _is_answer(stream: InputStream, fields: FieldSettings) -> bool:
    """Whether JSON lines are an engine's answer or its records, or --records names a list in them."""
    from rerank_cli.readers.first_line import lines_hold

    return bool(fields.records) or lines_hold(stream, fields, only_known=True) in {"answer", "records"}


def _json_lines(stream: InputStream) -> Iterator[Record]:
    from rerank_cli.readers.rows import decoded_row, json_value, stream_rows

    for number, raw in stream_rows(stream):
        where, text = f"{stream.name}:{number}", decoded_row(stream.name, number, raw).text
        try:
            value = json_value(text, where)
        except InputError as error:
            raise InputError(error.message, error.hint or JSONL_HINT) from error
        if not isinstance(value, dict | str):
            hint = "a list is `--input-format json`" if isinstance(value, list) else JSONL_HINT
            raise InputError("a JSON object is expected", hint, where)
        yield Record(value, text.encode() if isinstance(value, dict) else b"", number, where)


def _tabbed(stream: InputStream, fields: FieldSettings, report: Report) -> Iterator[Record]:
    """Rows below a header, else `id<TAB>text`."""
    first = stream.first_line()[0].decode("utf-8", "replace")
    cells = first.split("\t")
    if is_header(cells, fields):
        yield from _rows(stream, "\t", report)
        return
    _refuse_unknown_header(stream, cells)
    columns = columns_without_header(cells) or PAIR
    for number, text in numbered_lines(stream):
        where = f"{stream.name}:{number}"
        yield Record(record_of(text, columns, where), b"", number, where)


def _refuse_unknown_header(stream: InputStream, cells: list[str]) -> None:
    """Raises InputError for a first line of words above ids that are numbers: it would be taken for a record."""
    following = bytes(stream.lookahead[: 1 << 16]).lstrip().split(b"\n")[1:2]
    number = following[0].split(b"\t")[0].strip() if following else b""
    if number.isdigit() and not any(sign.isdigit() for sign in cells[0]) and " " not in "".join(cells).strip():
        hint = "name its columns with `--id-field` and `--text-field`, or remove the line"
        raise InputError(f"is this first line a header? its columns are {name_list(cells)}", hint, f"{stream.name}:1")


def _rows(stream: InputStream, delimiter: str | None, report: Report) -> Iterator[Record]:
    """The rows of CSV or TSV as objects by column name."""
    from dataclasses import replace

    from rerank_cli.readers.delimited import read_rows
    from rerank_cli.records import Document
    from rerank_cli.settings import FieldSettings

    records: list[Record] = []

    def keep(value: Any, where: str, index: int, raw: bytes, source: Any) -> Document:
        records.append(Record(value, b"", index + 1, where))
        return Document(index, raw, "", source)

    fields = replace(FieldSettings(), builder=keep)
    for _ in read_rows(stream, delimiter, report, fields, 0):
        yield from records
        records.clear()


def _topics(stream: InputStream) -> Iterator[Record]:
    from rerank_cli.readers.values import decode

    topics = read_topics(decode(stream.whole(), stream.name), stream.name)
    return (Record(dict(value), b"", number, where) for number, (value, where) in enumerate(topics, 1))


def _parsed(stream: InputStream, *, yaml: bool) -> Parsed:
    if yaml:
        from rerank_cli.readers.yamltext import parse_yaml as parse
    else:
        from rerank_cli.readers.jsontext import parse_json as parse
    return parse(stream.whole(), stream.name)


def _elements(parsed: Parsed, name: str) -> Iterator[Record]:
    """The elements of a JSON or YAML list, or of an object by id."""
    if parsed.keys:
        return _by_id(parsed, name)
    return _records(parsed.elements())


def _answer(text: Parsed, name: str, fields: FieldSettings, report: Report) -> Iterator[Record]:
    """The same, or the records of an engine's answer with the members that are scored."""
    from rerank_cli.readers.answers import elements_of, read_answer

    parsed = read_answer(text, name, fields)
    if parsed is text and parsed.keys:
        return _by_id(parsed, name)
    elements, shape = elements_of(parsed, fields, report, name)
    return _records(element._replace(raw=b"") if shape else element for element in elements)


def _records(elements: Iterable[Element]) -> Iterator[Record]:
    for number, element in enumerate(elements, 1):
        if not isinstance(element.value, dict | str):
            raise InputError("an object or a string is expected", "a list holds objects or texts", element.where)
        yield Record(element.value, element.raw if isinstance(element.value, dict) else b"", number, element.where)


def _by_id(parsed: Parsed, name: str) -> Iterator[Record]:
    """One object: texts or records by id, or one record."""
    values = list(parsed.keys.values())
    if all(isinstance(value, dict) for value in values):
        for number, (key, value) in enumerate(parsed.keys.items(), 1):
            yield Record({"_id": key, **value}, b"", number, f"{name}: `{shown(key)}`")
    elif all(isinstance(value, str) for value in values) and not {"text", "query", "title"} & parsed.keys.keys():
        for number, (key, value) in enumerate(parsed.keys.items(), 1):
            yield Record({"_id": key, "text": value}, b"", number, f"{name}: `{shown(key)}`")
    elif any(isinstance(value, list | dict) or value is None for value in values):
        lists = [key for key, value in parsed.keys.items() if isinstance(value, list)]
        key = "documents" if "documents" in parsed.keys else next(iter(lists), "documents")
        hint = f"extract the list first, as with `jq -c '.{shown(key)}[]'`"
        raise InputError(f"an object that holds {name_list(parsed.keys)}; a list of records is expected", hint, name)
    else:
        yield from (Record(element.value, element.raw, 1, element.where) for element in parsed.elements())
