"""Files that hold no text: recognised by their first bytes and refused with the tool that extracts their text.

It does not read such files, and knows nothing of documents.
"""

from __future__ import annotations

import codecs
import re
import shlex
from typing import NamedTuple

from rerank_cli.errors import InputError

STDIN = "<stdin>"
LOOK, MEANINGFUL = 8192, 32  # how many of the first bytes decide, and how few cannot


class FileType(NamedTuple):
    """A kind of file: what it is called, and the command that prints its text (`{}` is the file)."""

    name: str
    command: str


PDF = FileType("a PDF", "pdftotext {} -")
ZIP = FileType("a zip archive", "unzip -p {}")
IMAGE, AUDIO = "tesseract {} -", "whisper {}"
ARRAY = "python -c 'import numpy, sys; print(numpy.load(sys.argv[1]).tolist())' {}"
# The members at the start of a zip archive that say what it is, by the extension that such a file has.
IN_ZIP = {
    "docx": (b"word/", FileType("a Word document (docx)", "pandoc -t plain {}")),
    "xlsx": (b"xl/", FileType("an Excel workbook (xlsx)", "xlsx2csv {}")),
    "pptx": (b"ppt/", FileType("a PowerPoint file (pptx)", "markitdown {}")),
    "ods": (b"opendocument.spreadsheet", FileType("a spreadsheet (ods)", "ssconvert {} table.csv")),
    "odp": (b"opendocument.presentation", FileType("a presentation (odp)", "markitdown {}")),
    "odt": (b"opendocument.text", FileType("an OpenDocument text (odt)", "pandoc -t plain {}")),
    "epub": (b"application/epub+zip", FileType("an e-book (epub)", "pandoc -t plain {}")),
    "npz": (b".npy", FileType("NumPy arrays (npz)", ARRAY)),
}
# Each pattern asks for bytes that text does not have, so that no line of text is refused.
MAGIC = (
    (rb"%PDF-\d\.\d[ \t]*[\r\n]", PDF),
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", ZIP),
    (rb"7z\xbc\xaf\x27\x1c", FileType("a 7z archive", "7z x -so {}")),
    (rb"Rar!\x1a\x07", FileType("a RAR archive", "unrar p -inul {}")),
    (rb".{257}ustar(?:\x00|  \x00)", FileType("a tar archive", "tar -xOf {}")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", FileType("an old Office file (doc, xls, ppt)", "markitdown {}")),
    (rb"SQLite format 3\x00", FileType("an SQLite database", "sqlite3 -csv -header {} 'SELECT * FROM …'")),
    (rb".{8}DUCK.\x00\x00", FileType("a DuckDB database", "duckdb -csv {} -c 'FROM …'")),
    (rb"\x89PNG\r\n\x1a\n", FileType("a PNG image", IMAGE)),
    (rb"\xff\xd8\xff", FileType("a JPEG image", IMAGE)),
    (rb"GIF8[79]a.{0,12}\x00", FileType("a GIF image", IMAGE)),
    (rb"II\*\x00|MM\x00\*", FileType("a TIFF image", IMAGE)),
    (rb"RIFF.{4}WEBP", FileType("a WebP image", IMAGE)),
    (rb"BM.{4}\x00\x00\x00\x00", FileType("a BMP image", IMAGE)),
    (rb"RIFF.{4}WAVE|ID3[\x02-\x04]|fLaC\x00|OggS\x00", FileType("an audio file", AUDIO)),
    (rb"\x00\x00..ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI ", FileType("a video or audio file", AUDIO)),
    (rb"\x7fELF|MZ..[\x00-\x1f]\x00|[\xce\xcf]\xfa\xed\xfe|\x00asm", FileType("a program", "strings {}")),
    (rb"\xca\xfe\xba\xbe", FileType("a Java class or a program", "strings {}")),
    (rb"\x93NUMPY", FileType("a NumPy array (npy)", ARRAY)),
    (rb"\x80[\x02-\x05][\x80-\xff(\]}cX)NKGqU]", FileType("a Python pickle", "python -m pickletools {}")),
    (rb"\x89HDF\r\n\x1a\n", FileType("an HDF5 file", "h5dump {}")),
    (rb"ARROW1\x00\x00|FEA1.{0,4}\x00|\xff{4}..\x00\x00", FileType("an Arrow file", "duckdb -csv -c 'FROM …'")),
    (rb"Obj\x01", FileType("an Avro file", "avrocat {}")),
    (rb"ORC[\x00-\x08\x0e-\x1f]", FileType("an ORC file", "orc-contents {}")),
    (rb"GGUF[\x01-\x08]\x00|.{7}\x00\{\"", FileType("the weights of a model", "strings {}")),
    (rb"\{\\rtf\d", FileType("an RTF document", "unrtf --text {}")),
    (rb"\x04\"M\x18", FileType("an lz4 file", "lz4 -dc {}")),
    (rb"\x1f\x9d", FileType("a compressed file (Z)", "gzip -dc {}")),
    (rb"LZIP[\x00\x01]", FileType("an lzip file", "lzip -dc {}")),
    (rb"!<arch>\ndebian", FileType("a Debian package", "dpkg-deb --fsys-tarfile {}")),
    (rb"bplist00[^\t\n\r -~]", FileType("a binary property list", "plutil -convert json -o - {}")),
)  # fmt: skip
_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in MAGIC)
_CONTROLS = bytes(code for code in range(1, 32) if code not in b"\b\t\n\v\f\r\x1b")


def file_type(start: bytes, name: str) -> FileType | None:
    """What a file that begins with these bytes is, if it is known and holds no text; its name helps for archives."""
    kind = next((kind for pattern, kind in _PATTERNS if pattern.match(start)), None)
    if kind is not ZIP:
        return kind
    inside = next((member for sign, member in IN_ZIP.values() if sign in start), None)
    return inside or IN_ZIP.get(name.lower().rpartition(".")[2], (b"", ZIP))[1]


def not_text(kind: FileType, name: str) -> InputError:
    """The error for a file that holds no text, with the tool that extracts it."""
    file = "FILE" if name == STDIN else shlex.quote(name)
    return InputError(f"this is {kind.name}, not text", f"extract its text: `{kind.command.format(file)}`", name)


def refuse_noise(start: bytes, name: str) -> None:
    """Raise InputError where one in twenty bytes is a control character, NUL aside, and not all of them are UTF-8."""
    start = start[:LOOK]
    controls = len(start) - len(start.translate(None, _CONTROLS))
    if len(start) >= MEANINGFUL and controls > len(start) / 20 and not _is_utf8(start):
        raise InputError("this is not text", "`--input-format lines` takes any bytes", name)


def _is_utf8(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def holds_nul(text: str) -> bool:
    """Whether the beginning of a file has NUL characters, which text has not."""
    return "\0" in text[:LOOK]
