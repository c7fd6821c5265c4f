"""The page at `/` in a real browser: it ranks, shows what went wrong, is used without a mouse, and its commands run.

RERANK_AXE=…/axe-core/axe.js (npm) adds a check of its accessibility, RERANK_SCREENSHOTS=DIR keeps pictures.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from serve.browser import chromium
from serve.harness import builtin, serving
from serve.playground import LONG, opened, rank

pytestmark = pytest.mark.browser
CAPITALS = (ROOT / "sample_data" / "capital.txt").read_text()
QUERY = "What is the capital of the United States?"


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def server():
    with serving(builtin) as running:
        yield running


def order(page):
    """The 0-based indices of the documents, best first."""
    return [int(text.split(",")[0].split()[1]) - 1 for text in page.locator("#results li small").all_inner_texts()]


def sent(page, documents, **fields):
    """The body that the page sends."""
    with page.expect_request("**/rerank") as request:
        rank(page, documents=documents, **fields)
    return request.value.post_data_json


def test_it_ranks_the_capital_documents(browser, server):
    with opened(browser, server.url) as page:
        found = rank(page, QUERY, CAPITALS)
        assert found[0].startswith("Washington, D.C.")
        assert len(found) == len(CAPITALS.splitlines())
        assert f"{len(found)} documents, " in page.inner_text("#status")
        scores = [float(text.split()[-1]) for text in page.locator("#results .score").all_text_contents()]
        assert scores == sorted(scores, reverse=True)
        widths = [box.bounding_box()["width"] for box in page.locator("#results .bar span").all()]
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 10
        assert page.inner_text("#served") == "model: builtin"
        assert len(rank(page, top_n="2")) == 2
        assert page.inner_text("#status").startswith("2 of ")


BAD = {
    "no query": ({"query": " "}, "The query is empty.", "query"),
    "no documents": ({"documents": "\n \n"}, "There are no documents.", "documents"),
    "a bad line": ({"documents": '{"text": "a"}\n\n{"text": }'}, "Line 3 is not JSON", "documents"),
    "a number": ({"documents": '{"text": "a"}\n5'}, "Line 2 is neither", "documents"),
    "an element": ({"documents": '["a", ["b"]]'}, "Element 2 is neither", "documents"),
    "an array": ({"documents": '["a",\n "b"', "format": "json"}, "not a JSON array", "documents"),
    "an open quote": ({"documents": 'id,text\n1,a\n2,"b\nc'}, "Line 3: a quoted cell is not closed", "documents"),
    "a closed quote": ({"documents": 'id,text\n1,"a\nb"c\n'}, "Line 3: a quoted cell goes on", "documents"),
    "a cell too many": ({"documents": 'id,text\n1,"a\nb"\n2,b,c'}, "Line 4 has 3 cells, the header has 2", "documents"),
    "columns": ({"documents": "text,text\na,b", "format": "csv"}, "Line 1: two columns", "documents"),
    "results": ({"top_n": "0"}, "whole number of at least 1", "top_n"),
    "the server's": ({"documents": '{"a": 1}'}, "it has `a`; name the field to score with", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_shown_at_its_field(browser, server, name):
    fields, message, field = BAD[name]
    with opened(browser, server.url, ["status of 400"]) as page:
        assert rank(page)
        assert rank(page, **fields) == []
        assert message in page.inner_text("#error")
        assert page.get_attribute("#error", "role") == "alert"
        if field:
            assert page.get_attribute(f"#{field}", "aria-invalid") == "true"
            assert page.evaluate("() => document.activeElement.id") == field
            rank(
                page,
                **dict.fromkeys(set(fields) & {"query", "documents"}, "a"),
                **({"top_n": ""} if field == "top_n" else {}),
            )
            if "format" not in fields:
                assert page.locator("[aria-invalid]").count() == 0
                assert page.inner_text("#error") == ""


def test_documents_are_read_as_what_they_are(browser, server):
    with opened(browser, server.url) as page:
        assert sent(page, "a, b\n\n[1] c\n{d\n<b>e</b>")["documents"] == ["a, b", "[1] c", "{d", "<b>e</b>"]
        assert sent(page, "[1] c\n[2] d")["documents"] == ["[1] c", "[2] d"]
        assert sent(page, '"quoted" words\nmore')["documents"] == ['"quoted" words', "more"]
        assert sent(page, '{"text": "a"}\n"b"\n')["documents"] == [{"text": "a"}, "b"]
        assert sent(page, '[\n"a",\n{"text": "b"}\n]')["documents"] == ["a", {"text": "b"}]
        assert sent(page, '{\n "query": "q", "documents": ["a", "b"]\n}')["documents"] == ["a", "b"]
        assert sent(page, '{\n "text": "a"\n}')["documents"] == [{"text": "a"}]
        assert sent(page, 'id,text\n1,"a ""b"",\nc"\n\n2,d')["documents"] == [
            {"id": "1", "text": 'a "b",\nc'},
            {"id": "2", "text": "d"},
        ]
        assert sent(page, "id;text\n1;a, b")["documents"] == [{"id": "1", "text": "a, b"}]
        assert sent(page, '\ufeff"text"\tn\na\t1')["documents"] == [{"text": "a", "n": "1"}]
        body = sent(page, "title,body\na,b", format="csv", rank_fields="title, body", top_n="1", model="m")
        assert body == {"query": QUERY, "documents": [{"title": "a", "body": "b"}], "model": "m", "top_n": 1,
                        "rank_fields": ["title", "body"], "return_best_chunk": True, "highlight": 1}  # fmt: skip
        assert "model `m` is served by `builtin`" in page.inner_text("#status")
        page.click("#tab-rerank")
        assert "-m " not in page.text_content("#code")
        assert page.inner_text("#results li .text") == "title: a\nbody: b"
        assert sent(page, "{not json}", format="lines", rank_fields="")["documents"] == ["{not json}"]


CELLS = st.text(st.sampled_from('ab ,;"\n\t😀'), max_size=6)


def test_csv_is_read_as_python_reads_it(browser, server):
    with opened(browser, server.url) as page:

        @settings(max_examples=150)
        @given(
            st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5),
            st.sampled_from(",;\t"),
            st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        )
        def check(rows, delimiter, quoting):
            text = io.StringIO()
            writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\n")
            writer.writerows([("id", "text"), *rows])
            assert page.evaluate("text => parseCsv(text)", text.getvalue()) == [
                dict(zip(("id", "text"), row, strict=True)) for row in rows
            ]

        check()


NASTY = [
    "It's the capital; $HOME `id` \"quoted\" \\n %s !important #x 'END' 😀",
    "-n 5 --help",
    "Washington, D.C. is the capital of the United States.",
    "  Bread & flour | tee > x \\",
]
COMMANDS = {
    "lines": {"query": "-q 'what' is $HOME's \"capital\"!", "documents": "\n".join(NASTY)},
    "objects": {"documents": "\n".join(json.dumps({"text": text + "\nmore\r\x00", "id": 1, "_id": "b", "title": "x", "n": None}) for text in NASTY)},
    "empty ones": {"documents": json.dumps(["", *NASTY])},
    "rank fields": {"documents": "\n".join(json.dumps({"title": text, "it's": True}) for text in NASTY), "rank_fields": "title, it's"},
    "the best": {"documents": "\n".join(NASTY), "top_n": "2"},
    "large": {"documents": "\n".join([*NASTY, "word's " * 15_000])},
}  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A PATH whose `rerank` and `python` are this checkout's."""
    folder = tmp_path_factory.mktemp("bin")
    for name, arguments in {"rerank": "-m rerank_cli", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        (folder / name).chmod(0o755)
    home = tmp_path_factory.mktemp("home")
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def output(shell, text, env):
    done = subprocess.run([shell], input=text.encode(), capture_output=True, env=env, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_the_same_request_as_commands_gives_the_same_ranking(browser, server, programs, name, shell):
    with opened(browser, server.url) as page:
        rank(page, **COMMANDS[name])
        expected = order(page)
        assert len(expected) == 2 if name == "the best" else len(expected) >= 4
        page.click("#tab-curl")
        reply = json.loads(output(shell, page.text_content("#code"), programs))
        assert [row["index"] for row in reply["results"]] == expected
        page.click("#tab-rerank")
        rows = output(shell, page.text_content("#code") + " --json", programs)
        assert [row["index"] for row in json.loads(rows)["results"]] == expected
        assert [row["highlights"] for row in json.loads(rows)["results"]] == [
            row["highlights"] for row in reply["results"]
        ]
        page.click("#tab-python")
        lines = output("python", page.text_content("#code"), programs).splitlines()
        assert [int(line.split()[1]) for line in lines] == expected
        assert "highlight=1" in page.text_content("#code")


def test_it_is_used_with_the_keyboard_alone(browser, server):
    with opened(browser, server.url) as page:
        seen = []
        for _ in range(12):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("() => document.activeElement.id || document.activeElement.textContent"))
        assert seen == [
            "API",
            "query",
            "documents",
            "format",
            "top_n",
            "rank_fields",
            "model",
            "highlight",
            "send",
            "tab-curl",
            "copy",
            "code",
        ]
        page.focus("#query")
        page.keyboard.press("Enter")
        page.locator("#results li").first.wait_for()
        page.focus("#documents")
        page.keyboard.press("Control+a")
        page.keyboard.type("one thing\nanother")
        page.keyboard.press("Control+Enter")
        page.locator("#status", has_text="2 documents").wait_for()
        page.focus("#send")
        page.keyboard.press("Enter")
        page.locator("#status", has_text="2 documents").wait_for()
        assert page.evaluate("() => document.activeElement.id") == "send"
        page.focus("#tab-curl")
        for key, tab in (
            ("ArrowLeft", "rerank"),
            ("ArrowRight", "curl"),
            ("End", "rerank"),
            ("Home", "curl"),
            ("ArrowRight", "python"),
        ):
            page.keyboard.press(key)
            assert page.evaluate("() => document.activeElement.id") == f"tab-{tab}"
            assert page.get_attribute(f"#tab-{tab}", "aria-selected") == "true"
        assert page.text_content("#code").startswith("from rerank_cli import")


def test_text_is_text_and_no_other_script_runs(browser, server):
    with opened(browser, server.url, ["Content Security Policy"]) as page:
        found = rank(page, "<b>q</b>", "<img src=x onerror=alert(1)>\n<script>alert(1)</script>")
        assert set(found) == {"<img src=x onerror=alert(1)>", "<script>alert(1)</script>"}
        assert page.locator("#results img, #results script, #results b").count() == 0
        page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s) }"
        )
        assert page.evaluate("() => window.hit") is None


def test_a_key_is_asked_for_and_not_stored(browser):
    with serving(keys=("key-1",)) as server, opened(browser, server.url, ["status of 401"]) as page:
        assert page.is_visible("#key")
        assert rank(page, documents="1 a\n2 b") == []
        assert "401: no api key supplied" in page.inner_text("#error")
        assert page.evaluate("() => document.activeElement.id") == "key"
        assert rank(page, key="wrong") == []
        assert "401: invalid api token" in page.inner_text("#error")
        assert rank(page, key="key-1") == ["2 b", "1 a"]
        assert "key-1" not in page.text_content("#code")
        assert "$KEY" in page.text_content("#code")
        assert page.evaluate("() => localStorage.length + sessionStorage.length + document.cookie.length") == 0
        page.reload()
        assert page.input_value("#key") == ""


def test_a_server_that_is_gone_or_busy_is_shown(browser):
    with serving() as server, opened(browser, server.url, ["Failed to load", "status of 5"]) as page:
        assert len(rank(page, documents="1 a\n2 b")) == 2
        page.route("**/rerank", lambda route: route.fulfill(status=502, body="<html>bad gateway"))
        assert rank(page) == []
        assert page.inner_text("#error") == "502: Bad Gateway"
        page.route("**/rerank", lambda route: route.abort())
        assert rank(page) == []
        assert page.inner_text("#error") == "The server does not answer."
        page.unroute("**/rerank")
        assert len(rank(page)) == 2
        assert page.inner_text("#error") == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_it_fits_the_screen_and_passes_axe(browser, server, scheme, width):
    view = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme, "bypass_csp": True}
    states = {
        "ranked": {"query": QUERY, "documents": CAPITALS},
        "long": {"query": "What is the keeper's password?", "documents": LONG + "\nBread is made of flour."},
        "wrong": {"documents": '{"text": "a"}\n{"text": }'},
    }
    axe, folder = os.environ.get("RERANK_AXE"), os.environ.get("RERANK_SCREENSHOTS")
    with opened(browser, server.url, **view) as page:
        for name, fields in states.items():
            rank(page, **fields)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            if folder:
                page.screenshot(path=str(Path(folder) / f"{name}-{scheme}-{width}.png"), full_page=True)
            if axe:
                page.evaluate("source => { (0, eval)(source) }", Path(axe).read_text())
                result = page.evaluate("() => axe.run()")
                assert [(rule["id"], rule["nodes"][0]["html"]) for rule in result["violations"]] == []
                assert len(result["passes"]) > 20
