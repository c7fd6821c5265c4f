"""Every error about an input has a second line, and doing what it says gets further."""

from __future__ import annotations

import ast
import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest
from free_scorer import FreeScorer
from hint_checks import CODE, Failure, all_options, check, steps

from rerank_cli import Reranker
from rerank_cli.errors import InputError, UsageError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "rerank_cli").rglob("*.py"))
READERS = [path for path in SOURCES if path.parent.name == "readers" or path.name in {"fields.py", "rendering.py"}]
MAY_LACK = {"usage_errors.py", "parts.py"}  # Typer's own words; files that we wrote


@pytest.fixture(autouse=True)
def folder(free: FreeScorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The current directory; scoring costs nothing."""
    monkeypatch.chdir(tmp_path)


def calls(path: Path) -> list[ast.Call]:
    """Where a module makes errors about inputs and arguments."""
    names = {"InputError", "UsageError"}
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names]


def hint_of(call: ast.Call) -> ast.expr | None:
    return call.args[1] if len(call.args) > 1 else next((one.value for one in call.keywords if one.arg == "hint"), None)


@pytest.mark.parametrize("path", [path for path in READERS if path.name not in MAY_LACK], ids=lambda path: path.name)
def test_every_error_of_the_readers_has_a_hint(path: Path) -> None:
    bare = [call for call in calls(path) if ast.unparse(hint_of(call) or ast.Constant(None)) == "None"]
    assert [f"{path.name}:{call.lineno}" for call in bare] == []


def texts(node: ast.AST) -> list[str]:
    """The literal texts of a module, with `…` for what is filled in."""
    found = []
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            parts = (str(one.value) if isinstance(one, ast.Constant) else "…" for one in part.values)
            found.append("".join(parts))
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.append(part.value)
    return found


FLAGS = all_options()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_options_of_all_messages_exist(path: Path) -> None:
    """`--input-format lines` in a hint: a flag that there is, with a value that it takes."""
    for text in texts(ast.parse(path.read_text())):
        for code in CODE.findall(text):
            words = code.split()
            if not words or not re.fullmatch(r"--[a-z][a-z-]+", words[0]):
                continue
            assert words[0] in FLAGS, f"{path.name}: {code}"
            value = words[1].strip(",.") if len(words) > 1 else ""
            if FLAGS[words[0]] and re.fullmatch("[a-z]+", value):
                assert value in FLAGS[words[0]], f"{path.name}: {code}"


# (name of the file, its bytes, further arguments): the error's hint names something to run.
FOLLOWED = {
    "cp1252": ("a.jsonl", '{"text":"1 \u201ccaf\xe9\u201d"}\n'.encode("cp1252"), ()),
    "ISO-8859-1": ("a.jsonl", '{"text":"1 caf\xe9"}\n'.encode("latin-1"), ()),
    "cp1252 in CSV": ("a.csv", "text\n1 caf\xe9 \u2013\n".encode("cp1252"), ()),
    "cp1252 in JSON": ("a.json", '["1 \u20ac"]'.encode("cp1252"), ()),
    "UTF-16 without a mark": ("a.json", '["1 \u20ac"]'.encode("utf-16-le"), ()),
    "cp1252 in two bytes only": ("a.jsonl", b'{"text":"1 \x93a\x94"}\n{"text":"2 \x81"}\n', ()),
    "UTF-8 with a broken character": ("a.jsonl", '{"text":"1 caf\xe9"}\n{"text":"2 \u201cb\u201d"}\n'.encode() + b'{"text":"\xe9"}\n', ()),
    "cp1252 in YAML": ("a.yaml", "- text: 1 caf\xe9\n".encode("cp1252"), ()),
    "cp1252 in TSV": ("a.tsv", "text\tid\n1 \u20ac\ta\n".encode("cp1252"), ()),
    "cp1252 in a gzip file": ("a.jsonl.gz", gzip.compress('{"text":"1 \u20ac"}\n'.encode("cp1252")), ()),
    "another field": ("a.jsonl", b'{"body":"1 a"}\n', ()),
    "a field with a blank": ("a.csv", b"the body\n1 a\n", ()),
    "a field with a comma": ("a.jsonl", b'{"Title, long":"1 a"}\n', ()),
    "a field of requests": ("a.jsonl", b'{"textt":"1 a"}\n', ()),
    "rank fields": ("a.jsonl", b'{"title":"1 a"}\n', ("--rank-fields", "titel")),
    "an unknown answer": ("a.json", b'{"n":1,"rows":[{"text":"1 a"}]}', ()),
    "an unknown answer with a name to quote": ("a.json", b'{"the rows":[{"text":"1 a"}]}', ()),
    "a list in JSON lines": ("a.jsonl", b'["1 a"]\n', ()),
    "a number in JSON lines": ("a.jsonl", b"3\n", ()),
    "text as JSON": ("a.json", b"just text\n", ()),
    "text as YAML": ("a.yaml", b"just text\n", ()),
    "broken YAML": ("a.yaml", b"- a: b: c\n", ()),
    "commas in TSV": ("a.tsv", b"id,text\n1,1 a\n", ()),
    "a lost quote": ("a.csv", b'text\n"1 a\n', ()),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "options"), FOLLOWED.values(), ids=FOLLOWED)
def test_following_a_hint_gets_further(run, tmp_path: Path, name: str, data: bytes, options: tuple[str, ...]) -> None:
    (tmp_path / name).write_bytes(data)
    first = run("-q", "q", *options, name)
    assert first.code == 3
    error, _, hint = first.err.partition("\nhint: ")
    assert hint, first.err
    done = steps(hint)
    assert done, hint
    for words in done:
        if words[0].startswith("--"):
            kept = () if words[0] in options else options
            again = run("-q", "q", *kept, *words, name)
        else:
            # POSIX lets `iconv -c` end with 1 if it left anything out; what counts is what it wrote.
            fixed = subprocess.run(words, input=data, capture_output=True, check=words[:2] != ["iconv", "-c"]).stdout
            (tmp_path / f"fixed-{name}").write_bytes(fixed)
            again = run("-q", "q", *options, f"fixed-{name}")
        assert error not in again.err
        assert again.code == 0, (words, again.err)


# (name, bytes, words of the hint): what has to be changed by hand.
CHANGED = {
    "NaN": ("a.json", b'[{"text":"1 a","s":NaN}]', "write `null`", b'[{"text":"1 a","s":null}]'),
    "infinity in a line": ("a.jsonl", b'{"text":"1 a","s":-Infinity}\n', "write `null`", b'{"text":"1 a","s":null}'),
    "a comma before ]": ("a.json", b'[{"text":"1 a"},\n]', "remove the comma before `]`", b'[{"text":"1 a"}\n]'),
    "a comma before }": ("a.json", b'{"text":"1 a",}', "remove the comma before `}`", b'{"text":"1 a"}'),
    "a comma in a line": ("a.jsonl", b'{"text":"1 a",}\n', "remove the comma before `}`", b'{"text":"1 a"}'),
    "cut off": ("a.json", b'[{"text":"1 a"}', "is it complete?", b'[{"text":"1 a"}]'),
    "cut off in a text": ("a.jsonl", b'{"text":"1 ', "", b'{"text":"1 a"}'),
    "a comment": ("a.json", b'[{"text":"1 a"} // x\n]', "no comments", b'[{"text":"1 a"}\n]'),
    "True of Python": (
        "a.jsonl",
        b'{"text":"1 a","x":True}\n',
        "JSON has `true` for `True`",
        b'{"text":"1 a","x":true}\n',
    ),
    "too many digits": (
        "a.json",
        b'[{"text":"1 a","n":' + b"9" * 5000 + b"}]",
        "in double quotes",
        b'[{"text":"1 a","n":"9"}]',
    ),
    "too deep": ("a.json", b'{"text":"1 a","n":' + b"[" * 5000, "leave out", b'{"text":"1 a"}'),
    "a wrong member": (
        "a.json",
        b'{"query":"q",\n"documents":["1 a"],\n"top_n":"x"}',
        '"top_n": 5',
        b'{"query":"q","documents":["1 a"],"top_n":5}',
    ),
    "nothing at all": ("a.json", b"{}", '{"text": "', b'{"text":"1 a"}'),
    "single quotes": ("a.json", b"[{'text':'1 a'}]", "double quotes", b'[{"text":"1 a"}]'),
}


@pytest.mark.parametrize(("name", "data", "words", "better"), CHANGED.values(), ids=CHANGED)
def test_broken_json_says_what_to_change(
    run, tmp_path: Path, name: str, data: bytes, words: str, better: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    result = run("-q", "q", name)
    assert result.code == 3
    assert f"{name}:" in result.err
    hint = result.err.partition("\nhint: ")[2]
    assert hint
    assert words in hint
    (tmp_path / name).write_bytes(better)
    assert run("-q", "q", name).code == 0


def test_a_wrong_member_of_a_request_has_its_line(run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"query":"q",\n"documents":["1 a"],\n"top_n":"x"}')
    assert run("a.json").err.startswith("rerank: error: a.json:3: `top_n` must be a whole number")


def test_single_quotes_are_read_as_yaml(run, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[{'text':'1 a'}]")
    assert run("-q", "q", "--input-format", "yaml", "a.json").code == 0


BATCH = {
    "not JSON": b"hello\n",
    "no documents": b'{"query":"q"}\n',
    "no query": b'{"documents":["1 a"]}\n',
    "documents elsewhere": b'{"query":"q","hits":{"rows":[{"text":"1 a"}]}}\n',
    "a comma too many": b'{"query":"q","documents":["1 a",]}\n',
}


@pytest.mark.parametrize("data", BATCH.values(), ids=BATCH)
def test_a_bad_row_of_a_batch_has_a_hint(run, data: bytes) -> None:
    result = run("batch", stdin=data)
    assert result.code == 6
    first, second = result.err.splitlines()[:2]
    assert first.startswith("<stdin>:1: ")
    assert second.startswith("hint: ")


def test_a_row_names_its_place_once(run, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("q1\tcat\n")
    (tmp_path / "c.jsonl").write_text(json.dumps({"id": "a", "text": "1 a"}) + "\n")
    options = ("--queries", "q.tsv", "--corpus", "c.jsonl")
    (tmp_path / "miss.trec").write_text("q1 Q0 a 1 2 t\nq1 Q0 miss 2 1 t\n")
    missing = run("batch", "--run", "miss.trec", *options, "--on-missing", "error")
    assert missing.err.startswith("miss.trec:2: document `miss`")
    (tmp_path / "twice.trec").write_text("q1 Q0 a 1 2 t\nq1 Q0 a 2 1 t\n")
    twice = run("batch", "--run", "twice.trec", *options)
    assert twice.code == 6
    assert twice.err.startswith("twice.trec:2: document `a` appears twice for query `q1`\nhint: ")


@pytest.mark.parametrize("name", ["qrels", "run"])
@pytest.mark.parametrize("data", ["q1 0 d1 1\n".encode("utf-16"), b"q1 0 caf\xe9 1\n", b"q1 d1 1 2 3\n", b"\n"])
def test_files_of_eval_have_hints(run, tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / "qrels").write_text("q1 0 d1 1\n")
    (tmp_path / "run").write_text("q1 Q0 d1 1 0.5 t\n")
    (tmp_path / name).write_bytes(data)
    result = run("eval", "--qrels", "qrels", "run")
    if result.code == 3:
        assert "\nhint: " in result.err


CAT = {"body": "cat", "title": "pets"}
# (documents, options): the hint is a member to add.
OF_THE_API = {
    "another field": ([CAT, CAT], {}),
    "a similar field": ([CAT], {"rank_fields": ["titel"]}),
    "an empty one": (["a", ""], {"on_missing": "error"}),
}


@pytest.mark.parametrize(("documents", "options"), OF_THE_API.values(), ids=OF_THE_API)
def test_a_hint_of_the_python_api_is_an_argument(documents, options) -> None:
    with pytest.raises(InputError) as caught:
        Reranker().rank("q", documents, **options)
    argument = CODE.search(str(caught.value.hint))
    assert argument, caught.value.hint
    added = eval(f"dict({argument[1]})")
    assert len(Reranker().rank("q", documents, **{**options, **added}).hits) == len(documents)


def test_texts_of_the_python_api_have_no_fields() -> None:
    with pytest.raises(InputError, match=r'no fields for `rank_fields=\["title"\]`') as caught:
        Reranker().rank("q", ["a"], rank_fields=["title"])
    assert caught.value.hint == "give mappings, or leave `rank_fields` out"


@pytest.mark.parametrize("documents", ["text", b"text", {"text": "a"}, None, 3])
def test_the_python_api_takes_several_documents(documents) -> None:
    with Reranker() as reranker:
        for call in (reranker.rank, reranker.score):
            with pytest.raises(UsageError, match="documents is") as caught:
                call("q", documents)
            assert caught.value.hint == "give a list, as in `documents=[…]`"
        with pytest.raises(UsageError, match="rank_fields is a string"):
            reranker.rank("q", [CAT], rank_fields="body")
        assert [hit.document for hit in reranker.rank("q", iter(["a"])).hits] == ["a"]


class Again:
    """A run that fails as before."""

    def __init__(self, err: str) -> None:
        self.err, self.argv = err, ()

    def __call__(self, *argv: str, **_: object) -> Again:
        self.argv = argv
        return self


def test_the_check_of_all_hints_sees_what_it_should() -> None:
    """`conftest.run` calls it for every failure of the suite."""
    bare = Failure(("-q", "q"), b"", None, "rerank: error: a.json: broken\n")
    with pytest.raises(AssertionError, match="without a hint"):
        check(bare, Again(""))
    error = "rerank: error: a.json: no field\nhint: did you mean `--text-field b`? 2 of 2 have `b`\n"
    useless = Again(error)
    with pytest.raises(AssertionError, match="--text-field b does not help"):
        check(Failure(("-q", "q", "--text-field", "a"), b"", None, error), useless)
    assert useless.argv == ("-q", "q", "--text-field", "b")
    check(Failure(("-q", "q"), b"", None, error), Again("rerank: error: something else\nhint: x\n"))
    row = "r.jsonl:2: no field\nhint: did you mean `--text-field b`?\n"
    with pytest.raises(AssertionError, match="does not help"):
        check(Failure(("batch",), b"", None, row), Again(row))
