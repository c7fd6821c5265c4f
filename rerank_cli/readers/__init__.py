"""Bytes to records: opens the inputs, finds their formats, and hands out documents in chunks as they arrive.

Only this folder opens input files. It knows nothing of models, ranking or output.
"""

from __future__ import annotations

from dataclasses import fields as fields_of
from functools import partial
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import InputError, UsageError
from rerank_cli.fields import refuse_fields
from rerank_cli.readers.formats import by_name, find_format
from rerank_cli.readers.input_stream import InputStream, check_file, open_feed
from rerank_cli.records import Document, DocumentStream, RequestOptions, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rerank_cli.readers.values import Parsed
    from rerank_cli.records import Request
    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings, InputFormat, InputSettings
    from rerank_cli.terminal import Terminal

    # (fields, index of the first document) -> chunks
    Chunks = Callable[[FieldSettings, int], Iterator[list[Document]]]

MOST_DOCUMENTS = 8192  # a chunk
MOST_TEXT = 8_000_000  # characters and bytes a chunk, roughly


def open_documents(
    inputs: InputSettings, terminal: Terminal, report: Report, *, stdin_taken: bool = False
) -> DocumentStream:
    """The documents of all inputs, numbered through, and what a request among them said.

    The first input is opened at once, so that a request's body is known; the others when their turn comes.

    Args:
        inputs: which files, in which format, and what of a document is scored.
        terminal: gives stdin.
        report: receives counts and notes.
        stdin_taken: stdin was read already, as by `--query-file -`.

    Raises:
        UsageError: nothing to read, or stdin named twice.
        InputError: (also while the chunks are read) an input that is missing, unreadable or malformed.
    """
    names = _names(inputs, terminal, stdin_taken=stdin_taken)
    for name in names:
        if name != "-":
            check_file(name)
    if inputs.input_format == "files":
        from rerank_cli.readers.wholefiles import read_files

        refuse_fields(inputs.fields, "", "a whole file")
        return DocumentStream(in_chunks(read_files(names, terminal.stdin)))
    start = partial(_start, inputs=inputs, terminal=terminal, report=report)
    body, chunks, feed = start(names[0])
    chain = _chain(names, (chunks, feed), start, _effective(inputs, body), body, inputs.settled)
    return DocumentStream(chain, body)


def parse_request(data: bytes | dict[str, Any], where: str, fields: FieldSettings, report: Report) -> Request:
    """One Cohere-shaped request; see `rerank_cli.readers.request.parse_request`."""
    from rerank_cli.readers.request import parse_request as parse

    return parse(data, where, fields, report)


def read_query(name: str, terminal: Terminal) -> str:
    """The query that a file holds (`-` is stdin), without blanks around it; raises InputError."""
    from rerank_cli.readers.values import decode

    if name != "-":
        check_file(name)
    feed = open_feed(name, terminal.stdin)
    try:
        return decode(feed.whole(), feed.name).strip()
    finally:
        feed.close()


def in_chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in lists that are small enough to hold."""
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text) + len(document.raw)
        if len(chunk) >= MOST_DOCUMENTS or size >= MOST_TEXT:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _names(inputs: InputSettings, terminal: Terminal, *, stdin_taken: bool) -> tuple[str, ...]:
    names = inputs.files or ("-",)
    if names.count("-") > 1:
        raise UsageError("stdin (`-`) can be read only once")
    if stdin_taken and "-" in names:
        raise UsageError("stdin holds the query already", "name the files that hold the documents")
    if not inputs.files and terminal.stdin_tty:
        hint = 'as in `rerank --query "…" docs.jsonl` or `… | rerank --query "…"`; `rerank --help` shows more'
        raise UsageError("no documents: name files, or pipe documents in", hint)
    if inputs.null and inputs.input_format not in {"auto", "lines", "files"}:
        raise UsageError(f"--null takes plain records, not --input-format {inputs.input_format}")
    return names


def _start(
    name: str, *, inputs: InputSettings, terminal: Terminal, report: Report
) -> tuple[RequestOptions, Chunks, InputStream]:
    """Open an input and read as far as its body."""
    feed = open_feed(name, terminal.stdin)
    kind = _format(name, feed, inputs, report)
    if kind == "lines":
        return RequestOptions(), partial(_lines, feed, report, null=inputs.null), feed
    if kind in {"csv", "tsv"}:
        return RequestOptions(), partial(_rows, feed, "," if kind == "csv" else "\t", report), feed
    if kind == "jsonl" and not _is_request(feed, inputs.fields):
        return RequestOptions(), partial(_jsonl, feed, report), feed
    if kind == "yaml":
        from rerank_cli.readers.yamltext import parse_yaml as parse
    else:
        from rerank_cli.readers.jsontext import parse_json as parse

    from rerank_cli.readers.request import check_top, read_body

    parsed = parse(feed.whole(), feed.name)
    parsed = check_top(parsed, inputs.fields, feed.name)
    return read_body(parsed.keys, feed.name, report), partial(_elements, feed.name, parsed, report), feed


def _format(name: str, feed: InputStream, inputs: InputSettings, report: Report) -> InputFormat:
    if inputs.null:
        kind = by_name(name) if inputs.input_format == "auto" else None
        if kind not in {None, "lines"}:
            hint = "`--input-format lines` reads it as plain records that end with NUL"
            raise UsageError(f"--null takes plain records, and {name} is {kind} by its name", hint)
        return "lines"
    if inputs.input_format != "auto":
        return inputs.input_format
    return find_format(name, feed, report)


def _is_request(feed: InputStream, fields: FieldSettings) -> bool:
    """Whether JSON lines hold just one line, a request, be it a faulty one; raises InputError for several requests."""
    line, more = feed.first_line()
    if not line.startswith(b"{") or (b'"documents"' not in line and (more or b'"query"' not in line)):
        return False
    from rerank_cli.readers.request import is_meant
    from rerank_cli.readers.values import exact

    try:
        value = exact(line.decode(), feed.name)
    except (InputError, UnicodeDecodeError):
        return False  # the reader says it better
    listed = isinstance(value.get("documents"), list)
    if listed and more and isinstance(value.get("query"), str):
        hint = "`rerank batch` takes one request a line"
        raise InputError("several requests, one a line; `rank` takes one", hint, feed.name)
    return not more and (listed or is_meant(value, fields))


def _lines(
    feed: InputStream, report: Report, fields: FieldSettings, start: int, *, null: bool
) -> Iterator[list[Document]]:
    from rerank_cli.readers.lines import read_lines

    refuse_fields(fields, feed.name, "a plain line")
    return read_lines(feed, report, start, null=null)


def _jsonl(feed: InputStream, report: Report, fields: FieldSettings, start: int) -> Iterator[list[Document]]:
    from rerank_cli.readers.jsonl import read_jsonl

    return read_jsonl(feed, fields, report, start)


def _rows(
    feed: InputStream, delimiter: str, report: Report, fields: FieldSettings, start: int
) -> Iterator[list[Document]]:
    from rerank_cli.readers.delimited import read_rows

    return in_chunks(read_rows(feed, delimiter, fields, report, start))


def _elements(name: str, parsed: Parsed, report: Report, fields: FieldSettings, start: int) -> Iterator[list[Document]]:
    from rerank_cli.readers.request import build

    return in_chunks(build(parsed.elements(), fields, report, Source(name, "json"), start))


def _effective(inputs: InputSettings, body: RequestOptions) -> FieldSettings:
    if not body.rank_fields:
        return inputs.fields
    from rerank_cli.readers.request import effective

    return effective(inputs.fields, body)


def _chain(
    names: tuple[str, ...],
    first: tuple[Chunks, InputStream],
    start: Callable[[str], tuple[RequestOptions, Chunks, InputStream]],
    fields: FieldSettings,
    body: RequestOptions,
    settled: frozenset[str],
) -> Iterator[list[Document]]:
    """The chunks of one input after the other, numbered through."""
    chunks, feed = first
    index = 0
    for number, name in enumerate(names):
        if number:
            further, chunks, feed = start(name)
            _agree(body, further, settled, feed.name)
        try:
            for chunk in chunks(fields, index):
                index = chunk[-1].index + 1
                yield chunk
        finally:
            feed.close()


def _agree(first: RequestOptions, further: RequestOptions, settled: frozenset[str], where: str) -> None:
    """A later request may say nothing new that counts: the scoring has begun."""
    for item in fields_of(RequestOptions):
        said = getattr(further, item.name)
        counts = item.name not in settled and item.name not in {"model", "id", "query_id"}
        if counts and said is not None and said != getattr(first, item.name):
            hint = "name it first, or give each request to a `rerank` of its own (or all to `rerank batch`)"
            raise InputError(f"the request's `{item.name}` differs from what the first input said", hint, where)
