"""Bad input to the readers gives the right error, message, hint and line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from readers_support import read, zstd

from rerank_cli.errors import InputError, RerankError, UsageError
from rerank_cli.readers.request import parse_request
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
GOOD = b'{"text":"a"}\n'
PLAIN = "plain text is `--input-format lines`"


@pytest.mark.parametrize(
    ("data", "settings", "message", "hint"),
    [
        pytest.param(
            GOOD * 6 + b'{"text": oops}\n', {}, "<stdin>:7: not valid JSON: expecting value (column 10)", PLAIN,
            id="broken JSON on line 7",
        ),
        pytest.param(
            GOOD + b"\n\n" + b'{"text":"a"} x', {}, "<stdin>:4: not valid JSON: more after the value (column 14)", PLAIN,
            id="more on the line, after blank lines",
        ),
        pytest.param(
            GOOD + b"7\n", {}, "<stdin>:2: a line must hold a JSON object or a string, not a number", PLAIN,
            id="a number",
        ),
        pytest.param(
            GOOD + b"[1]\n", {}, "<stdin>:2: a line must hold a JSON object or a string, not a list", "--input-format json", id="a list"
        ),
        pytest.param(
            GOOD + b'{"text":NaN}\n', {}, "<stdin>:2: not valid JSON: a number may not be NaN (column 9)", "write `null` instead", id="NaN"
        ),
        pytest.param(
            GOOD + b'{"text":"caf\xe9"}\n', {}, "<stdin>:2: invalid UTF-8", "iconv", id="bad UTF-8 in JSON lines"
        ),
        pytest.param(b'{"text":"caf\xe9"}\n', {}, "<stdin>:1: invalid UTF-8", "iconv", id="bad UTF-8 on the first line"),
        pytest.param(b'[\n"a",\n"\xff"]', {}, "<stdin>:3: invalid UTF-8", "iconv", id="bad UTF-8 in a JSON list"),
        pytest.param(b"text\nok\n\xff\n", {"input_format": "csv"}, "<stdin>:3: invalid UTF-8", "iconv", id="in CSV"),
        pytest.param(
            b'{"text":"a"}\n{"id":"1","body":"b"}\n', {"on_missing": "error"},
            "<stdin>:2: field `text` is missing or empty; the document has `id`, `body`",
            "did you mean `--text-field body`?", id="no usable field",
        ),
        pytest.param(
            b'[{"text":"a"},\n\n{"Txet":"b"}]', {"on_missing": "error"},
            "<stdin>:3: field `text` is missing or empty; the document has `Txet`",
            "did you mean `--text-field Txet`?", id="misspelt field in a list",
        ),
        pytest.param(
            b'{"text":null,"n":1}', {"on_missing": "error"},
            "<stdin>:1: field `text` is empty; the document has `text`, `n`",
            "`--on-missing empty` ranks such documents last", id="a null field",
        ),
        pytest.param(
            b'{"Title":"a","Content":"b"}\n', {"rank_fields": ("title", "body")},
            "<stdin>: the document does not have any of the fields `title`, `body`; it has `Title`, `Content`",
            "did you mean `--rank-fields Title`?", id="no rank field",
        ),
        pytest.param(
            b"a line\n", {"rank_fields": ("title", "body")},
            "<stdin>: a plain line has no fields for `--rank-fields title,body`", "--input-format", id="fields of lines",
        ),
        pytest.param(
            b'"a"\n', {"rank_fields": ("title",)}, "<stdin>:1: a plain string has no fields for `--rank-fields title`",
            "remove the option", id="fields of a string",
        ),
        pytest.param(
            GOOD, {"prior_field": "score"}, "<stdin>:1: prior field `score` is missing or null", "retriever",
            id="no prior score",
        ),
        pytest.param(
            b'{"text":"a","score":"high"}', {"prior_field": "score"}, "<stdin>:1: prior field `score` is not a number: 'high'",
            None, id="a prior that is not a number",
        ),
        pytest.param(b'{"a":1}', {"input_format": "json"}, "an object with neither `documents` nor `text`", None, id="object"),
        pytest.param(
            b'{"a":1,\n"hits":[]}', {}, "<stdin>:1: an object with neither `documents` nor `text`; it has `a`, `hits`",
            "--records 'hits[]'", id="another list",
        ),
        pytest.param(
            b'{"document":["a"],\n"query":"q"}', {}, "an object with neither", "rename `document`", id="near miss"
        ),
        pytest.param(b'{"documents":\n"a"}', {}, "<stdin>:2: `documents` must be a list, not a string", None, id="documents a string"),
        pytest.param(b'{"documents":[1]}', {}, "<stdin>:1: a document is an object or a string, not a number", None, id="n"),
        pytest.param(b"[null]", {"on_missing": "error"}, "<stdin>:1: field `text` is missing", None, id="null document"),
        pytest.param(
            b'{"query":"q","documents":["a"]}\n' * 2, {}, "<stdin>: several requests", "rerank batch", id="two requests"
        ),
        pytest.param(b'{"documents":[],"top_n":0}', {}, "`top_n` must be a whole number of at least 1, not 0", None, id="0"),
        pytest.param(b'{"documents":[],"top_n":true}', {}, "`top_n` must be a whole number", None, id="top_n true"),
        pytest.param(b'{"documents":[],"query":7}', {}, "`query` must be a string or a list of strings, not a number", None, id="query 7"),
        pytest.param(
            b'{"documents":[],"rank_fields":"a"}', {}, "`rank_fields` must be a list of field names",
            '"rank_fields": ["a"]', id="rank_fields a string",
        ),
        pytest.param(b'{"documents":[],"rank_fields":[]}', {}, "`rank_fields` is empty", "leave it out", id="no rank_fields"),
        pytest.param(b'{"documents":[],"return_documents":1}', {}, "must be true or false", None, id="return_documents"),
        pytest.param(b"[1,\n2", {"input_format": "json"}, "<stdin>:1: a document is an object", None, id="scalar first"),
        pytest.param(b'["a",\n"b"', {"input_format": "json"}, "<stdin>:2: not valid JSON: expecting `,`", None, id="cut list"),
        pytest.param(
            b'{"text":1}\n{"a":2}', {"input_format": "json", "on_missing": "error"}, "<stdin>:2: field `text` is missing", None, id="several values",
        ),
        pytest.param(b'{"query":"a","query":"b","documents":[]}', {}, "key `query` appears twice", None, id="twice"),
        pytest.param(b"[" * 100_000, {}, "nested too deeply", None, id="JSON nesting bomb"),
        pytest.param(b'{"a":' * 100_000, {"input_format": "jsonl"}, "<stdin>:1: not valid JSON: nested", "leave out what is not scored", id="deep"),
        pytest.param(
            b'{"text":' + b"[" * 700 + b"]" * 700 + b"}", {}, "<stdin>:1: a field is nested deeper than 200 levels", None, id="deep field"
        ),
        pytest.param(b"[1" + b"0" * 5000 + b"]", {"input_format": "json"}, "not valid JSON", None, id="5,000 digits"),
        pytest.param(b"- " * 3000, {"input_format": "yaml"}, "<stdin>:1: nested deeper than 200", None, id="YAML nesting"),
        pytest.param(
            BOMB.encode(), {"input_format": "yaml"}, "<stdin>:7: the aliases expand", "write the values out", id="bomb"
        ),
        pytest.param(
            b"- &a " + b"x" * 1_000_000 + b"\n" + b"- [" + b"*a, " * 1000 + b"]\n", {"input_format": "yaml"},
            "<stdin>:2: the aliases expand", "write", id="YAML bomb of one long string",
        ),
        pytest.param(b"- &a [*a]", {"input_format": "yaml"}, "<stdin>:1: `*a` refers to itself", None, id="self-reference"),
        pytest.param(b"- *a", {"input_format": "yaml"}, "<stdin>:1: unknown alias `*a`", None, id="unknown alias"),
        pytest.param(b"- a: 1\n  a: 2", {"input_format": "yaml"}, "<stdin>:2: key `a` appears twice", None, id="YAML twice"),
        pytest.param(b"- a: [\n", {"input_format": "yaml"}, "<stdin>:2: not valid YAML", None, id="broken YAML"),
        pytest.param(b"- !!python/name:os.system x", {"input_format": "yaml"}, "unknown tag", "leave the tag out", id="tag"),
        pytest.param(b"- {[a]: b}", {"input_format": "yaml"}, "a key must be plain text", None, id="list as key"),
        pytest.param(b"- \x01", {"input_format": "yaml"}, "<stdin>:1: not valid YAML", None, id="control in YAML"),
        pytest.param(b"prose", {"input_format": "yaml"}, "YAML input holds a list", PLAIN, id="prose as YAML"),
        pytest.param(
            b"---\nquery: a\ndocuments: [b]\n---\nquery: c\ndocuments: [d]\n", {}, "<stdin>:2: one request of several",
            "rerank batch", id="YAML requests",
        ),
        pytest.param(
            b"id,text\n1\n", {"input_format": "csv"}, "<stdin>:2: the row has 1 field, the header has 2", "quote",
            id="short row",
        ),
        pytest.param(
            b'id,text\n1,"a\nb"\n\n2,a,b\n', {"input_format": "csv"}, "<stdin>:5: the row has 3 fields", "quote",
            id="long row after a quoted newline",
        ),
        pytest.param(b'text\n"a\nb\n', {"input_format": "csv"}, "<stdin>:2: broken quoting", "quote", id="open quote"),
        pytest.param(b'text\n"a"b\n', {"input_format": "csv"}, "<stdin>:2: broken quoting", "quote", id="text after quote"),
        pytest.param(
            b"id\tbody\n1\tx\n", {"input_format": "tsv"}, "<stdin>: the document does not have field `text`", "--text-field body",
            id="no text column",
        ),
        pytest.param(gzip.compress(b"a\n" * 999)[:-9], {}, "<stdin>: broken compressed data", "complete", id="cut gzip"),
        pytest.param(zstd.compress(b"a\n" * 999)[:-3], {}, "<stdin>: broken compressed data", "complete", id="cut zstd"),
        pytest.param(gzip.compress(b"a\n") + b"garbage", {}, "<stdin>: broken compressed data", "gzip -t", id="gzip tail"),
        pytest.param(b"\x28\xb5\x2f\xfd\x00rubbish", {}, "<stdin>: broken compressed data", "zstd -t", id="zstd rubbish"),
    ],
)  # fmt: skip
def test_bad_input_is_reported_with_place_and_hint(
    data: bytes, settings: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        read(data, **settings)
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("files", "settings", "message", "hint"),
    [
        pytest.param(("-", "-"), {}, "stdin (`-`) can be read only once", "", id="stdin twice"),
        pytest.param(
            ("-",), {"stdin_taken": True}, "stdin already holds the query", "name the files", id="query took it"
        ),
        pytest.param((), {"tty": True}, "no documents", "rerank --query", id="a terminal"),
        pytest.param((), {"null": True, "input_format": "json"}, "--null takes plain records", "", id="null JSON"),
    ],
)
def test_contradictory_settings_are_usage_errors(
    files: tuple[str, ...], settings: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(b"", *files, **settings)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_files_that_cannot_be_read_fail_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_bytes(GOOD)
    good = str(tmp_path / "docs.jsonl")
    for name, message, hint in (
        (str(tmp_path / "dosc.jsonl"), "no such file", f"did you mean `{good}`?"),
        (str(tmp_path / "nowhere" / "a"), "no such file", f"there is no folder `{tmp_path / 'nowhere'}`"),
        (str(tmp_path), "is a directory", f"{tmp_path}/*"),
        (good + "\0", "cannot be opened: its name holds a NUL character", None),
    ):
        with pytest.raises(InputError) as caught:
            read(b"", good, name)
        assert caught.value.message == f"{name}: {message}"
        assert (hint or "") in (caught.value.hint or "")


def test_a_file_without_read_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.txt"
    path.write_bytes(b"a\n")

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # root, who runs tests in containers, may read everything
    with pytest.raises(InputError, match=r"secret\.txt: permission denied"):
        read(b"", str(path))


def test_a_binary_file_is_refused_as_a_document(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(InputError) as caught:
        read(b"", str(tmp_path / "x.png"), input_format="files")
    assert caught.value.message == f"{tmp_path / 'x.png'}: this is a PNG image, not text"
    assert "tesseract" in str(caught.value.hint)


def test_a_second_request_may_not_contradict_the_first(tmp_path: Path) -> None:
    for name, query in (("a.json", "q"), ("b.json", "q"), ("c.json", "r")):
        (tmp_path / name).write_text(f'{{"query":"{query}","documents":["{name}"]}}')
    a, b, c = (str(tmp_path / name) for name in ("a.json", "b.json", "c.json"))
    assert read(b"", a, b).texts == ["a.json", "b.json"]
    with pytest.raises(InputError, match=r"c\.json: the request's `query` differs"):
        read(b"", a, c)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "r: a request is an object with `query` and `documents`"),
        (b"[]", "r: a request is an object with `query` and `documents`"),
        (b"7", "r:1: not a JSON object"),
        (b'{"query":"q"}', "r: a request is an object with `query` and `documents`; it has `query`"),
        (b'{"documents":[]}', "r: the request has no `query`"),
        (b'{"documents":[],"query":" "}', "r: `query` is blank"),
        ({"query": "q", "documents": "d"}, "r: `documents` must be a list, not a string"),
        ({"query": "q", "documents": ["a", 3]}, "r: documents[1]: a document is an object or a string, not a number"),
        (b'{"query":"q","documents":[{"x":1},{"x":2}]}', "r: none of 2 documents has field `text`; they have `x` (2)"),
        ({"query": "q", "documents": [{"text": float("nan")}]}, "r: documents[0]: not a JSON value"),
        (b'{"query":"q","documents":["a"', "r:1: not valid JSON"),
    ],
)
def test_parse_request_refuses(data: bytes | dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_request(data, "r", FieldSettings(), Report())
    assert caught.value.message.startswith(message)


def test_parse_request_takes_bytes_and_objects_alike() -> None:
    report = Report()
    data = b'{"query":"q","documents":["a",{"text":"b","n":1.10}],"top_n":1,"id":"x"}'
    request = parse_request(data, "r", FieldSettings(), report)
    assert (request.query, request.body.top_n, request.body.id) == ("q", 1, "x")
    assert [document.raw for document in request.documents] == [b'"a"', b'{"text":"b","n":1.10}']
    value = {"query": "q", "documents": ["a", {"text": "b\ud800"}], "top_n": 1, "id": "x"}
    again = parse_request(value, "r", FieldSettings(), report)
    assert [document.text for document in again.documents] == ["a", "b\ufffd"]
    assert [document.raw for document in again.documents] == [b'"a"', b'{"text": "b\\ud800"}']
    assert report.counts == {"replaced_surrogates": 1}


def test_a_run_that_fails_before_reading_leaves_no_open_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{")
    with pytest.raises(RerankError):  # a ResourceWarning would fail this test
        read(b"", str(tmp_path / "a.json"))
