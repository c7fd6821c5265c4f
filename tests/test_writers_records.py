"""Records keep their bytes and values in jsonl, json, lines, csv, tsv and markdown, and gain rank and score."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from writers_support import FILE, JSON, LINE, document, ranking, write

from rerank_cli.records import Source
from rerank_cli.report import Report
from rerank_cli.writers import choose_format
from rerank_cli.writers.members import Names, decode_string, members

csv.field_size_limit(10_000_000)
OURS = ("index", "rank", "relevance_score")

# Any text that JSON can hold, lone surrogates and line separators among it.
anything = st.text(
    st.characters() | st.sampled_from("\u2028\u2029\ud800\udfff\x00\x1b\x85\\\"'|,\t\r\n{}[]:<>&`*_~$ "), max_size=20
)
keys = st.sampled_from([*OURS, "r\\ank", "text", "id", "", "explain", "index ", "é"]) | anything
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | anything
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
spaces = st.sampled_from(["", " ", "\n", "\t\r\n  "])


@st.composite
def escaped_strings(draw: st.DrawFn, text: str) -> str:
    """A JSON string of a text with letters escaped at whim: one value has many spellings."""
    parts = []
    for char in text:
        if char < " " or char in '"\\' or 0xD800 <= ord(char) < 0xE000 or draw(st.integers(0, 5)) == 0:
            units = char.encode("utf-16-be", "surrogatepass")
            parts += [f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)]
        else:
            parts.append(char)
    return '"' + "".join(parts) + '"'


@st.composite
def spelt(draw: st.DrawFn, value: Any) -> str:
    """One of the many JSON texts of a value."""
    pad = draw(spaces)
    if isinstance(value, str):
        return pad + draw(escaped_strings(value)) + pad
    if isinstance(value, list):
        return pad + "[" + ",".join(draw(spelt(item)) for item in value) + pad + "]"
    if isinstance(value, dict):
        pairs = [pad + draw(escaped_strings(key)) + pad + ":" + draw(spelt(item)) for key, item in value.items()]
        return pad + "{" + ",".join(pairs) + pad + "}" + pad
    return pad + json.dumps(value) + pad


@st.composite
def objects(draw: st.DrawFn) -> str:
    """The JSON text of an object, now and then with a key twice."""
    pairs = draw(st.lists(st.tuples(keys, values), max_size=5))
    texts = [draw(escaped_strings(key)) + ":" + draw(spelt(value)) for key, value in pairs]
    return "{" + draw(spaces) + ",".join(texts) + draw(spaces) + "}"


def exact(text: str | bytes) -> Any:
    """A JSON value with numbers as they are written and all members, repeated ones too."""
    data = text.decode() if isinstance(text, bytes) else text
    return json.loads(data, object_pairs_hook=list, parse_int=lambda n: ("int", n), parse_float=lambda n: ("float", n))


def one(raw: str | bytes, source: Source = JSON, **settings: Any) -> bytes:
    form = settings.pop("form", "jsonl")
    return write(ranking([document(raw, source, None if source is LINE else "x")], [0.25]), form, **settings)


@given(objects())
def test_a_spliced_record_is_the_same_value_plus_the_three_keys(raw: str) -> None:
    line = one(raw)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    expected = [(key, value) for key, value in exact(raw) if key not in OURS]
    assert exact(line) == [
        *expected,
        ("index", ("int", "3")),
        ("rank", ("int", "1")),
        ("relevance_score", ("float", "0.25")),
    ]


@given(st.lists(objects(), min_size=1, max_size=5))
def test_neighbours_change_nothing_about_a_record(raws: list[str]) -> None:
    """Blocks of plain records take a short cut; it must be taken only if it is right for all of them."""
    together = write(ranking([document(raw, JSON, "x") for raw in raws], [0.25] * len(raws))).split(b"\n")
    for raw, line in zip(raws, together, strict=False):
        assert exact(line)[:-3] == exact(one(raw))[:-3]


@example('{"\\u0041\\u0041\\u0041":null}', "AAA")
@given(objects(), anything.filter(bool))
def test_a_result_key_holds_all_three_and_replaces_its_namesake_only(raw: str, name: str) -> None:
    *rest, (last, nested) = exact(one(raw, result_key=name))
    assert rest == [pair for pair in exact(raw) if pair[0] != name]
    assert last == name
    assert [key for key, _ in nested] == list(OURS)


@given(objects())
def test_json_holds_the_documents_own_value(raw: str) -> None:
    result = exact(one(raw, form="json"))[0][1][0]
    assert result[-1] == ("document", exact(raw))


@given(objects())
def test_lines_of_objects_are_the_same_value_on_one_line(raw: str) -> None:
    line = one(raw, form="lines")
    assert line.count(b"\n") == 1
    assert exact(line) == exact(raw)


@given(objects())
def test_members_are_found_as_a_parser_finds_them(raw: str) -> None:
    data = raw.encode()
    assert [(m.key, exact(data[m.value : m.end])) for m in members(data)] == exact(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("{}", '{"index":3,"rank":1,"relevance_score":0.25}'),
        ("{ }", '{ "index":3,"rank":1,"relevance_score":0.25}'),
        (
            '{"n":123456789012345678901234567890}',
            '{"n":123456789012345678901234567890,"index":3,"rank":1,"relevance_score":0.25}',
        ),
        ('{"n":1.10,"b":1,"a":2}', '{"n":1.10,"b":1,"a":2,"index":3,"rank":1,"relevance_score":0.25}'),
        ('{"t":"\\ud800","u":"\u2028"}', '{"t":"\\ud800","u":"\u2028","index":3,"rank":1,"relevance_score":0.25}'),
        ('{"a":1,"rank":2 , "b" : {"rank":3}}', '{"a":1, "b" : {"rank":3},"index":3,"rank":1,"relevance_score":0.25}'),
        ('{"\\u0072ank":1}', '{"index":3,"rank":1,"relevance_score":0.25}'),
        ('{"rank":1,"a":"rank","rank":2}', '{"a":"rank","index":3,"rank":1,"relevance_score":0.25}'),
        ('"a \\ud800 b"', '{"text":"a \\ud800 b","index":3,"rank":1,"relevance_score":0.25}'),
        ('{"a":1}\r', '{"a":1,"index":3,"rank":1,"relevance_score":0.25}'),
        ('{"a":\n1}', '{"a": 1,"index":3,"rank":1,"relevance_score":0.25}'),
    ],
)
def test_records_keep_their_bytes(raw: str, expected: str) -> None:
    assert one(raw).decode() == expected + "\n"


def test_replaced_keys_are_counted_once_per_record() -> None:
    report = Report()
    write(
        ranking([document('{"rank":1,"index":2}'), document('{"a":{"rank":1}}'), document('{"rank":2}')]), report=report
    )
    assert report.counts["replaced_keys"] == 2


def test_ranking_twice_gives_the_same_keys_once() -> None:
    first = one('{"text":"x"}')
    assert one(first.rstrip(b"\n")) == first


def test_scores_are_never_rounded() -> None:
    scores = [0.1 + 0.2, 1e-300, 5e-324, 1 / 3, 12345678.9, 1.0]
    lines = write(ranking([document("{}")] * len(scores), scores)).splitlines()
    assert [json.loads(line)["relevance_score"] for line in lines] == scores


def test_invalid_utf8_survives_in_lines_and_is_replaced_in_json() -> None:
    raw = bytes(range(1, 256)).replace(b"\n", b"")
    assert one(raw, LINE, form="lines") == raw + b"\n"
    assert one(raw, LINE, form="tsv") == b"1\t0.25\t" + raw + b"\n"
    assert json.loads(one(raw, LINE))["text"] == raw.decode("utf-8", "replace")
    assert json.loads(one(raw, LINE, form="json"))["results"][0]["document"] == raw.decode("utf-8", "replace")


def test_nul_ends_records_of_lines_ids_and_scored_lines() -> None:
    raw = b"two\nlines"
    assert one(raw, LINE, form="lines", null=True) == b"two\nlines\0"
    assert one(raw, LINE, form="tsv", null=True) == b"1\t0.25\ttwo\nlines\0"
    assert one('"two\\nlines"', form="lines", null=True) == b"two\nlines\0"
    assert one(raw, LINE, form="ids", null=True) == b"3\0"


def test_line_breaks_in_strings_do_not_break_records_apart() -> None:
    report = Report()
    ranked = ranking([document('"two\\nlines\\r"'), document('"one"')])
    assert write(ranked, "lines", report=report) == b"two\\nlines\\r\none\n"
    assert len(report.notes) == 1


def test_ids_fall_back_to_the_index_with_a_count() -> None:
    report = Report()
    documents = [document("{}", id="a"), document("{}"), document("src/x.py", FILE), document("{}", id="")]
    assert write(ranking(documents), "ids", report=report) == b"a\n4\nsrc/x.py\n6\n"
    assert report.counts["missing_id"] == 2


# ---------------------------------------------------------------- csv and tsv

clean = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(',"\t\r\n ;'), max_size=20)
column_names = clean.filter(lambda name: name not in OURS)


def table(data: bytes, delimiter: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True))


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
@given(data=st.lists(st.dictionaries(column_names, clean, max_size=4), min_size=1, max_size=4))
def test_texts_of_objects_come_back_out_of_csv_and_tsv(form: str, delimiter: str, data: list[dict[str, str]]) -> None:
    documents = [document(json.dumps(record), JSON, "x") for record in data]
    header, *rows = table(write(ranking(documents), form), delimiter)
    assert header[-3:] == list(OURS)
    assert set(header[:-3]) == {key for record in data for key in record}
    for record, row in zip(data, rows, strict=True):
        assert dict(zip(header[:-3], row, strict=False)) == dict.fromkeys(header[:-3], "") | record


def test_numbers_and_nested_values_are_in_csv_as_written() -> None:
    raw = '{"n":123456789012345678901234567890,"f":1.10,"t":true,"z":null,"l":[1, {"a":"b,c"}]}'
    rows = table(one(raw, form="csv"), ",")
    assert rows[1][:5] == ["123456789012345678901234567890", "1.10", "true", "", '[1, {"a":"b,c"}]']


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[list[list[str]], str, str]:
    """Rows of equal length as the csv module writes them, with its delimiter and line end."""
    width = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(clean, min_size=width, max_size=width), min_size=2, max_size=4))
    return rows, draw(st.sampled_from([",", "\t"])), draw(st.sampled_from(["\n", "\r\n"]))


def encoded(row: list[str], delimiter: str, quoting: int) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n", quoting=quoting).writerow(row)  # type: ignore[arg-type]
    return out.getvalue().removesuffix("\r\n").encode()


@given(csv_files(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_rows_keep_their_bytes_and_line_ends(made: tuple[list[list[str]], str, str], quoting: int) -> None:
    (columns, *rows), delimiter, newline = made
    source = Source("x", "row", tuple(columns), encoded(columns, delimiter, quoting), delimiter, newline.encode())
    documents = [document(encoded(row, delimiter, quoting), source, "x") for row in rows]
    out = write(ranking(documents), "auto")
    assert all(doc.raw in out for doc in documents)
    assert out.endswith(newline.encode())
    assert [row[: len(columns)] for row in table(out, delimiter)[1:]] == rows
    assert table(out, delimiter)[0] == [*columns, *OURS]
    found = [
        json.loads(line, object_pairs_hook=list)[: len(columns)] for line in write(ranking(documents)).splitlines()
    ]
    assert [[value for _, value in pairs] for pairs in found] == rows


def test_columns_of_our_names_are_replaced_and_short_and_long_rows_kept() -> None:
    report = Report()
    source = Source("x", "row", ("rank", "a", "b"), b'rank,a,"b"')
    documents = [document(raw, source, "x") for raw in ('1,"x,1",y', "2,z", "3,p,q,extra")]
    assert write(ranking(documents, [0.5, 0.25, None]), "csv", report=report).decode().splitlines() == [
        'a,"b",,index,rank,relevance_score',
        '"x,1",y,,3,1,0.5',
        "z,,,4,2,0.25",
        "p,q,extra,5,3,",
    ]
    assert report.counts["replaced_keys"] == 3


def test_rows_of_unlike_files_share_one_header() -> None:
    one_, two = Source("x", "row", ("a",), b"a"), Source("y", "row", ("b", "a"), b"b;a", ";")
    out = write(ranking([document("1", one_, "x"), document("2;3,4", two, "x")], [0.5, 0.25]), "auto")
    assert out == b'a,b,index,rank,relevance_score\n1,,3,1,0.5\n"3,4",2,4,2,0.25\n'


# ---------------------------------------------------------------- markdown

# Control characters other than tab and line ends have no place in Markdown: NUL is forbidden, the others are passed through.
printable = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\t\r\n |\\`*_[]<>&~$#!-+=:1.) "),
    min_size=1,
    max_size=30,
)


def cell_texts(markdown: bytes) -> list[list[str]]:
    """The texts of a rendered table, by an independent parser."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown.decode())
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            assert {child.type for child in token.children or ()} <= {"text", "text_special", "html_inline"}
            rows[-1].append("".join("\n" if c.type == "html_inline" else c.content for c in token.children or ()))
    return rows


@given(st.lists(printable, min_size=1, max_size=4))
def test_text_comes_out_of_markdown_as_text(texts: list[str]) -> None:
    documents = [document(text.encode(), LINE, text) for text in texts]
    rows = cell_texts(write(ranking(documents), "markdown"))
    assert rows[0] == ["rank", "score", "text"]
    assert [row[2] for row in rows[1:]] == texts


# ---------------------------------------------------------------- auto

ROW = {"row"}


@pytest.mark.parametrize(
    ("output", "tty", "kinds", "delimiters", "expected"),
    [
        (None, True, {"line"}, set(), "table"),
        ("-", True, {"json"}, set(), "table"),
        (None, False, {"line"}, set(), "lines"),
        (None, False, ROW, {","}, "csv"),
        (None, False, ROW, {"\t"}, "tsv"),
        (None, False, ROW, {"\t", ","}, "csv"),
        (None, False, {"json"}, set(), "jsonl"),
        (None, False, {"json", "line"}, set(), "jsonl"),
        (None, False, {"file"}, set(), "jsonl"),
        (None, False, set(), set(), "jsonl"),
        ("x.json", True, {"line"}, set(), "json"),
        ("x.JSONL", False, {"line"}, set(), "jsonl"),
        ("x.csv", False, {"json"}, set(), "csv"),
        ("x.tsv", False, {"json"}, set(), "tsv"),
        ("x.md", False, {"json"}, set(), "markdown"),
        ("x.trec", False, {"json"}, set(), "trec"),
        ("x.txt", True, {"line"}, set(), "lines"),
        ("x.txt", True, {"json"}, set(), "jsonl"),
    ],
)
def test_auto_chooses_by_file_name_terminal_and_kind(
    output: Any, tty: bool, kinds: Any, delimiters: Any, expected: str
) -> None:
    from pathlib import Path

    from rerank_cli.settings import OutputSettings
    from rerank_cli.terminal import Terminal

    terminal = Terminal(io.BytesIO(), io.BytesIO(), io.StringIO(), stdout_tty=tty)
    settings = OutputSettings(output=Path(output) if output else None)
    assert choose_format(settings, terminal, kinds, delimiters) == expected


def test_names_find_a_key_however_it_is_escaped() -> None:
    names = Names(("rank",))
    assert names.absent(b'{"text":"\\u00e9 rank"}')
    assert not names.absent(b'{"ran\\u006B":1}')
    assert names.removed(b'{"ran\\u006B":1}') == (b"{}", ["rank"])
    assert decode_string(b'"\\ud800"') == "\ud800"
