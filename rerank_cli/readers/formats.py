"""Which format an input has: told by its name, else by its bytes. The rules are those of the manual."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.readers.input_stream import COMPRESSED

if TYPE_CHECKING:
    from rerank_cli.readers.input_stream import InputStream
    from rerank_cli.report import Report
    from rerank_cli.settings import InputFormat

BY_SUFFIX: dict[str, InputFormat] = {
    "jsonl": "jsonl", "ndjson": "jsonl", "jsonlines": "jsonl", "json": "json", "yaml": "yaml", "yml": "yaml",
    "csv": "csv", "tsv": "tsv", "tab": "tsv", "txt": "lines", "log": "lines",
    "parquet": "jsonl",  # the feed turns its rows into JSON lines
}  # fmt: skip
_YAML_START = re.compile(r"---(?:\s|$)|- [\w.-]+:(?:\s|$)|(?:documents|query):(?:\s|$)")
# How a record or a list of records begins, quotes of Python's included; `[INFO]` and `{x}` are none.
_JSON_LIKE = re.compile(rb"""\[?\s*\{\s*(?:["'][^"']*["']\s*:|$)|\[\s*$""")
_ENOUGH = 1 << 16  # characters that settle whether a text that looks like JSON is JSON so far
_CUT = 32  # an error this near the end of a cut text may be the cut's doing


def by_name(name: str) -> InputFormat | None:
    """The format that a file's name tells, `.gz` and `.zst` aside; None if it tells none."""
    lowered = name.lower()
    for suffix in COMPRESSED:
        lowered = lowered.removesuffix(suffix)
    _, dot, suffix = lowered.rpartition(".")
    return BY_SUFFIX.get(suffix) if dot else None


def find_format(name: str, feed: InputStream, report: Report) -> InputFormat:
    """The format by name, else by bytes; lines that look like another one are noted. Raises InputError for UTF-16."""
    named = by_name(name)
    if named in {None, "lines"} and feed.lookahead.startswith((b"\xff\xfe", b"\xfe\xff")):
        hint = "convert it with `iconv -f UTF-16 -t UTF-8`, or take it as it is with `--input-format lines`"
        raise InputError("this looks like UTF-16", hint, feed.name)
    found = named or sniff(feed)
    if not named and found == "lines" and (like := _resembled(feed.first_line()[0])):
        told = f"`--input-format {like.lower()}` says what is wrong, `--input-format lines` spares this note"
        report.note(f"{feed.name} looks like {like}, but is not valid: its lines are taken as plain text ({told})")
    return found


def _resembled(line: bytes) -> str | None:
    """What a first line that was taken for plain text looks like."""
    if _JSON_LIKE.match(line):
        return "JSON" if line.startswith(b"[") else "JSONL"
    return "YAML" if line.startswith(b"- ") and _YAML_START.match(line.decode("utf-8", "replace")) else None


def sniff(feed: InputStream) -> InputFormat:
    """The format that the bytes tell; reads ahead as far as that takes."""
    line, _ = feed.first_line()
    start = line[:1]
    if start in {b"{", b'"'} and _is_json(line, (dict, str)):
        return "jsonl"
    if start in {b"{", b"["} and _whole_is_json(feed):
        return "json"
    if _YAML_START.match(line.decode("utf-8", "replace")) and _whole_is_yaml(feed):
        return "yaml"
    return "lines"


def _is_json(data: bytes | bytearray, kinds: tuple[type, ...]) -> bool:
    from rerank_cli.readers.values import TOO_DEEP, exact

    try:
        # With bad UTF-8, or nested too deeply, it is still JSON: the reader says what is wrong with it.
        return isinstance(exact(data.decode("utf-8", "replace"), ""), kinds)
    except InputError as exc:
        return TOO_DEEP in exc.message


def _whole_is_json(feed: InputStream) -> bool:
    """Whether everything is one JSON list or object; what cannot be is seen early, without reading it all."""
    import json

    from rerank_cli.readers.values import TOO_DEEP, blank_from, value_at

    text = feed.lookahead[:_ENOUGH].decode("utf-8", "replace")
    cut = len(feed.lookahead) > _ENOUGH or feed.grow()
    try:
        _, end = value_at(text, blank_from(text, 0))
        early = blank_from(text, end) == len(text)
    except json.JSONDecodeError as exc:
        at_the_cut = exc.pos >= len(text) - _CUT or exc.msg.startswith("Unterminated string")
        early = exc.msg == TOO_DEEP or (cut and at_the_cut)
    except ValueError:
        early = True
    return early and _is_json(feed.fill(), (dict, list))


def _whole_is_yaml(feed: InputStream) -> bool:
    from rerank_cli.readers.yamltext import holds_documents

    try:
        return holds_documents(feed.fill().decode())
    except UnicodeDecodeError:
        return False
