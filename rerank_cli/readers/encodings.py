"""Texts in other encodings than UTF-8: which encodings there are, how one is guessed, and a stream that converts.

It knows bytes and characters, and nothing of formats or documents.
"""

from __future__ import annotations

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO

from rerank_cli.compression import decompress, program_of
from rerank_cli.errors import InputError, UsageError, did_you_mean

# Byte order marks; that of UTF-32 begins with that of UTF-16, so it stands first.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
USUAL = ("utf-8", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "iso-8859-15", "shift_jis", "gb18030", "big5")
NO_TEXT = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"})
LOOK = 4096
MOST = 1 << 26  # bytes of a file that are looked at for a hint
_WIDE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)  # characters of UTF-8
_HIGH = re.compile(rb"[\x80-\xff]")
_LINE = re.compile(r":\d+$")


def check_encoding(name: str) -> None:
    """Raise UsageError for the name of an encoding that does not exist."""
    try:
        codec = codecs.lookup(name)
        known = codec._is_text_encoding and codec.name not in NO_TEXT  # noqa: SLF001 as Python itself asks
    except (LookupError, ValueError):
        known = False
    if not known:
        hint = did_you_mean(name.lower(), USUAL) or f"as in `--encoding cp1252`; others are {', '.join(USUAL)}"
        raise UsageError(f"--encoding: no encoding is called `{name}`", hint)


def marked_encoding(start: bytes) -> str | None:
    """The encoding that a byte order mark says, if what follows is that; the mark of UTF-8 needs no conversion."""
    name = next((name for mark, name in MARKS if start.startswith(mark)), None)
    if name is None or b"\0" not in start[:LOOK]:  # all but the shortest text has a NUL: of a blank or a newline
        return None
    try:
        codecs.getincrementaldecoder(name)().decode(start[:LOOK])
    except UnicodeDecodeError:
        return None
    return name


def encoding_hint(data: bytes, name: str) -> str:
    """What to do about bytes that are not UTF-8, by the whole input if it is a file, else by what was read of it.

    Args:
        data: what was read.
        name: of the input, with or without a line number.
    """
    data = _whole(name) or data
    if data[1:2] == b"\0" and data[3:4] == b"\0":
        return "name its encoding, if it is `--encoding utf-16-le`, or convert it with iconv"
    others = _WIDE.sub(b"", data)
    if len(data) - len(others) > 2 * len(_HIGH.findall(others)):
        return "most of it is UTF-8: `iconv -c -f UTF-8 -t UTF-8` leaves the broken characters out"
    fitting = next((name for name in ("cp1252", "latin-1") if _decodes(data, name)), "latin-1")
    return f"name its encoding, if it is `--encoding {fitting}`, or convert it with iconv"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _whole(name: str) -> bytes | None:
    """The beginning of a file, decompressed; None for what is not a file or cannot be read again."""
    for path in map(Path, (name, _LINE.sub("", name))):
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                program = program_of(file.read(LOOK))
                file.seek(0)
                return (decompress(program, file).stream if program else file).read(MOST)
        except Exception:  # noqa: BLE001 it was readable a moment ago; whatever failed, there is still the hint
            return None
    return None


class Recoded(io.RawIOBase):
    """A stream in another encoding, as UTF-8. Raises InputError while it is read for bytes that it does not have."""

    def __init__(self, stream: BinaryIO, encoding: str, name: str) -> None:
        self._stream, self._encoding, self._name = stream, encoding, name
        self._decoder: codecs.IncrementalDecoder | None = None
        self._rest = b""
        self._line = 1

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        """The next bytes of UTF-8; 0 at the end."""
        ended = False
        while not self._rest and not ended:
            data = self._stream.read(io.DEFAULT_BUFFER_SIZE * 8)
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder(_with_order(self._encoding, data))()
            ended = not data
            self._rest = self._converted(self._decoder, data, ended=ended)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _converted(self, decoder: codecs.IncrementalDecoder, data: bytes, *, ended: bool) -> bytes:
        try:
            text = decoder.decode(data, ended)
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            line = self._line + data[:start].decode(self._encoding, "ignore").count("\n")
            message = f"not {self._encoding}: {getattr(error, 'reason', error)}"
            raise InputError(message, "name another with `--encoding`", f"{self._name}:{line}") from error
        self._line += text.count("\n")
        return text.encode("utf-8", "replace")


def _with_order(encoding: str, start: bytes) -> str:
    """UTF-16 and UTF-32 without a mark have the order of bytes that Windows writes."""
    name = codecs.lookup(encoding).name
    unmarked = name in {"utf-16", "utf-32"} and not any(start.startswith(mark) for mark, _ in MARKS)
    return f"{name}-le" if unmarked else encoding
