"""Tables with a delimiter: which delimiter one has, whether plain lines are one, and names for columns without.

Lines of other programs (grep, git log, ls) must never be taken for a table, so a header that names columns is required
and every row must fit it; where that is likely only, a note says how to read the lines. It builds no documents.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import count, islice
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DELIMITERS = ",\t;|"  # in the order in which they are tried
SPELLED = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
SAMPLE = 1 << 16  # bytes that decide
ROWS = 200
# Names that columns have, in lower case without blanks, dots, hyphens and underscores.
_KNOWN = (
    "id docid documentid pid qid uuid key name title text body content contents passage document doc chunk "
    "snippet abstract description summary message msg answer question query subject comment comments review label "
    "category type status state date time created createdat updated updatedat timestamp author user username "
    "email url link source lang language score rating price amount count number value tags country city address "
    "firstname lastname product sku notes note priority "
)
KNOWN = frozenset(_KNOWN.split())
_NAME = re.compile(r"[^\W\d][\w .#%/()\-]{0,49}")  # of a column: begins with a letter
_DATUM = re.compile(r"[-+]?[\d.,]+%?|\d{4}-\d\d-\d\d[T \d:.+\-Z]*|true|false|[0-9a-f]{8}-[0-9a-f-]{27}", re.IGNORECASE)
_SEP = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=(.)\"?\r?\n?", re.IGNORECASE)


class Table(NamedTuple):
    """How the beginning of a text reads as a table: its delimiter, its header, its rows, and whether all rows fit."""

    delimiter: str
    header: list[str]
    rows: list[list[str]]
    fits: bool


def parse_delimiter(text: str) -> str:
    """The delimiter that an option says. Raises UsageError for what cannot be one."""
    sign = SPELLED.get(text.lower(), text)
    if len(sign) != 1 or sign in '"\r\n\0' or ord(sign) > 0x7F:
        raise UsageError(
            f"--delimiter: `{text}` cannot separate columns", "one character: `;`, `|`, `,`, or `tab` for a tab"
        )
    return sign


def sep_line(line: bytes) -> str | None:
    """The delimiter that a first line `sep=;` says, as Excel writes and reads it."""
    match = _SEP.fullmatch(line)
    return match[1].decode("latin-1") if match else None


def numbered(columns: Sequence[str]) -> list[str]:
    """The same names, with `_2`, `_3` … behind those that stood before, and `column_N` for repeated empty ones."""
    repeated = Counter(columns)
    taken, names = set(columns), []
    seen: Counter[str] = Counter()
    for position, column in enumerate(columns, 1):
        seen[column] += 1
        name = column
        if repeated[column] > 1 and not column:
            name = f"column_{position}"
        elif seen[column] > 1:
            name = next(new for n in count(seen[column]) if (new := f"{column}_{n}") not in taken)
        taken.add(name)
        names.append(name)
    return names


def delimiter_of(sample: bytes, *, complete: bool) -> str:
    """The delimiter of a table that is known to be one: a comma, unless its rows fit another one only."""
    tables = [table for sign in DELIMITERS if (table := _read(sample, sign, complete=complete))]
    fitting = [table for table in tables if table.fits and len(table.header) > 1]
    comma = next((table for table in fitting if table.delimiter == ","), None)
    if comma or not fitting:
        return ","
    return max(fitting, key=lambda table: len(table.header)).delimiter


def table_of(sample: bytes, scored: Iterable[str], *, complete: bool) -> Table | None:
    """Lines without a name as a table, if they are one beyond doubt; `scored` are the fields that are to be scored."""
    for table in _candidates(sample, complete=complete):
        if table.fits and _is_certain(table, set(scored)):
            return table
    return None


def likely_table(sample: bytes, *, complete: bool) -> Table | None:
    """Lines that may be a table: known names of columns and rows that do not fit them, or fields in quotes."""
    for table in _candidates(sample, complete=complete):
        if _has_in_field(table, table.delimiter) if table.fits else _known(table.header) > 1:
            return table
    return None


def _candidates(sample: bytes, *, complete: bool) -> Iterator[Table]:
    first = sample.split(b"\n", 1)[0]
    for sign in DELIMITERS:
        if sign.encode() in first and (table := _read(sample, sign, complete=complete)):
            header = table.header
            if len(header) > 1 and all(_NAME.fullmatch(name) and name == name.strip() for name in header):
                yield table


def _is_certain(table: Table, scored: set[str]) -> bool:
    names = {name.split(".")[0] for name in scored} | scored
    known, named = _known(table.header), bool(names & set(table.header))
    if not table.rows:
        return named and known == len(table.header)
    if all(_known(row) == len(row) for row in table.rows):  # words about tables, one pair per line
        return False
    if known > 1 or (named and _has_prose(table, names)):
        return True
    return len(table.rows) > 1 and (_has_data(table) or _has_in_field(table, "\n"))


def _known(header: Sequence[str]) -> int:
    return sum(re.sub(r"[\W_]", "", name.lower()) in KNOWN for name in header)


def _has_prose(table: Table, names: set[str]) -> bool:
    """Whether a column to score holds more than words: lines `text<TAB>…` of keys and values are not a table."""
    positions = [position for position, name in enumerate(table.header) if name in names]
    return any(" " in row[position].strip() for row in table.rows for position in positions)


def _has_in_field(table: Table, sign: str) -> bool:
    """Whether a field in quotes holds the sign, which no row of another kind of text does."""
    return any(sign in field for row in table.rows for field in row)


def _has_data(table: Table) -> bool:
    """Whether a column holds numbers, dates or truth values only; its name, which begins with a letter, is none."""
    for column in zip(*table.rows, strict=True):
        values = [value for value in column if value]
        if values and all(map(_DATUM.fullmatch, values)) and len(values) > len(table.rows) / 2:
            return True
    return False


def _read(sample: bytes, sign: str, *, complete: bool) -> Table | None:
    """The sample as a table of this delimiter; None if quotes are broken. An incomplete last row does not count."""
    text = sample.decode("utf-8", "replace")
    rows: list[list[str]] = []
    try:
        for row in islice(csv.reader(io.StringIO(text, newline="\n"), delimiter=sign, strict=True), ROWS + 1):
            rows.append(row)  # noqa: PERF402 what was read before an error counts
    except csv.Error:
        if complete or not rows:
            return None
    else:
        if not complete and len(rows) <= ROWS:
            rows = rows[:-1]
    rows = [row for row in rows if row]
    if not rows:
        return None
    header, body = rows[0], rows[1:]
    return Table(sign, header, body, all(len(row) == len(header) for row in body))
