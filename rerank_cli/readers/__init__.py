"""Bytes to records: opens the inputs, detects their formats, and yields documents in chunks as they arrive.

Only this folder opens input files. It knows nothing of models, ranking or output.
"""

from __future__ import annotations

from dataclasses import fields as fields_of
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.absence import FieldCheck, checked, without_empty
from rerank_cli.errors import InputError, UsageError
from rerank_cli.fields import refuse_fields
from rerank_cli.readers.chunks import in_chunks
from rerank_cli.readers.delimiters import SAMPLE, parse_delimiter
from rerank_cli.readers.folders import in_folder
from rerank_cli.readers.formats import by_name, detect_format, suggest_format
from rerank_cli.readers.input_stream import InputStream, check_file, open_stream
from rerank_cli.records import Document, DocumentStream, RequestOptions, Source
from rerank_cli.settings import DECODING, Decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rerank_cli.report import Report
    from rerank_cli.settings import FieldSettings, InputFormat, InputSettings
    from rerank_cli.terminal import Terminal

    # (fields, index of the first document) -> chunks
    Chunks = Callable[[FieldSettings, int], Iterator[list[Document]]]


class _Input(NamedTuple):
    """One open input: its bytes, how its documents are read, and what a request in it says."""

    stream: InputStream
    chunks: Chunks
    options: RequestOptions = RequestOptions()
    start: bytes = b""  # how it begins
    read_as: InputFormat = "lines"


def open_documents(
    inputs: InputSettings, terminal: Terminal, report: Report, *, stdin_taken: bool = False
) -> DocumentStream:
    """The documents of all inputs, numbered through, and the options of a request among them.

    The first input is opened at once, so that a request's options are known; the others when their turn comes.

    Args:
        inputs: which files, in which format, and what of a document is scored.
        terminal: gives stdin.
        report: receives counts and notes.
        stdin_taken: stdin has been read already, as by `--query-file -`.

    Raises:
        UsageError: nothing to read, or stdin named twice.
        InputError: (also while the chunks are read) an input that is missing, unreadable or malformed.
    """
    names = _names(inputs, terminal, stdin_taken=stdin_taken)
    for name in names:
        if name != "-":
            check_file(name, folders=inputs.input_format == "files")
    if inputs.input_format == "files":
        from rerank_cli.readers.wholefiles import read_files

        refuse_fields(inputs.fields, "", "a whole file")
        whole = in_chunks(read_files(names, terminal.stdin, report, inputs.decoding))
        return DocumentStream(without_empty(chunk, inputs.fields, report) for chunk in whole)
    open_input = partial(_open_input, inputs=inputs, terminal=terminal, report=report)
    first = open_input(names[0])
    chunks = _chain(names, first, open_input, inputs, report)
    return DocumentStream(_with_note(chunks, report) if inputs.fields.join_titles else chunks, first.options)


def read_query(name: str, terminal: Terminal, decoding: Decoding = DECODING) -> str:
    """The query that a file holds (`-` is stdin), without blanks around it; raises InputError."""
    from rerank_cli.readers.values import decode

    if name != "-":
        check_file(name)
    stream = open_stream(name, terminal.stdin, decoding)
    try:
        return decode(stream.whole(), stream.name).strip()
    finally:
        stream.close()


def _names(inputs: InputSettings, terminal: Terminal, *, stdin_taken: bool) -> tuple[str, ...]:
    names = inputs.files or ("-",)
    if inputs.input_format != "files":
        names = tuple(name if name == "-" else in_folder(name, "documents") for name in names)
    if names.count("-") > 1:
        raise UsageError("stdin (`-`) can be read only once", "name it once; further inputs are files")
    if stdin_taken and "-" in names:
        raise UsageError("stdin already holds the query", "name the files that hold the documents")
    if not inputs.files and terminal.stdin_tty:
        hint = 'as in `rerank --query "…" docs.jsonl` or `… | rerank --query "…"`; `rerank --help` shows more'
        raise UsageError("no documents: name files, or pipe documents in", hint)
    if inputs.null and inputs.input_format not in {"auto", "lines", "files"}:
        hint = "leave one of them out"
        raise UsageError(f"--null takes plain records, not --input-format {inputs.input_format}", hint)
    return names


def _open_input(name: str, *, inputs: InputSettings, terminal: Terminal, report: Report) -> _Input:
    """Open an input and read as far as the options of a request in it."""
    stream = open_stream(name, terminal.stdin, inputs.decoding)
    input_format = _chosen_format(name, inputs) or detect_format(name, stream, inputs.fields, report)
    start = bytes(stream.lookahead[:SAMPLE])
    try:
        if inputs.fields.records and inputs.input_format != "lines":
            opened = _open_records(stream, input_format, inputs, report)
        elif input_format == "tsv" and (tabbed := _headerless(stream, inputs.fields, report)):
            opened = tabbed
        elif input_format == "lines":
            from rerank_cli.readers.lines import read_lines

            opened = _Input(stream, partial(read_lines, stream, report, null=inputs.null))
        elif input_format in {"csv", "tsv"}:
            from rerank_cli.readers.delimited import read_rows

            delimiter = (
                parse_delimiter(inputs.delimiter) if inputs.delimiter else "\t" if input_format == "tsv" else None
            )
            opened = _Input(stream, partial(read_rows, stream, delimiter, report))
        elif input_format == "jsonl":
            opened = _open_lines(stream, inputs, report)
        else:
            opened = _open_whole(stream, input_format, inputs, report)
    except InputError as error:
        suggest_format(error, start, inputs.fields, input_format)
        raise
    return opened._replace(start=start, read_as=input_format)


def _headerless(stream: InputStream, fields: FieldSettings, report: Report) -> _Input | None:
    """Tab-separated ids and texts without a header, as MS MARCO has them; None if the first line is a header."""
    from rerank_cli.readers.headerless import columns_of, read_tabbed

    columns = columns_of(stream.first_line()[0], fields)
    return _Input(stream, partial(read_tabbed, stream, columns, report)) if columns else None


def _open_lines(stream: InputStream, inputs: InputSettings, report: Report) -> _Input:
    """JSON lines: documents, one request or answer of a search engine, or its records."""
    from rerank_cli.readers.first_line import lines_hold
    from rerank_cli.readers.jsonl import line_elements, read_jsonl

    holds = lines_hold(stream, inputs.fields)
    if holds == "documents":
        return _Input(stream, partial(read_jsonl, stream, report))
    if holds != "records":
        return _open_whole(stream, "json", inputs, report)
    from rerank_cli.readers.request import read_elements
    from rerank_cli.readers.values import Parsed

    parsed = Parsed({}, partial(line_elements, stream))
    return _Input(stream, partial(read_elements, parsed, Source(stream.name, "json"), report))


def _open_records(stream: InputStream, input_format: InputFormat, inputs: InputSettings, report: Report) -> _Input:
    """The records that --records names, in JSON (also in several values after each other) or YAML."""
    if input_format in {"csv", "tsv"}:
        hint = "remove `--records`: each row is a record"
        raise InputError(f"--records takes JSON or YAML, not {input_format.upper()}", hint, stream.name)
    if input_format == "yaml":
        return _open_whole(stream, input_format, inputs, report)
    from rerank_cli.readers.answers import records_at
    from rerank_cli.readers.request import read_elements, request_options

    parsed = records_at(stream.whole(), str(inputs.fields.records), stream.name)
    options = request_options(parsed, stream.name, report)
    return _Input(stream, partial(read_elements, parsed, Source(stream.name, "json"), report), options)


def _open_whole(stream: InputStream, input_format: InputFormat, inputs: InputSettings, report: Report) -> _Input:
    """A JSON or YAML text, which is read as a whole."""
    if input_format == "yaml":
        from rerank_cli.readers.yamltext import parse_yaml as parse
    else:
        from rerank_cli.readers.jsontext import parse_json as parse
    from rerank_cli.readers.answers import read_answer
    from rerank_cli.readers.request import check_document, read_elements, request_options

    text = parse(stream.whole(), stream.name)
    parsed = read_answer(text, stream.name, inputs.fields)
    if parsed is text:
        parsed = check_document(text, inputs.fields, several=len(inputs.files) > 1)
    options = request_options(parsed, stream.name, report)
    return _Input(stream, partial(read_elements, parsed, Source(stream.name, "json"), report), options)


def _chosen_format(name: str, inputs: InputSettings) -> InputFormat | None:
    """The format that options choose; None if they choose none."""
    if inputs.null:
        input_format = by_name(name) if inputs.input_format == "auto" else None
        if input_format not in {None, "lines"}:
            hint = "`--input-format lines` reads it as plain records that end with NUL"
            raise UsageError(f"--null takes plain records, and {name} is {input_format} by its name", hint)
        return "lines"
    if inputs.input_format != "auto":
        return inputs.input_format
    return "csv" if inputs.delimiter else None


def _chain(
    names: tuple[str, ...], first: _Input, open_input: Callable[[str], _Input], inputs: InputSettings, report: Report
) -> Iterator[list[Document]]:
    """The chunks of one input after the other, numbered through; named fields that no record has are reported."""
    fields = inputs.fields
    if first.options.rank_fields:
        from rerank_cli.readers.request import scored_fields

        fields = scored_fields(fields, first.options)
    check = FieldCheck(fields)
    index = 0
    current = first
    for number, name in enumerate(names):
        if number:
            current = open_input(name)
            _check_same_options(first.options, current, inputs.settled)
        check.begin(current.stream.name)
        try:
            for chunk in checked(current.chunks(fields, index), check, report, last=number == len(names) - 1):
                index = chunk[-1].index + 1
                if kept := without_empty(chunk, fields, report):
                    yield kept
        except InputError as error:
            suggest_format(error, current.start, fields, current.read_as)
            raise
        finally:
            current.stream.close()


def _with_note(chunks: Iterator[list[Document]], report: Report) -> Iterator[list[Document]]:
    """The chunks; a note if title and text of the first documents were joined."""
    from rerank_cli.readers.titles import note_titles

    for number, chunk in enumerate(chunks):
        if number == 0:
            note_titles(chunk[0], report)
        yield chunk


def _check_same_options(first: RequestOptions, current: _Input, settled: frozenset[str]) -> None:
    """Raises InputError if a later request differs in an option that counts: scoring has begun."""
    for item in fields_of(RequestOptions):
        value = getattr(current.options, item.name)
        counts = item.name not in settled and item.name not in {"model", "id", "query_id"}
        if counts and value is not None and value != getattr(first, item.name):
            hint = "name this file first, or run `rerank` once per request (`rerank batch` takes them all)"
            message = f"the request's `{item.name}` differs from that of the first input"
            raise InputError(message, hint, current.stream.name)
