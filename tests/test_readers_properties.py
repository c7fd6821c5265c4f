"""Readers on generated input: only RerankError is raised, bytes round-trip, and the formats agree."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from readers_support import load_value, read

from rerank_cli.compression import program_of
from rerank_cli.errors import RerankError
from rerank_cli.readers.binary import file_type
from rerank_cli.readers.encodings import marked_encoding
from rerank_cli.readers.yamltext import load_yaml

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.builds(
    lambda text, rest: {**rest, "text": text},
    st.text(max_size=20),
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3),
)
DOCUMENTS = st.lists(OBJECTS | st.text(max_size=10), max_size=5)


def dumped(value: Any, escape: bool, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=escape, indent=indent)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent).encode()


@given(
    data=st.binary(max_size=60)
    | st.text(st.sampled_from('[]{}":,-0e tfn\\\n\r\0u&*|>#!%?ax'), max_size=60).map(str.encode),
    settings_=st.fixed_dictionaries(
        {"input_format": st.sampled_from(["auto", "jsonl", "json", "yaml", "lines", "csv", "tsv", "files"])},
        optional={"rank_fields": st.just(("a", "x")), "prior_field": st.just("a"), "field_format": st.just("text")},
    ),
)
@settings(max_examples=250, deadline=None)
def test_any_bytes_are_read_or_refused_with_a_rerank_error(data: bytes, settings_: dict[str, Any]) -> None:
    try:
        reading = read(data, **settings_)
    except RerankError:
        return
    for document in reading.documents:
        assert b"\n" not in document.raw or document.source.kind in {"row", "file"}
        document.text.encode()
        if document.source.kind != "file":
            load_value(document)


@given(documents=DOCUMENTS, escape=st.booleans())
@settings(max_examples=100, deadline=None)
def test_json_lines_keep_bytes_values_and_order(documents: list[Any], escape: bool) -> None:
    raws = [dumped(document, escape) for document in documents]
    reading = read(b"\n".join(raws), input_format="jsonl")
    assert reading.raws == raws
    assert [load_value(document) for document in reading.documents] == documents


@given(documents=DOCUMENTS, escape=st.booleans(), indent=st.sampled_from([None, 0, 1, 4]), request_=st.booleans())
@settings(max_examples=100, deadline=None)
def test_json_lists_and_requests_keep_values_on_one_line(
    documents: list[Any], escape: bool, indent: int | None, request_: bool
) -> None:
    value = {"query": "q", "documents": documents, "top_n": 1} if request_ else documents
    reading = read(dumped(value, escape, indent), input_format="json")
    assert not any(b"\n" in raw for raw in reading.raws)
    assert [load_value(document) for document in reading.documents] == documents
    if indent is None:
        assert reading.raws == [dumped(document, escape) for document in documents] or not escape
    assert reading.body.query == ("q" if request_ else None)


@example(blobs=[b"\x1f", b"\x8b\xff\r"], ends=b"")
@given(blobs=st.lists(st.binary(max_size=20), max_size=8), ends=st.sampled_from([b"", b"\n"]))
@settings(max_examples=100, deadline=None)
def test_lines_come_back_byte_for_byte(blobs: list[bytes], ends: bytes) -> None:
    data = b"\n".join(blobs) + ends
    # Compressed, binary and marked data is unpacked, refused or decoded: other tests try that.
    assume(not data.startswith((codecs.BOM_UTF8, b"PAR1")))
    assume(not (program_of(data) or file_type(data, "-") or marked_encoding(data)))
    reading = read(data, input_format="lines")
    assert reading.raws == [line for line in data.split(b"\n") if line.decode("utf-8", "replace").strip()]
    assert reading.texts == [raw.decode("utf-8", "replace").removesuffix("\r") for raw in reading.raws]


@given(
    rows=st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=5), newline=st.sampled_from(["\n", "\r\n"]), tab=st.booleans()
)
@settings(max_examples=100, deadline=None)
def test_rows_written_by_the_csv_module_come_back(rows: list[tuple[str, str]], newline: str, tab: bool) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter="\t" if tab else ",", lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text"), *rows])
    data = out.getvalue().encode()
    reading = read(data, input_format="tsv" if tab else "csv")
    assert [(document.id or "", document.text) for document in reading.documents] == rows
    assert [tuple(load_value(document).values()) for document in reading.documents] == rows
    header = reading.documents[0].source.header if rows else data.removesuffix(newline.encode())
    joined = newline.encode().join([header, *reading.raws])
    assert joined + newline.encode() == data


@given(documents=st.lists(st.fixed_dictionaries({"id": ANY_TEXT, "title": ANY_TEXT, "text": ANY_TEXT}), max_size=4))
@pytest.mark.parametrize(
    "fields", [{}, {"rank_fields": ("title", "text")}, {"rank_fields": ("text",), "field_format": "text"}]
)
@settings(max_examples=60, deadline=None)
def test_every_format_gives_the_same_texts(documents: list[dict[str, str]], fields: dict[str, Any]) -> None:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["id", "title", "text"], quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(documents)
    lines = read(b"\n".join(dumped(document, False) for document in documents), input_format="jsonl", **fields)
    for data, kind in (
        (dumped(documents, False), "json"),
        (dumped(documents, True, 2), "json"),
        (yaml.safe_dump(documents, default_style='"').encode(), "yaml"),  # quoted: `0E0` is a number in YAML 1.2 only
        (out.getvalue().encode(), "csv"),
    ):
        other = read(data, input_format=kind, **fields)
        assert other.texts == lines.texts
        assert other.ids == lines.ids


# PyYAML writes for YAML 1.1: what is a number or a constant in 1.2 only (`0E0`, `0o7`) it leaves unquoted.
STRINGS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).filter(
    lambda text: (
        not re.fullmatch(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)", text)
    )
)
TREES = st.recursive(
    STRINGS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=12,
)


@given(value=TREES, flow=st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_pyyaml_writes_is_read_back(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow)
    assert load_yaml(text, "f").documents[0][0] == value


@given(text=st.text(st.sampled_from("ab:- \n[]{},&*!#|>'\"%@`?~"), max_size=40))
@settings(max_examples=150, deadline=None)
def test_yaml_agrees_with_pyyaml_on_strings_and_shapes(text: str) -> None:
    """Our builder against PyYAML's base loader, which reads every scalar as text."""
    try:
        expected = list(yaml.load_all(text, yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, TypeError):
        return
    try:
        found = [value for value, _ in load_yaml(text, "f").documents]
    except RerankError:
        return
    assert [_texts(value) for value in found] == [_texts(value) for value in expected]


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(item) for item in value]
    if isinstance(value, dict):
        return {"" if key == "~" else key: _texts(item) for key, item in value.items()}
    return "" if value in (None, "~") else value
