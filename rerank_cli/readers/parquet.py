"""A Parquet file as JSON lines: one object per row, so that every reader of JSON lines reads Parquet too.

Rows are decoded some megabytes at a time, whatever the size of the row groups. Types that JSON lacks become text:
dates and times as ISO 8601, decimals with all their digits, bytes as UTF-8 where they are, else base64. It knows
nothing of documents or requests.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rerank_cli.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC = b"PAR1"
SUFFIX = ".parquet"
PART = 4 << 20  # bytes of decoded rows held at once, roughly
MAX_ROWS = 4096


def is_parquet(name: str, start: bytes) -> bool:
    """Whether an input is Parquet: by its name, or by its magic with the binary header that must follow.

    Raises InputError for another file of that name.
    """
    if start.startswith(MAGIC):
        return name.lower().endswith(SUFFIX) or not start[4:5].decode("latin-1").isprintable()
    if name.lower().endswith(SUFFIX):
        hint = "rename it by what it is, as in `docs.jsonl` or `docs.csv`"
        raise InputError("named `.parquet`, but it is not a Parquet file", hint, name)
    return False


class JsonLines(io.RawIOBase):
    """The rows of a Parquet file as a stream of JSON lines.

    Args:
        stream: the file's bytes; a stream that cannot seek (a pipe) is copied to a temporary file first.
        name: how messages call it; row 7 is line 7.
        start: what was read of the stream already.

    Raises:
        ModelError: pyarrow is not installed.
        InputError: (also while it is read) the file is damaged or encrypted, or a column name appears twice.
    """

    def __init__(self, stream: BinaryIO, name: str, start: bytes = b"") -> None:
        self._rest = memoryview(b"")
        self._copy: BinaryIO | None = None
        self._blocks: Iterator[bytes] = iter(())
        # stdin may have been read before, so that its start is not at 0; decompressing streams cannot go back.
        if not isinstance(stream, io.FileIO) or not stream.seekable() or name == "<stdin>":
            stream = self._copy = _spooled(stream, start, name)
        stream.seek(0)
        self._blocks = json_blocks(stream, name)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes of the lines."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        """Close the temporary copy, if there is one."""
        self._blocks = iter(())
        if self._copy is not None:
            self._copy.close()
        super().close()


def json_blocks(source: BinaryIO | str, name: str, groups: Sequence[int] | None = None) -> Iterator[bytes]:
    """Blocks of whole JSON lines from all row groups or some. Raises InputError."""
    import orjson

    pa, opened = _opened(source, name)
    option = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    try:
        readable = _readable_schema(opened.schema_arrow, name)
        for group in range(opened.num_row_groups) if groups is None else groups:
            rows = _rows_at_once(opened.metadata.row_group(group))
            for batch in opened.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
                table = pa.Table.from_batches([batch]).cast(readable, safe=False)
                records = table.to_pylist(maps_as_pydicts="lossy")
                yield b"".join(orjson.dumps(record, _as_text, option) + b"\n" for record in records)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _broken(error, name) from error
    finally:
        opened.close()


def group_rows(path: str) -> list[int]:
    """How many rows each row group holds, from the file's footer. Raises InputError."""
    pa, opened = _opened(path, path)
    try:
        return [opened.metadata.row_group(number).num_rows for number in range(opened.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise _broken(error, path) from error
    finally:
        opened.close()


def _opened(source: BinaryIO | str, name: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        hint = "pip install 'rerank-cli[parquet]', or convert it to JSON lines"
        raise ModelError(f"{name}: Parquet needs pyarrow ({error})", hint) from error
    try:
        # With a buffer size, column chunks are read page by page instead of whole.
        return pa, parquet.ParquetFile(source, buffer_size=1 << 16, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _broken(error, name) from error


def _broken(error: Exception, name: str) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"not a readable Parquet file: {reason[:200]}", "was it copied completely?", name)


def _rows_at_once(group: Any) -> int:
    """Rows whose decoded values come to about PART bytes."""
    row_bytes: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(MAX_ROWS, PART // row_bytes))


def _readable_schema(schema: Any, name: str) -> Any:
    """The schema with nanoseconds as text, because Python has none. Raises InputError for a repeated name."""
    import pyarrow as pa

    for column in schema.names:
        if schema.names.count(column) > 1:
            raise InputError(f"column `{column}` appears twice", "rename one of the columns", name)
    return pa.schema([field.with_type(_readable(field.type)) for field in schema])


def _readable(arrow_type: Any) -> Any:
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(arrow_type):
        return _readable(arrow_type.value_type)
    if (types.is_timestamp(arrow_type) or types.is_time64(arrow_type)) and arrow_type.unit == "ns":
        return pa.string()
    if types.is_duration(arrow_type) and arrow_type.unit == "ns":
        return pa.duration("us")
    if types.is_struct(arrow_type):
        return pa.struct([field.with_type(_readable(field.type)) for field in arrow_type])
    if types.is_map(arrow_type):
        return pa.map_(_readable(arrow_type.key_type), _readable(arrow_type.item_type))
    if types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type):
        return pa.list_(_readable(arrow_type.value_type))
    return arrow_type


def _as_text(value: Any) -> Any:
    """Values of types that JSON lacks."""
    if isinstance(value, bytes):
        return _bytes_as_text(value)
    if hasattr(value, "isoformat"):  # dates, times, timestamps
        return value.isoformat()
    return str(value)  # decimals, durations, UUIDs


def _bytes_as_text(value: bytes) -> str:
    import base64

    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(value).decode("ascii")


def _spooled(stream: BinaryIO, start: bytes, name: str) -> BinaryIO:
    """A seekable copy on disk: Parquet has its table of contents at the end."""
    import shutil
    import tempfile

    copy = tempfile.TemporaryFile()  # noqa: SIM115 closed with the stream
    try:
        copy.write(start)
        shutil.copyfileobj(stream, copy)
    except OSError as error:
        copy.close()
        raise InputError(
            f"cannot be copied to {tempfile.gettempdir()}: {error.strerror}", "TMPDIR names another folder", name
        ) from error
    return cast("BinaryIO", copy)
