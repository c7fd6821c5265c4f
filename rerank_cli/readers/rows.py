"""Numbered rows of evaluation files (runs, qrels, queries, corpora): decoded lines, JSON objects and ids, with places.

It does not know what a run or a judgement is, only how a line becomes a value and where an error is.
"""

from __future__ import annotations

import contextlib
import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from rerank_cli.errors import InputError
from rerank_cli.readers.input_stream import STDIN, open_stream
from rerank_cli.readers.values import encoding_hint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BIG_INTEGER = re.compile(r"\d{19}")  # which orjson may read as a float
LARGEST_GRADE = 1_000_000  # trec_eval holds an entry for every grade up to the largest


class Row(NamedTuple):
    """A line with its place: the file's name and its number, from 1."""

    name: str
    number: int
    text: str

    @property
    def where(self) -> str:
        """`file:line` for messages."""
        return f"{self.name}:{self.number}"


def raw_rows(path: str, stdin: BinaryIO | None = None) -> Iterator[tuple[int, bytes]]:
    """Numbered non-blank lines of a file (plain, gzip or zstd; `-` is stdin), without their ends and without a BOM.

    Raises InputError for a file that cannot be read.
    """
    stream = open_stream(path, stdin or cast("BinaryIO", io.BytesIO()))
    number = 0
    try:
        for block in stream.records(b"\n"):
            for number, line in enumerate(block.split(b"\n"), number + 1):  # noqa: B020 counts on from block to block
                raw = line.strip(b" \r\n")
                if raw and not raw.isspace():
                    yield number, raw
    finally:
        stream.close()


def rows(path: str, stdin: BinaryIO | None = None) -> Iterator[Row]:
    """The non-blank lines of a file as text. Raises InputError with `file:line` for invalid UTF-8."""
    name = name_of_file(path)
    for number, raw in raw_rows(path, stdin):
        yield decoded_row(name, number, raw)


def decoded_row(name: str, number: int, raw: bytes) -> Row:
    """One line as text. Raises InputError with `file:line` for invalid UTF-8."""
    try:
        return Row(name, number, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"invalid UTF-8: {error.reason}", encoding_hint(raw), f"{name}:{number}") from None


def name_of_file(path: str) -> str:
    """The name of a file in messages."""
    return STDIN if path == "-" else path


def json_value(text: str, where: str) -> Any:
    """A JSON text's value; what orjson refuses (lone surrogates) or rounds (big integers) is read exactly.

    Raises InputError.
    """
    import orjson

    if not BIG_INTEGER.search(text):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    from rerank_cli.readers.values import exact

    return exact(text, where)


def json_object(row: Row) -> dict[str, Any]:
    """The JSON object of a row. Raises InputError with the place."""
    value = json_value(row.text, row.where)
    if not isinstance(value, dict):
        raise InputError("a JSON object is expected", 'one object per line, as in `{"id": "a"}`', row.where)
    return value


def record_id(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    """The first of `keys` that a record has, as an id: text or a whole number. None if it has none of them.

    Booleans and fractions are not ids, as for `rank` and `batch`; a list or an object is an InputError.
    """
    for key in keys:
        value = record.get(key)
        if value is None or isinstance(value, bool | float):
            continue
        if not isinstance(value, str | int):
            raise InputError(f"`{key}` must be text or a whole number", "an id is one value", where)
        return str(value)
    return None


def grade(value: Any, where: str) -> int:
    """A relevance grade: a whole number (`1`, `1.0` and `"1"` are). Raises InputError with the place."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.5
    if isinstance(value, bool) or not number.is_integer():
        raise InputError(f"relevance `{value}` is not a whole number", "grades are 0, 1, 2 …", where)
    if abs(number) > LARGEST_GRADE:
        raise InputError(f"relevance `{value}` is too large", f"grades go to {LARGEST_GRADE}", where=where)
    return int(number)
