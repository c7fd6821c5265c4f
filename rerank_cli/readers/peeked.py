"""A stream whose first bytes were read to look at: those again, then the rest. It knows nothing of what they are."""

from __future__ import annotations

import io
from typing import BinaryIO, cast


class Peeked(io.RawIOBase):
    """Bytes that were read to look at, then the stream they came from."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start = start
        self._stream = stream

    def readable(self) -> bool:
        """As `io.RawIOBase` wants it."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        """The next bytes into a buffer; how many."""
        data = self._start[: len(buffer)] or next_bytes(self._stream, len(buffer))
        self._start = self._start[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def next_bytes(stream: BinaryIO, size: int) -> bytes:
    """The next bytes, b"" only at the end: waits where another process made the descriptor non-blocking."""
    while (data := cast("bytes | None", stream.read(size))) is None:
        from select import select

        select([stream], [], [])
    return data
