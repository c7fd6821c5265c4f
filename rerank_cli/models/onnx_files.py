"""The files that an ONNX graph reads besides itself: the locations of its external data, checked before it is opened.

Engines check them too, each version in its own way. A graph is a protobuf message, and only the few fields that lead to
tensors are followed here (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), so the `onnx` package is not needed.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.inside import joined
from rerank_cli.models.files import BrokenFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_DEPTH = 100  # messages within messages; protobuf's own limit
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
# Message -> field number -> the message in it, along every way to a tensor.
GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING, ENTRY, MODEL = range(9)
FIELDS = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    TRAINING: {1: GRAPH, 2: GRAPH},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    TENSOR: {13: ENTRY},
    ENTRY: {},
}  # fmt: skip
KEY, VALUE = 1, 2  # of an entry
MOST_TEXT = 4096  # bytes of a key or location


def external_files(graph: Path, home: Path) -> list[Path]:
    """The files that hold the weights of an ONNX graph, apart from itself, each once, by name.

    Raises ModelError: a file that is not a graph, or a location that leaves `home`, is not there or is too short.
    """
    ends: dict[str, int] = {}
    for entries in _external_tensors(graph):
        name = entries.get("location", "")
        start, length = _number(entries, "offset", graph), _number(entries, "length", graph)
        ends[name] = max(ends.get(name, 0), start + length)
    files = []
    for name, end in sorted(ends.items()):
        path = joined(graph.parent, name, home)
        if not path.is_file():
            hint = "is the download complete?"
            raise ModelError(f"{path} is missing, and {graph.name} reads its weights from it", hint)
        if path.stat().st_size < end:
            hint = "download or copy it again"
            raise ModelError(f"{path} has {path.stat().st_size} bytes, and {graph.name} reads {end}", hint)
        files.append(path)
    return files


def _number(entries: dict[str, str], key: str, graph: Path) -> int:
    text = entries.get(key) or "0"
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise BrokenFileError(f"{graph} has external data with the {key} {text[:40]!r}")
    return int(text)


def _external_tensors(graph: Path) -> list[dict[str, str]]:
    """The entries of external data of each tensor that has any. Raises BrokenFileError for what is not a graph."""
    try:
        with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return list(_tensors(data, 0, len(data), MODEL, 0))
    except (ValueError, IndexError, OSError) as error:
        raise BrokenFileError(f"{graph} is not an ONNX graph, or is damaged: {error}") from error


def _tensors(data: Any, start: int, end: int, message: int, depth: int) -> Iterator[dict[str, str]]:
    """Walk one message; entries of external data come out for each tensor in it."""
    if depth > MOST_DEPTH:
        raise ValueError("it is nested too deeply")
    inner = FIELDS[message]
    entries: dict[str, str] = {}
    for number, first, last in _fields(data, start, end):
        if number not in inner:
            continue
        if message == TENSOR:
            key, value = _entry(data, first, last)
            if key == "location" and entries.get(key, value) != value:
                raise ValueError("a tensor has two locations")
            entries[key] = value
        else:
            yield from _tensors(data, first, last, inner[number], depth + 1)
    if entries:
        yield entries


def _entry(data: Any, start: int, end: int) -> tuple[str, str]:
    texts = {KEY: "", VALUE: ""}
    for number, first, last in _fields(data, start, end):
        if last - first > MOST_TEXT:
            raise ValueError("an entry of its external data is too long")
        texts[number] = data[first:last].decode("utf-8")
    return texts[KEY], texts[VALUE]


def _fields(data: Any, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field of a message that holds bytes; others are passed over."""
    while position < end:
        tag, position = _varint(data, position, end)
        if not 8 <= tag < 1 << 32:  # engines cut larger ones down to 32 bits and see another field than is seen here
            raise ValueError("a field has an impossible number")
        wire = tag & 7
        if wire == BYTES:
            length, position = _varint(data, position, end)
            if length > end - position:
                raise ValueError("a field is longer than the file")
            yield tag >> 3, position, position + length
            position += length
        elif wire == VARINT:
            _, position = _varint(data, position, end)
        elif wire in {FIXED64, FIXED32}:
            position += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"a field has the unknown type {wire}")
    if position > end:
        raise ValueError("its last field is cut off")


def _varint(data: Any, position: int, end: int) -> tuple[int, int]:
    """A number of up to ten bytes and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError("a number in it is cut off")
