"""Lines of other programs are never taken for CSV, JSON or YAML, and nothing is said of them that is not so.

`cases/line_streams.txt` holds what programs print and people write, each under a heading `=== what it is`.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from rerank_cli.readers.formats import detect_format
from rerank_cli.readers.input_stream import InputStream
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings

STREAMS = dict(
    part.split("\n", 1)
    for part in ("\n" + (Path(__file__).parent / "cases" / "line_streams.txt").read_text()).split("\n=== ")[1:]
)
FIELDS = [FieldSettings(), FieldSettings(rank_fields=("title", "body")), FieldSettings(text_field="message")]


def test_there_are_two_hundred() -> None:
    assert len(STREAMS) >= 200


@pytest.mark.parametrize("name", STREAMS)
def test_lines_are_lines(name: str) -> None:
    for fields in FIELDS:
        for text in (STREAMS[name], STREAMS[name].rstrip("\n"), STREAMS[name].replace("\n", "\r\n")):
            stream = InputStream("<stdin>", io.BytesIO(text.encode()))
            assert detect_format("-", stream, fields, Report()) == "lines"


def test_few_of_them_get_a_note() -> None:
    """A note is for what looks like a table with broken rows; lines of programs do not."""
    noted = []
    for name, text in STREAMS.items():
        report = Report()
        detect_format("-", InputStream("<stdin>", io.BytesIO(text.encode())), FieldSettings(), report)
        noted += [name] * any("looks like a table" in note for note in report.notes)
    assert noted == []
