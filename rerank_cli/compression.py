"""Compressed files: by their first bytes when they are read, by their name when they are written.

It knows gzip, bzip2, xz and Zstandard, and nothing of what is in the files.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zstd")
# By the first bytes of a file, the program that checks one. bzip2's has the start of its first block too.
PROGRAMS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
BZIP2 = tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))


class Compressor(Protocol):
    """What the standard library's compressors have in common."""

    def compress(self, data: bytes, /) -> bytes:
        """The compressed bytes that are ready."""

    def flush(self) -> bytes:
        """The rest of them."""


class Decompressed(NamedTuple):
    """An open compressed stream, the exceptions that broken data raises, and the program that checks such a file."""

    stream: BinaryIO
    broken: tuple[type[Exception], ...]
    program: str


def program_of(start: bytes) -> str | None:
    """The program whose files begin with these bytes; None for bytes that are not compressed."""
    if start.startswith(BZIP2):
        return "bzip2"
    return next((program for magic, program in PROGRAMS.items() if start.startswith(magic)), None)


def decompress(program: str, stream: BinaryIO) -> Decompressed:
    """The bytes in a compressed stream."""
    if program == "gzip":
        import gzip
        import zlib

        return Decompressed(cast("BinaryIO", gzip.GzipFile(fileobj=stream)), (OSError, EOFError, zlib.error), program)
    if program == "bzip2":
        import bz2

        return Decompressed(cast("BinaryIO", bz2.BZ2File(stream)), (OSError, EOFError), program)
    if program == "xz":
        import lzma

        return Decompressed(cast("BinaryIO", lzma.LZMAFile(stream)), (OSError, EOFError, lzma.LZMAError), program)
    zstd = _zstd()
    return Decompressed(cast("BinaryIO", zstd.ZstdFile(stream)), (OSError, EOFError, zstd.ZstdError), program)


def compressor_for(path: Path) -> Compressor | None:
    """The compressor that a file's name asks for; None for a name without such an extension."""
    makers: dict[str, Callable[[], Any]] = {".gz": _gzip, ".bz2": _bzip2, ".xz": _xz, ".zst": _zst, ".zstd": _zst}
    maker = makers.get(path.suffix.lower())
    return cast("Compressor", maker()) if maker else None


def without_suffix(name: str) -> str:
    """A name in lower case without the extension of a compressed file."""
    lowered = name.lower()
    return next((lowered.removesuffix(suffix) for suffix in SUFFIXES if lowered.endswith(suffix)), lowered)


def extension_of(path: Path) -> str:
    """The extension of what is in a file, in lower case: `.jsonl` of `x.jsonl.gz`."""
    return Path(without_suffix(path.name)).suffix


def _gzip() -> Any:
    import zlib

    return zlib.compressobj(wbits=31)  # its header has no time: equal bytes for equal output


def _bzip2() -> Any:
    import bz2

    return bz2.BZ2Compressor()


def _xz() -> Any:
    import lzma

    return lzma.LZMACompressor()


def _zst() -> Any:
    return _zstd().ZstdCompressor()


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
