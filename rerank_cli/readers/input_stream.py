"""One input as a stream of bytes: opened, decompressed, without byte order mark, with look-ahead for sniffing.

It knows files, stdin and compression; it knows nothing of formats or documents. Every failure becomes an InputError.
"""

from __future__ import annotations

import io
import os
import re
import shlex
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from rerank_cli.compression import decompress, program_of
from rerank_cli.errors import InputError, RerankError
from rerank_cli.files import reason_of
from rerank_cli.readers.binary import file_type, not_text
from rerank_cli.readers.encodings import Recoded, marked_encoding
from rerank_cli.readers.peeked import Peeked, next_bytes
from rerank_cli.settings import DECODING, Decoding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 1 << 19  # bytes read at once: some 5,000 records of 100 bytes; larger blocks gain nothing and hold more
PARQUET = b"PAR1"
BOM = b"\xef\xbb\xbf"
STDIN = "<stdin>"
_MARKED = {b"\xff", b"\xfe", b"\0"}  # how the byte order marks of UTF-16 and UTF-32 begin
_VISIBLE = re.compile(rb"\S")


class InputStream:
    """The bytes of one input, once, front to back, with look-ahead kept in `lookahead`.

    Args:
        name: what messages and `Source.name` call it.
        stream: the bytes as they are on disk; compressed ones are recognised by their first bytes.
        decoding: the encoding of the text (None is UTF-8, or the UTF-16 or UTF-32 that a byte order mark says), and
            how much of it is held at once.

    Raises:
        InputError: (from every method) the input cannot be read, holds no text, its compression is broken, or a limit
            is exceeded.
    """

    def __init__(self, name: str, stream: BinaryIO, decoding: Decoding = DECODING) -> None:
        self.name = name
        self.decoding = decoding
        self.lookahead = bytearray()
        self._raw = self._stream = stream
        self._broken: tuple[type[Exception], ...] = (OSError,)
        self._program = ""  # that checks the file, if it is compressed
        start = self._read()
        if program := program_of(start):
            self._stream, self._broken, self._program = decompress(program, self._after(start))
            start = self._read()
        if start.startswith(PARQUET) or name.lower().endswith(".parquet"):
            start = self._of_parquet(start)
        else:
            start = self._as_utf8(start, decoding.encoding)
        while 0 < len(start) < 3 and BOM.startswith(start) and (more := self._read()):
            start += more
        self.lookahead += start[3:] if start.startswith(BOM) else start

    def _after(self, start: bytes) -> BinaryIO:
        """The stream from its beginning, although `start` was read."""
        return cast("BinaryIO", io.BufferedReader(Peeked(start, self._stream), BLOCK))

    def _as_utf8(self, start: bytes, encoding: str | None) -> bytes:
        """From here on UTF-8, whatever the encoding; the first block."""
        try:
            if kind := file_type(start, self.name):
                raise not_text(kind, self.name)
            if encoding := encoding or (marked_encoding(start) if start[:1] in _MARKED else None):
                self._stream = cast("BinaryIO", Recoded(self._after(start), encoding, self.name))
                return self._read()
        except InputError:
            self.close()
            raise
        return start

    def _of_parquet(self, start: bytes) -> bytes:
        """From here on a Parquet file's rows as JSON lines; the first block."""
        from rerank_cli.readers.parquet import JsonLines, is_parquet

        try:
            if not is_parquet(self.name, start):
                return start
            self._stream = cast("BinaryIO", JsonLines(self._stream, self.name, start))
            return self._read()
        except RerankError:
            self.close()
            raise

    def _read(self, size: int = BLOCK) -> bytes:
        try:
            data = cast("bytes | None", self._stream.read(size))
            return next_bytes(self._stream, size) if data is None else data
        except self._broken as exc:
            if not self._program:
                hint = "is it a file or a pipe, and is its disk or connection there?"
                raise InputError(f"cannot be read: {reason_of(exc).lower()}", hint, self.name) from exc
            hint = f"is the file complete? `{self._program} -t` checks it"
            raise InputError(f"broken compressed data: {exc}", hint, self.name) from exc

    def grow(self) -> bool:
        """Look further ahead by one block; False at the end."""
        if self._program:
            self._check_unpacked(len(self.lookahead))
        block = self._read()
        self.lookahead += block
        return bool(block)

    def first_line(self) -> tuple[bytes, bool]:
        """The first line that is not blank, without surrounding blanks, and whether anything but blanks follows it."""
        start, scanned = None, 0
        while True:
            start = start or _VISIBLE.search(self.lookahead, scanned)
            end = self.lookahead.find(b"\n", max(scanned, start.start())) if start else -1
            if start and end >= 0:
                break
            scanned = len(self.lookahead)
            if scanned > self.decoding.max_line and not (start and start[0] == b"["):  # a list, which is read whole
                raise self.too_long(self.lookahead.count(b"\n") + 1)
            if not self.grow():
                return bytes(self.lookahead[start.start() :]).strip() if start else b"", False
        line, position = bytes(self.lookahead[start.start() : end]).strip(), end
        while not (more := _VISIBLE.search(self.lookahead, position)):
            position = len(self.lookahead)
            if not self.grow():
                break
        return line, bool(more)

    def sample(self, size: int) -> tuple[bytes, bool]:
        """The first `size` bytes, and whether they are everything."""
        while len(self.lookahead) <= size:
            if not self.grow():
                return bytes(self.lookahead), True
        return bytes(self.lookahead[:size]), False

    def _check_unpacked(self, size: int) -> None:
        most = self.decoding.max_unpacked
        if size > most:
            message = f"it is read whole, and holds more than {most} bytes unpacked"
            raise InputError(message, f"`--max-unpacked {2 * most}` reads twice as much", self.name)

    def joined(self, blocks: Iterable[bytes]) -> bytes:
        """The rest of what `records` gives, at once."""
        parts, size = [], 0
        for block in blocks:
            parts.append(block)
            size += len(block)
            if self._program:
                self._check_unpacked(size)
        return b"\n".join(parts)

    def fill(self) -> bytearray:
        """Everything, kept as look-ahead: for formats that must be whole to be recognised."""
        while self.grow():
            pass
        return self.lookahead

    def whole(self) -> bytes:
        """Everything; the look-ahead is empty afterwards."""
        data = bytes(self.fill())
        self.lookahead = bytearray()
        return data

    def records(self, separator: bytes) -> Iterator[bytes]:
        """Blocks of whole records: each ends before a separator, so that splitting it gives complete records."""
        most = self.decoding.max_line
        carry: list[bytes] = []
        block = bytes(self.lookahead)
        self.lookahead = bytearray()
        ended = 0  # records
        while block:
            cut = block.rfind(separator)
            if cut < 0:
                carry.append(block)
                if sum(map(len, carry)) > most:
                    raise self.too_long(ended + 1)
            else:
                carry.append(block[:cut])
                whole = b"".join(carry)
                if most < BLOCK:  # else no block without a separator was that long
                    self._check_lengths(whole.split(separator), ended + 1)
                yield whole
                ended += block.count(separator)
                carry = [block[cut + 1 :]]
            block = self._read()
        if rest := b"".join(carry):
            self._check_lengths([rest], ended + 1)
            yield rest

    def _check_lengths(self, records: list[bytes], first: int) -> None:
        for number, record in enumerate(records, first):
            if len(record) > self.decoding.max_line:
                raise self.too_long(number)

    def too_long(self, line: int) -> InputError:
        """The error for a line or record beyond the limit."""
        most = self.decoding.max_line
        return InputError(
            f"the line is longer than {most} bytes",
            f"`--max-line {2 * most}` reads twice as much; is this a text of lines?",
            f"{self.name}:{line}",
        )

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered lines that are not blank, without blanks around them; tabs at the ends stay."""
        number = 0
        for block in self.records(b"\n"):
            for number, line in enumerate(block.split(b"\n"), number + 1):  # noqa: B020 counts on from block to block
                raw = line.strip(b" \r\n")
                if raw and not raw.isspace():
                    yield number, raw

    def close(self) -> None:
        """Close a file; stdin stays open."""
        if self.name != STDIN:
            self._stream.close()
            self._raw.close()

    def __del__(self) -> None:
        """A run that fails before it reads leaves no open file behind."""
        if hasattr(self, "_raw"):
            self.close()


def open_stream(name: str, stdin: BinaryIO, decoding: Decoding = DECODING) -> InputStream:
    """The bytes of a file, or of stdin for `-`, as UTF-8.

    Raises:
        InputError: missing, a directory, not permitted or unreadable; the hint names a similar file.
    """
    if name == "-":
        return InputStream(STDIN, stdin, decoding)
    try:
        stream = open(name, "rb", buffering=0)  # noqa: SIM115, PTH123 InputStream closes it
    except (OSError, ValueError) as exc:
        raise unreadable(name, exc) from exc
    return InputStream(name, cast("BinaryIO", stream), decoding)


def check_file(name: str, *, folders: bool = False) -> None:
    """Raises InputError, before any work, if a named file cannot be read; `folders` are let pass or not."""
    if not name:
        raise InputError("the name of a file is empty", "is a variable of the shell unset?")
    try:
        folder = Path(name).is_dir()
        if not folder:
            os.stat(name)  # noqa: PTH116 Path.stat would do the same twice as slowly for thousands of names
    except (OSError, ValueError) as exc:
        raise unreadable(name, exc) from exc
    if folder and not folders:
        raise unreadable(name, IsADirectoryError())


def unreadable(name: str, exc: Exception) -> InputError:
    """The error for a file that cannot be opened, with the hint that fits."""
    if isinstance(exc, FileNotFoundError):
        return InputError("no such file", _missing_hint(name), name)
    if isinstance(exc, IsADirectoryError):
        return InputError("is a directory", f"name its files, as in `{shlex.quote(name.rstrip('/'))}/*`", name)
    if isinstance(exc, PermissionError):
        return InputError("permission denied", "its owner can allow it, as with `chmod a+r`", name)
    reason = "its name holds a NUL character" if "\0" in name else reason_of(exc).lower()
    return InputError(f"cannot be opened: {reason}", "is the name right?", name)


def similar_file(name: str) -> str | None:
    """A file of the same folder whose name is like this one; None without one."""
    path = Path(name)
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 names are all we need
    except (OSError, ValueError):
        return None
    similar = get_close_matches(path.name, names, n=1, cutoff=0.75)
    return str(path.parent / similar[0]) if similar else None


def _missing_hint(name: str) -> str:
    folder = Path(name).parent
    if not os.path.isdir(folder):  # noqa: PTH112 never raises
        return f"there is no folder `{folder}`"
    similar = similar_file(name)
    return f"did you mean `{similar}`?" if similar else f"`ls {shlex.quote(str(folder))}` shows what is there"
