"""The destination of result bytes: stdout, or a file that is written completely or not at all.

A pipe whose reader has gone ends the run quietly (`ClosedPipe`); every other failed write is an `OutputError` with its
reason. Knows nothing of rankings or formats.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from rerank_cli.compression import compressor_for, extension_of
from rerank_cli.descriptors import STDOUT, descriptor_of, is_plain_target, open_stream, require_writable
from rerank_cli.errors import OutputError
from rerank_cli.files import reason_of, replacing, require_growable, require_replaceable
from rerank_cli.text import visible

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from rerank_cli.terminal import Terminal

Guard = Literal["text", "json", "none"]

WINDOWS = os.name == "nt"  # a closed pipe is EINVAL there
SPREADSHEETS = frozenset({".xlsx", ".xls", ".xlsm", ".ods"})
_CONVERT = "`pandoc` or a program of your choice converts it"
_DUCKDB = "duckdb reads it and writes other formats"
# Extensions of binary formats, by what makes them of JSON lines.
CONVERTED = dict.fromkeys((".parquet", ".arrow", ".feather", ".orc", ".avro", ".db", ".duckdb", ".sqlite"), _DUCKDB)
CONVERTED |= dict.fromkeys((".pdf", ".docx", ".doc", ".odt", ".pptx", ".epub", ".zip", ".7z", ".tar"), _CONVERT)

# What must not reach a terminal raw inside JSON strings; JSON can spell every one of them without changing its value.
_JSON_UNSAFE = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


class ClosedPipe(Exception):
    """The reader of our output has gone: stop quietly; the command line ends with 0."""


def is_stdout(path: Path | None) -> bool:
    """Whether an `-o` value (or its absence) means standard output."""
    return path is None or str(path) == "-" or descriptor_of(path) == STDOUT


@contextlib.contextmanager
def open_output(path: Path | None, terminal: Terminal, guard: Guard = "text") -> Iterator[Callable[[bytes], None]]:
    """A `write(bytes)` into stdout (None, `-`) or into a file that replaces `path` when the block ends without error.

    Args:
        path: The file, or None or `-` for stdout. Pipes and devices are written directly. A name that ends with `.gz`,
            `.bz2`, `.xz` or `.zst` asks for compression.
        terminal: Whose stdout.
        guard: How bytes are sanitized if stdout is a terminal: as text, as JSON, or not at all.

    Raises:
        ClosedPipe: The reader of the pipe has gone.
        OutputError: Anything else that keeps the bytes from being written, also at the last flush.
    """
    if path is None or is_stdout(path):
        yield from _stdout(terminal, guard)
        return
    with contextlib.contextmanager(_replaced if is_plain_target(path) else _stream)(path) as write:
        compressor = compressor_for(path)
        if compressor is None:
            yield write
            return
        yield lambda data: write(compressor.compress(data))
        write(compressor.flush())


def check_output(path: Path | None, terminal: Terminal, *, grows: bool = False) -> None:
    """Raise the OutputError of `open_output` before anything is scored, if the file cannot be written.

    Also for a name that asks for a format which is not written. `grows`: the file is not replaced but written itself.
    """
    if path is not None and str(path) != "-":
        check_format(path)
    try:
        if path is None or is_stdout(path):
            _require_open(terminal.stdout)
        elif is_plain_target(path):
            target = Path(os.path.realpath(path))
            (require_growable if grows else require_replaceable)(target)
        else:
            _require_stream(path)
    except OSError as error:
        raise _failure("stdout" if path is None or str(path) == "-" else str(path), error) from None


def check_format(path: Path) -> None:
    """Raise OutputError for a name whose extension is that of a binary format: text under it could not be opened."""
    extension = extension_of(path)
    if extension in SPREADSHEETS:
        text, tool = ".csv", f"spreadsheet programs open it; `ssconvert {{}} {shlex.quote(str(path))}` converts it"
    elif extension in CONVERTED:
        text, tool = ".jsonl", CONVERTED[extension]
    else:
        return
    instead = shlex.quote(str(path.with_suffix(text)))
    raise OutputError(
        f"cannot write {path}: the format {extension} is not supported", f"`-o {instead}`; {tool.format(instead)}"
    )


def sanitize(data: bytes, guard: Guard) -> bytes:
    """The same bytes with control and bidirectional characters spelt out; newlines, tabs and NUL separators stay."""
    if guard == "none" or (data.isascii() and data.decode("ascii").translate(_PLAIN).isprintable()):
        return data
    text = data.decode("utf-8", "replace")
    if guard == "json":
        return text.translate(_JSON_UNSAFE).encode()
    return "\0".join(visible(part) for part in text.replace("\r\n", "\n").split("\0")).encode()


_PLAIN = {0x09: None, 0x0A: None}


def _stdout(terminal: Terminal, guard: Guard) -> Iterator[Callable[[bytes], None]]:
    """Standard output: left open, and its buffer holds nothing of ours."""
    stream = terminal.stdout
    guarded = terminal.stdout_tty and guard != "none"

    def write(data: bytes) -> None:
        with _map_write_errors(stream, "stdout"):
            _write_all(stream, sanitize(data, guard) if guarded else data)

    with _map_write_errors(stream, "stdout"):
        stream.flush()  # what was written earlier comes first
    yield write


def _require_open(stream: BinaryIO) -> None:
    """Raise OSError for a standard stream that is closed or open for reading only."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # bytes in memory
        return
    require_writable(number)


def _require_stream(path: Path) -> None:
    """Raise OSError for a stream, pipe, device or folder that cannot be written. It opens no pipe."""
    number = descriptor_of(path)
    if number is not None:
        require_writable(number)
        return
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
        raise OSError(code, os.strerror(code))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _stream(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A stream, pipe or device, written directly."""
    try:
        stream = open_stream(path)
    except OSError as error:
        raise _failure(str(path), error) from None

    def write(data: bytes) -> None:
        with _map_write_errors(stream, str(path)):
            _write_all(stream, data)

    try:
        yield write
    finally:
        with _map_write_errors(stream, str(path)):
            stream.close()


def _replaced(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A plain file: written beside its final place, renamed when whole, removed when not. A link keeps pointing."""
    target = Path(os.path.realpath(path))
    try:
        require_replaceable(target)
    except OSError as error:
        raise _failure(str(path), error) from None
    with replacing(target, partial(_failure, str(path))) as write:
        yield write


@contextlib.contextmanager
def _map_write_errors(stream: BinaryIO | io.FileIO, name: str) -> Iterator[None]:
    """Failed writes as ClosedPipe or OutputError, with nothing left for the interpreter to flush at its end."""
    try:
        yield
    except (OSError, ValueError) as error:
        _silence(stream)
        if isinstance(error, BrokenPipeError) or (WINDOWS and getattr(error, "errno", None) == errno.EINVAL):
            raise ClosedPipe from None
        raise _failure(name, error) from None


def _silence(stream: BinaryIO | io.FileIO) -> None:
    """Point the stream's descriptor at the null device, so that buffered bytes are dropped silently."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _write_all(stream: BinaryIO | io.FileIO, data: bytes) -> None:
    """Write everything to the descriptor itself, waiting where another process made it non-blocking.

    Past `stream`'s own `write`: with PYTHONUNBUFFERED that is a raw file, which may write only a part
    and returns how much; and what is not buffered cannot fail again when the interpreter ends.
    """
    if WINDOWS and stream.isatty():  # only Python's own write converts UTF-8 for the console
        stream.write(data)
        stream.flush()
        return
    try:
        descriptor = stream.fileno()
    except OSError:  # bytes in memory
        stream.write(data)
        return
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            from select import select

            select([], [descriptor], [])


def _failure(name: str, error: OSError | ValueError) -> OutputError:
    """The error for the user, with the system's reason."""
    hints = {
        errno.ENOSPC: "free some space, or write elsewhere with `-o FILE`",
        errno.ENOENT: "create the folder first",
        errno.EISDIR: "name a file inside it: `-o FOLDER/ranking.jsonl`",
        errno.EACCES: "choose a place you may write to",
        errno.EROFS: "choose a place you may write to",
    }
    hint = hints.get(getattr(error, "errno", None) or 0, "write elsewhere with `-o FILE`")
    return OutputError(f"cannot write to {name}: {reason_of(error)}", hint)
