"""One line is one line in stages, highlights, the block for a prompt, fallback, gateway, several models and reload.

`test_one_line` has the other places and says what is put there.
"""

from __future__ import annotations

import json
import re

import pytest
from remote.loopback import Loopback, as_json, cohere
from serve.harness import Program, wait_for
from test_one_line import FORGED, HARMFUL, NAMES, NASTY, assert_lines
from test_serve_models import reload

from rerank_cli.cli import batch_outputs
from rerank_cli.errors import UsageError
from rerank_cli.scorers.remote.native import fields_of

KEY = "server-key-1234567890"
LINES = ("rerank: ", "hint: ")
JSON_LINE = re.compile(r"[\x00-\x08\x0a-\x1f]")  # JSON spells these out; others may stand in its strings
nasty_texts = pytest.mark.parametrize("nasty", NASTY, ids=NAMES)


@pytest.fixture
def documents(tmp_path):
    def write(nasty):
        value = f"g{nasty}h"
        rows = [
            {"id": f"{number}{nasty}x", "title": f"t{nasty}y", "group": value, value: value, "text": text}
            for number, text in enumerate([f"the capital {nasty} of France.", f"the capital {nasty} of France."] * 2)
        ]
        file = tmp_path / "docs.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file, value.replace("\0", "")

    return write


# Options, and whether what follows from them is a ranking or an error. `{}` is foreign text.
STAGES = {
    "group": (("--group-by", "group"), 0),
    "group by a foreign field": (("--group-by", "{}"), 0),
    "near duplicates": (("--dedupe", "near=0.5"), 0),
    "cut-off": (("--cutoff", "1%"), 0),
    "highlight": (("--highlight", "1"), 0),
    "budget": (("--max-context-tokens", "20"), 0),
    "boost of a foreign value": (("--boost", "group={}:2"), 0),
    "boost by a foreign field": (("--boost-field", "{}"), None),
    "date in a foreign field": (("--recency", "{}"), None),
    "date that is none": (("--recency", "group"), None),
    "number that is none": (("--boost-field", "group"), None),
    "no cut-off": (("--cutoff={}",), 2),
    "no similarity": (("--dedupe=n{}",), 2),
    "no half-life": (("--recency", "group", "--half-life", "{}"), 2),
    "no boost": (("--boost", "{}"), 2),
    "no tokenizer": (("--max-context-tokens", "9", "--tokenizer", "./{}"), None),
    "no expected document": (("--expect", "{}@1"), 7),
    "no fallback": (("-m", "./{}", "--fallback", "./{}"), 4),
    "fallback": (("-m", "./{}", "--fallback", "builtin"), 0),
    "threshold of a foreign model": (("--min-score", "{}=0.1"), None),
    "several queries": (("-q", "{}", "--join", "mean"), 0),
}


@nasty_texts
@pytest.mark.parametrize("name", STAGES)
def test_stages_and_chains_forge_no_line(run, documents, name, nasty):
    options, code = STAGES[name]
    file, value = documents(nasty)
    argv = [option.replace("{}", value) for option in options]
    done = run("rank", "-q", "capital", "--no-config", "--json", "-v", *argv, str(file))
    assert code in {None, done.code}, done.err
    assert done.code in {0, 2, 3, 4, 7}, done.err
    assert_lines(done.err, begin=LINES)
    if done.out:
        found = json.loads(done.out)
        said = [*found["meta"]["warnings"], *(each["cause"] for each in found["meta"].get("fallback", ()))]
        assert not any(HARMFUL.search(message) for message in said), said
        assert not JSON_LINE.search(done.out.decode().removesuffix("\n").replace("\n", ""))


@nasty_texts
@pytest.mark.parametrize("options", [(), ("--highlight", "1"), ("--explain",), ("--group-by", "group")])
def test_tables_of_stages_have_no_foreign_line(run, documents, options, nasty):
    file, _ = documents(nasty)
    for form in ("table", "context", "markdown"):
        done = run("-q", "capital", "--no-config", "-f", form, *options, str(file), tty={"stdout"}, columns=100)
        assert done.code == 0, done.err
        shown = re.sub(r"\x1b\[[\d;]*m", "", done.text)  # ours; theirs would still have its other half in the text
        assert not HARMFUL.search(re.sub(r"[\n\t\0]", "", shown)), form  # NUL separates with -z, and moves no cursor
        assert FORGED.strip() not in shown.splitlines()
        assert_lines(done.err, begin=LINES)


@nasty_texts
def test_no_document_begins_another_in_the_block(run, documents, nasty):
    """Redirected as well: a line that begins with `[` is ours."""
    file, _ = documents(f"{nasty}\n[9] (forged) document\n{nasty}")
    done = run("-q", "capital", "--no-config", "--context", str(file))
    lines = done.text.splitlines()
    assert [line[:4] for line in lines if line.startswith("[")] == [f"[{n}] " for n in range(1, 5)]
    assert all(line.startswith(("[", "    ")) for line in lines if line)


# --- What providers answer.

ANSWERS = {
    "a refusal": lambda nasty: as_json({"message": f"a {nasty} b"}, 400),
    "another refusal": lambda nasty: as_json({"detail": [{"msg": f"a{nasty}b", "loc": [nasty]}]}, 422),
    "a wrong key": lambda nasty: as_json({"message": f"a {nasty} b"}, 401),
    "no JSON": lambda nasty: (500, {"Content-Type": "text/plain"}, f"a {nasty} b".encode("utf-8", "replace")),
    "a foreign type": lambda nasty: (200, {"Content-Type": header(nasty)}, b"x"),
    "a foreign wait": lambda nasty: as_json({"message": "busy"}, 429, retry_after=header(nasty)),
    "a foreign place": lambda nasty: as_json({}, 302, location=header(nasty)),
    "a warning": lambda nasty: warning_of(nasty),  # noqa: PLW0108 defined below
}


def header(nasty: str) -> str:
    """What Python's server can send in a header."""
    return "x" + re.sub(r"[^\x01-\x09\x0b\x0c\x0e-\xff]", "", nasty) + "y"


def warning_of(nasty: str):
    results = [{"index": 0, "relevance_score": 0.5}]
    meta = {"billed_units": {f"u{nasty}": 1, "search_units": 1}, "warnings": [f"a {nasty} b"]}
    return as_json({"results": results, "meta": meta, "model": nasty})


@pytest.fixture(scope="module")
def provider():
    with Loopback() as server:
        yield server


@nasty_texts
@pytest.mark.parametrize("name", ANSWERS)
def test_causes_of_a_fallback_are_on_one_line(run, provider, name, nasty):
    provider.answer = lambda _seen: ANSWERS[name](nasty)
    argv = ("-m", "cohere:m", "--endpoint", provider.url, "--retries", "0", "--no-config")
    for more in ((), ("--fallback", "builtin")):
        done = run("-q", "x", *argv, *more, "--json", stdin="a\n", env={"CO_API_KEY": KEY})
        assert done.code in {0, 5}, done.err
        assert_lines(done.err, begin=LINES)
        if done.out:
            meta = done.json["meta"]
            said = [*meta["warnings"], *(each["cause"] for each in meta.get("fallback", ()))]
            assert not any(HARMFUL.search(message) for message in said), said


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, provider):
    """Two models, one of them a provider's, with a name that would forge a line."""
    home = tmp_path_factory.mktemp("home")
    file = home / "serve.toml"
    file.write_text('[serve]\nmodel = ["builtin"]\n')
    argv = ("-m", "builtin", "-m", "cohere:m", "--endpoint", provider.url, "--retries", "0", "--no-cache")
    program = Program(
        home, "--served-name", f"ours{FORGED}\x1b[31m", *argv, "--config", str(file), env={"CO_API_KEY": KEY}
    )
    yield program
    program.close()
    assert "Traceback" not in program.log


def new_lines(program, count: int, before: int) -> list[str]:
    wait_for(lambda: sum(" status=" in line for line in program.lines[before:]) >= count)
    return program.lines[before:]


@nasty_texts
@pytest.mark.parametrize("name", ANSWERS)
def test_gateways_forge_no_line(gateway, provider, name, nasty):
    provider.answer = lambda _seen: ANSWERS[name](nasty)
    before = len(gateway.lines)
    answer = gateway.post("/v2/rerank", query="q", documents=["a"], model="cohere:m")
    assert answer.status in {200, 400, 422, 429, 502, 503}
    said = answer.json["meta"]["warnings"] if answer.status == 200 else [answer.json["message"]]
    assert not any(HARMFUL.search(message) for message in said), said
    provider.answer = cohere
    lines = new_lines(gateway, 1, before)
    for line in lines:
        assert_lines(line, begin=("rerank: ", gateway.lines[-1][:10]))


@nasty_texts
def test_models_are_named_on_one_line(gateway, nasty):
    before = len(gateway.lines)
    answer = gateway.post("/v2/rerank", query="q", documents=["a"], model=f"m{nasty}n")
    assert not any(HARMFUL.search(message) for message in answer.json["meta"]["warnings"])
    listed = gateway.send("GET", "/v1/models/m" + "".join(f"%{b:02x}" for b in nasty.encode("utf-8", "replace")))
    assert listed.status in {200, 404}
    assert not JSON_LINE.search(listed.body.decode())
    assert gateway.get(
        "/v1/models", **{"x-request-id": header(nasty).replace("\x0b", "").replace("\x0c", "")}
    ).status in {200, 400}
    for line in new_lines(gateway, 2, before):
        assert_lines(line, begin=("rerank: ", gateway.lines[-1][:10]))
    figures = gateway.get("/metrics").body.decode()
    assert all(
        re.fullmatch(r"(# (HELP|TYPE) \w+ .*|\w+(\{.*\})? \S+)", line)
        for line in figures.removesuffix("\n").split("\n")
    )
    assert not HARMFUL.search(figures.replace("\n", ""))


def test_a_name_of_the_server_s_own_forges_no_line(gateway):
    for line in gateway.lines:
        assert_lines(line, begin=("rerank: ", "20"))
        assert not line.startswith(FORGED.strip()[:30])


@nasty_texts
def test_reloads_forge_no_line(tmp_path_factory, gateway, nasty):
    file = next(iter(tmp_path_factory.getbasetemp().glob("home*/serve.toml")))
    name = f"k{nasty}".replace("\ud800", "")
    for text in (
        f"[serve]\n{json.dumps(name)} = 1\n",
        f"[serve]\nmodel = [{json.dumps('./' + name)}]\n[prices]\n{json.dumps(name)} = -1.0\n",
        f"[endpoints.{json.dumps(name)}]\nprovider = {json.dumps(name)}\n",
        f"[serve]\nhost = {json.dumps(name)}\nmax_body = {json.dumps(name)}\n",
    ):
        file.write_text(text)
        before = len(gateway.lines)
        reload(gateway, "not reloaded")
        for line in gateway.lines[before:]:
            assert_lines(line, begin=LINES)


def test_rank_fields_with_lone_surrogates_are_sent():
    assert fields_of("a: 'x\ud800'\nb: y", ("a", "b")) == {"a": "x?", "b": "y"}


@pytest.mark.parametrize("system", ["darwin", "win32", "linux"])
def test_names_that_differ_in_case_are_one_file_where_they_are(monkeypatch, system):
    monkeypatch.setattr(batch_outputs.sys, "platform", system)
    named = [("x/A.jsonl", "out/Caf\u00e9.jsonl"), ("y/a.jsonl", "out/cafe\u0301.jsonl")]
    if system == "linux":
        batch_outputs.require_distinct(named)
    else:
        with pytest.raises(UsageError, match="would both be written"):
            batch_outputs.require_distinct(named)
