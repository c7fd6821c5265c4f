"""The format of an input: by its name, else by its bytes. The manual has the same rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.compression import without_suffix
from rerank_cli.errors import InputError
from rerank_cli.readers.binary import refuse_noise
from rerank_cli.readers.delimiters import SAMPLE, likely_table, sep_line, table_of

if TYPE_CHECKING:
    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings, InputFormat

BY_SUFFIX: dict[str, InputFormat] = {
    "jsonl": "jsonl", "ndjson": "jsonl", "jsonlines": "jsonl", "json": "json", "yaml": "yaml", "yml": "yaml",
    "csv": "csv", "tsv": "tsv", "tab": "tsv", "txt": "lines", "log": "lines",
    "parquet": "jsonl",  # the input stream turns its rows into JSON lines
}  # fmt: skip
_YAML_START = re.compile(r"---(?:\s|$)|- [\w.-]+:(?:\s|$)|(?:documents|query):(?:\s|$)")
# How a record or a list of records begins, quotes of Python's included; `[INFO]`, `{x}` and a lone `[` are none.
_JSON_LIKE = re.compile(rb"""\[?\s*\{\s*(?:["'][^"']*["']\s*:|\})|\[[^\S\n]*\n\s*["\[]""")
_PREFIX = 1 << 16  # characters that decide whether a text that looks like JSON can be JSON
_CUT = 32  # an error this close to the end of a cut text may come from the cut


def by_name(name: str) -> InputFormat | None:
    """The format by the extension of a name, that of compression aside; None without a known one."""
    _, dot, suffix = without_suffix(name).rpartition(".")
    return BY_SUFFIX.get(suffix) if dot else None


def detect_format(name: str, stream: InputStream, fields: FieldSettings, report: Report) -> InputFormat:
    """The format by name, else by bytes; a note if the lines look like another one.

    Raises:
        InputError: bytes that are not text.
    """
    if name != "-" and (named := by_name(name)):
        return named
    by_bytes = sniff(stream)
    if by_bytes != "lines":
        return by_bytes
    refuse_noise(bytes(stream.lookahead[:_PREFIX]), stream.name)
    if like := _resembled(stream.sample(SAMPLE)[0].lstrip()):
        options = f"`--input-format {like.lower()}` shows what is wrong, `--input-format lines` hides this note"
        report.note(f"{stream.name} looks like {like}, but is not valid: its lines are taken as plain text ({options})")
        return by_bytes
    return _sniff_table(stream, fields, report)


def _sniff_table(stream: InputStream, fields: FieldSettings, report: Report) -> InputFormat:
    """CSV or TSV for lines that are one beyond doubt, else lines; a note if they may be one."""
    sample, complete = stream.sample(SAMPLE)
    if sep_line(sample.split(b"\n", 1)[0]):
        return "csv"
    scored = fields.rank_fields or (fields.text_field,)
    table = table_of(sample, scored, complete=complete)
    if table:
        return "tsv" if table.delimiter == "\t" else "csv"
    if likely := likely_table(sample, complete=complete):
        options = "--input-format tsv" if likely.delimiter == "\t" else f"--delimiter '{likely.delimiter}'"
        report.note(
            f"{stream.name} looks like a table with columns: its lines are taken as plain text "
            f"(`{options}` reads its rows, `--input-format lines` hides this note)"
        )
    return "lines"


def _resembled(text: bytes) -> str | None:
    """What a text that was taken for plain text looks like, by its beginning."""
    if _JSON_LIKE.match(text):
        return "JSON" if text.startswith(b"[") else "JSONL"
    line = text.split(b"\n", 1)[0]
    return "YAML" if line.startswith(b"- ") and _YAML_START.match(line.decode("utf-8", "replace")) else None


def suggest_format(error: InputError, start: bytes, fields: FieldSettings, read_as: InputFormat) -> None:
    """Give an error another hint if its text, by how it begins, is of another format than the one it is read as."""
    other = _other(start, fields) if read_as != "lines" else read_as
    # YAML holds JSON too, so that a missing field is a missing field.
    if other is None or {other, read_as} <= {"json", "jsonl"} or (read_as == "yaml" and "YAML" not in error.message):
        return
    if other != read_as:
        error.hint = f"it looks like {other.upper()}: `--input-format {other}`"


def _other(start: bytes, fields: FieldSettings) -> InputFormat | None:
    """The format that the beginning of a text has beyond doubt: JSON, JSON lines, CSV or TSV."""
    text = start.lstrip()
    if _JSON_LIKE.match(text):
        line = text.split(b"\n", 1)[0]
        return "jsonl" if text.startswith(b"{") and _is_json(line, (dict,)) else "json"
    table = table_of(start, fields.rank_fields or (fields.text_field,), complete=False)
    return None if table is None else "tsv" if table.delimiter == "\t" else "csv"


def sniff(stream: InputStream) -> InputFormat:
    """The format by the bytes; reads ahead as far as necessary."""
    line, _ = stream.first_line()
    start = line[:1]
    if start in {b"{", b'"'}:
        import orjson

        try:
            return "jsonl" if isinstance(orjson.loads(line), dict | str) else "lines"
        except orjson.JSONDecodeError:
            if _is_json(line, (dict, str)):
                return "jsonl"
    if start in {b"{", b"["} and _whole_is_json(stream):
        return "json"
    if _YAML_START.match(line.decode("utf-8", "replace")) and _whole_is_yaml(stream):
        return "yaml"
    return "lines"


def _is_json(data: bytes | bytearray, types: tuple[type, ...]) -> bool:
    from rerank_cli.readers.values import TOO_DEEP, exact

    try:
        # With bad UTF-8, or nested too deeply, it is still JSON: the reader says what is wrong with it.
        return isinstance(exact(data.decode("utf-8", "replace"), ""), types)
    except InputError as exc:
        return TOO_DEEP in exc.message


def _whole_is_json(stream: InputStream) -> bool:
    """Whether everything is JSON lists and objects; usually a prefix is enough to rule that out."""
    import json

    from rerank_cli.readers.values import DIGITS, TOO_DEEP, values_in

    text = stream.lookahead[:_PREFIX].decode("utf-8", "replace")
    cut = len(stream.lookahead) > _PREFIX or stream.grow()
    try:
        possible = all(isinstance(value, dict | list) for value, _, _ in values_in(text))
    except json.JSONDecodeError as exc:
        at_the_cut = exc.pos >= len(text) - _CUT or exc.msg.startswith("Unterminated string")
        possible = exc.msg in {TOO_DEEP, DIGITS} or (cut and at_the_cut)
    return possible and (_is_json(stream.fill(), (dict, list)) or _are_records(stream.lookahead))


def _are_records(data: bytearray) -> bool:
    """Whether a text is several JSON objects, or lists of objects, as jq prints without -c."""
    from rerank_cli.readers.values import values_in

    try:
        for value, _, _ in values_in(data.decode("utf-8", "replace")):
            if not all(isinstance(item, dict) for item in (value if isinstance(value, list) else [value])):
                return False
    except ValueError:
        return False
    return True


def _whole_is_yaml(stream: InputStream) -> bool:
    from rerank_cli.readers.yamltext import holds_documents

    try:
        return holds_documents(stream.fill().decode())
    except UnicodeDecodeError:
        return False
