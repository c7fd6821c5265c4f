"""The shipped graphs' files: weights in one external data file that several graphs share, graphs as equal bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto, TensorProto

ALIGN = 64  # bytes; a weight starts on a cache line of the external file


class WeightFile:
    """The bytes of an external data file that several graphs may share; equal tensors are stored once."""

    def __init__(self, location: str) -> None:
        self.location = location
        self.data = bytearray()
        self._places: dict[tuple[int, bytes], int] = {}

    def move(self, model: ModelProto, threshold: int = 256) -> None:
        """Takes the raw bytes of every initializer of at least `threshold` bytes out of the graph."""
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) >= threshold:
                self._move(tensor)

    def _move(self, tensor: TensorProto) -> None:
        raw = tensor.raw_data
        offset = self._places.get((tensor.data_type, raw))
        if offset is None:
            self.data.extend(bytes(-len(self.data) % ALIGN))
            offset = len(self.data)
            self._places[tensor.data_type, raw] = offset
            self.data.extend(raw)
        tensor.ClearField("raw_data")
        tensor.data_location = tensor.EXTERNAL
        for key, value in (("location", self.location), ("offset", str(offset)), ("length", str(len(raw)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    def write(self, folder: Path) -> None:
        """Writes the file beside the graphs that point to it."""
        (folder / self.location).write_bytes(self.data)


def save(model: ModelProto, path: Path) -> None:
    """Writes a graph with protobuf's deterministic order (map fields would otherwise follow the hash seed)."""
    path.write_bytes(model.SerializeToString(deterministic=True))
