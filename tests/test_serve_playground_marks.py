"""What the page at `/` marks in a real browser: the best sentence of each result, else the best passage of a long document."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote.loopback import Loopback
from serve.browser import chromium
from serve.harness import Program, builtin, serving
from serve.playground import LONG, opened, rank

from rerank_cli.fields import make_renderer
from rerank_cli.report import Report
from rerank_cli.settings import FieldSettings

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def server():
    with serving(builtin) as running:
        yield running


def marks(page):
    return page.locator("#results mark").all_inner_texts()


def test_the_best_sentence_is_marked(browser, server):
    query, texts = (
        "What is the capital of Italy?",
        ["😀 Cats sleep. The capital of Italy is Rome. Dogs bark.", "Bread is made of flour."],
    )
    best = "The capital of Italy is Rome."
    with opened(browser, server.url) as page:
        rank(page, query, "\n".join(texts))
        assert marks(page) == [best, texts[1]]
        assert "best sentence: characters 14–43 of 54" in page.inner_text("#results li:first-child small")
        rank(page, documents=json.dumps({"title": "Big: one", "text": texts[0]}))
        assert marks(page) == [best]
        objects = [
            {"title": "Ten facts", "year": 2001, "body": texts[0][2:]},
            {"title": "Ten facts", "body": "x: y. " + best},
        ]
        rank(page, documents="\n".join(map(json.dumps, objects)), rank_fields="title, year, body")
        sources = page.locator("#results li small").all_inner_texts()
        assert [best in mark for mark in marks(page)] == [True]  # YAML quotes the other one
        assert sum("of the text that was scored" in source for source in sources) == 1
        assert sum("best sentence" in source for source in sources) == 2
        rank(page, documents=json.dumps(["", texts[1]]), rank_fields="")
        assert marks(page) == [texts[1]]
        page.uncheck("#highlight")
        rank(page, documents="\n".join(texts))
        assert marks(page) == []
        for tab in ("curl", "python", "rerank"):
            page.click(f"#tab-{tab}")
            assert "highlight" not in page.text_content("#code")


FIELD = st.one_of(
    st.integers(-(10**20), 10**20),
    st.none(),
    st.booleans(),
    st.text(max_size=12),
    st.text(st.sampled_from("ab yno:#'\"-.,?!1é😀\u00a0\u200b\n&*[]{}"), max_size=8),
    st.sampled_from(
        ["yes", "No", "null", "y", "~", "on", "1e3", "a: b", "a #b", "a#b", "a:", "2001-01-01", "---", "=", "a ", "😀"]
    ),
)


def test_rank_fields_are_marked_only_where_their_text_is_known(browser, server):
    """What the page takes for the scored text is that of the server, or unknown."""
    render = make_renderer(FieldSettings(rank_fields=("title", "body-2")), Report())
    with opened(browser, server.url) as page:

        @settings(max_examples=300)
        @given(FIELD, FIELD)
        def check(title, body):
            value = {"title": title, "body-2": body}
            found = page.evaluate("text => rendered(JSON.parse(text), ['title', 'body-2'])", json.dumps(value))
            assert found is None or found == render(value, "")[0]

        check()
        assert page.evaluate("() => rendered({t: 'It is, so: far', u: 'é 😀 (1)'}, ['u'])") == "u: é 😀 (1)\n"


def test_a_model_that_refuses_to_score_sentences_is_asked_without(browser, tmp_path):
    with Loopback() as provider:
        program = Program(
            tmp_path, "-m", "jina:jina-reranker-v3", "--endpoint", provider.url, env={"JINA_API_KEY": "key"}
        )
        with opened(browser, program.url, ["status of 422"]) as page:
            assert not page.is_checked("#highlight")  # a provider bills it
            page.check("#highlight")
            assert len(rank(page, documents="a\nb")) == 2
            assert "Note: this model cannot mark sentences" in page.inner_text("#status")
            assert not page.is_checked("#highlight")
            assert "highlight" not in page.text_content("#code")
        program.close()


def test_the_best_passage_is_marked_and_in_view(browser, server):
    with opened(browser, server.url) as page:
        page.uncheck("#highlight")
        for documents in (LONG, json.dumps({"text": LONG, "title": "The rock", "id": 7})):
            rank(page, "What is the keeper's password?", documents + "\n" + json.dumps("Bread is made of flour."))
            mark = page.locator("#results li:first-child mark")
            assert "password is sardine" in mark.inner_text()
            assert mark.evaluate(
                "m => { const t = m.parentElement; const top = m.offsetTop - t.scrollTop; return top >= 0 && top < t.clientHeight }"
            )
            assert LONG.strip() in page.locator("#results li:first-child .text").text_content()
            assert page.locator("mark").count() == 1
        assert "id 7" in page.inner_text("#results li:first-child small")
