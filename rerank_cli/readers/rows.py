"""Numbered rows of evaluation files (runs, qrels, queries, corpora): decoded lines, JSON objects and ids, with places.

It does not know what a run or a judgement is, only how a line becomes a value and where an error is.
"""

from __future__ import annotations

import contextlib
import io
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from rerank_cli.errors import InputError
from rerank_cli.ids import id_text, with_decimals
from rerank_cli.readers.encodings import encoding_hint
from rerank_cli.readers.input_stream import STDIN, open_stream
from rerank_cli.settings import DECODING, Decoding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rerank_cli.readers.input_stream import InputStream

OBJECT_HINT = 'one object per line, as in `{"id": "a"}`'
BIG_INTEGER = re.compile(r"\d{19}")  # which orjson may read as a float
# A decimal in a member that may be an id: its digits count.
DECIMAL_ID = re.compile(r"""(?:id|docno)"\s*:\s*-?\d+[.eE]""")
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


def raw_rows(path: str, stdin: BinaryIO | None = None, decoding: Decoding = DECODING) -> Iterator[tuple[int, bytes]]:
    """Numbered non-blank lines of a file (`-` is stdin) as UTF-8, without their ends and without a BOM.

    Raises InputError for a file that cannot be read.
    """
    return stream_rows(open_stream(path, stdin or cast("BinaryIO", io.BytesIO()), decoding))


def stream_rows(stream: InputStream) -> Iterator[tuple[int, bytes]]:
    """The numbered non-blank lines of an open input, which is closed then.

    Of JSON objects over several lines, as jq prints them without -c, each object is one line under the number of its
    first.
    """
    try:
        numbered = stream.lines()
        first = next(numbered, None)
        if first is not None and first[1] == b"{":
            lines = [first, *numbered]
            yield from _objects(lines) or lines
        elif first is not None:
            yield from chain([first], numbered)
    finally:
        stream.close()


def _objects(lines: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Each object of several, on one line; nothing for another text, one object alone included."""
    from rerank_cli.readers.values import one_line, values_in

    objects: list[tuple[int, bytes]] = []
    line = seen = 0
    try:
        text = b"\n".join(raw for _, raw in lines).decode()
        for value, start, end in values_in(text):
            if not isinstance(value, dict):
                return []
            line += text.count("\n", seen, start)
            objects.append((lines[line][0], one_line(text[start:end]).encode()))
            seen = start
    except ValueError:
        return []
    return objects if len(objects) > 1 else []


def rows(path: str, stdin: BinaryIO | None = None, decoding: Decoding = DECODING) -> Iterator[Row]:
    """The non-blank lines of a file as text. Raises InputError with `file:line` for invalid UTF-8."""
    name = name_of_file(path)
    for number, raw in raw_rows(path, stdin, decoding):
        yield decoded_row(name, number, raw)


def decoded_row(name: str, number: int, raw: bytes) -> Row:
    """One line as text. Raises InputError with `file:line` for invalid UTF-8."""
    try:
        return Row(name, number, raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError("invalid UTF-8", encoding_hint(raw, name), f"{name}:{number}") from None


def name_of_file(path: str) -> str:
    """The name of a file in messages."""
    return STDIN if path == "-" else path


def json_value(text: str, where: str, hint: str | None = None) -> Any:
    """A JSON text's value; what orjson refuses (lone surrogates) or rounds (big integers, decimals as ids) is exact.

    Raises InputError.
    """
    import orjson

    if DECIMAL_ID.search(text):
        value = with_decimals(text)
        if value is not None:
            return value
    if not BIG_INTEGER.search(text):
        with contextlib.suppress(orjson.JSONDecodeError):
            return orjson.loads(text)
    from rerank_cli.readers.values import exact

    return exact(text, where, hint)


def json_object(row: Row) -> dict[str, Any]:
    """The JSON object of a row. Raises InputError with the place."""
    value = json_value(row.text, row.where, OBJECT_HINT)
    if not isinstance(value, dict):
        raise InputError("a JSON object is expected", OBJECT_HINT, row.where)
    return value


def record_id(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    """The first of `keys` that holds an id, as text. None if none does.

    Booleans are not ids, as for `rank` and `batch`; a list or an object that is none is an InputError.
    """
    for key in keys:
        value = record.get(key)
        if (known := id_text(value)) is not None:
            return known
        if isinstance(value, list | dict):
            raise InputError(f"`{key}` must be text or a number", "an id is one value", where)
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
