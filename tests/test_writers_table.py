"""The table fits the terminal, shows documents harmlessly and highlights the query's words."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from writers_support import FILE, JSON, LINE, META, document, ranking, write

from rerank_cli.records import Hit, Ranking, Score
from rerank_cli.writers.passages import best_passage, query_words, stem, word_spans

nasty = st.text(
    st.characters() | st.sampled_from("\x1b\x07\x9b\u202e\u2066\u200f[]/漢字한🙂e\u0301\u200d \n\t\r"), max_size=120
) | st.sampled_from(
    ["[b]x[/b]", "[/b]", "[link=file:///etc]x[/link]", ":smile:", "\x1b]8;;x\x1b\\", "漢字" * 60, "a" * 500, "x " * 300]
)
FORBIDDEN = {
    "\u061c",
    "\u200e",
    "\u200f",
    "\u2028",
    "\u2029",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}


def lines_of(data: bytes) -> list[str]:
    return data.decode().split("\n")[:-1]


def check_harmless(text: str) -> None:
    for char in text:
        assert char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"}, hex(ord(char))
        assert char not in FORBIDDEN


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@settings(max_examples=40)
@given(texts=st.lists(st.tuples(nasty, nasty, nasty), min_size=1, max_size=3), long=st.booleans())
def test_no_line_is_wider_than_the_terminal_nor_harmful(
    columns: int, texts: list[tuple[str, str, str]], long: bool
) -> None:
    import json

    documents = [document(json.dumps({"title": title, "text": text}), JSON, text, name) for title, text, name in texts]
    ranked = ranking([*documents, document("{}", JSON, ""), document(b"src/x\x1b.py", FILE)], None)
    for explain in (False, long):
        out = write(ranked, "table", columns=columns, explain=explain).decode()
        check_harmless(out)
        assert max(cell_len(line) for line in out.split("\n")) <= columns


@given(texts=st.lists(nasty, min_size=1, max_size=3))
def test_colour_adds_only_its_own_sequences(texts: list[str]) -> None:
    ranked = ranking([document(text.encode("utf-8", "replace"), LINE) for text in texts])
    out = write(ranked, "table", env={"FORCE_COLOR": "1"}).decode()
    check_harmless(re.sub(r"\x1b\[[0-9;]*m", "", out))
    assert out.count("\x1b") == len(re.findall(r"\x1b\[[0-9;]*m", out))


@given(texts=st.lists(nasty, min_size=1, max_size=3))
def test_without_utf8_everything_is_ascii(texts: list[str]) -> None:
    ranked = ranking([document(text.encode("utf-8", "replace"), LINE, id=text) for text in texts], [0.5] * len(texts))
    out = write(ranked, "table", env={"LC_ALL": "C"})
    assert out.isascii()
    check_harmless(out.decode())
    assert max(len(line) for line in lines_of(out)) <= 80


@pytest.mark.parametrize(
    ("env", "colored"), [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)]
)
def test_colour_is_decided_by_the_terminal_value_alone(
    env: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if not colored else "NO_COLOR", "1")
    out = write(ranking([document(b"capital", LINE)]), "table", env=env)
    assert (b"\x1b" in out) == colored


def test_markup_is_shown_as_text() -> None:
    text = "see [/b] and [a-z] and [bold red]x[/] :smile:"
    assert text in write(ranking([document(text, LINE)]), "table", columns=120).decode()


def test_query_words_are_marked_and_common_words_are_not() -> None:
    ranked = ranking([document(b"The capitals of the United States; what is it of", LINE)])
    assert "The *capitals* of the *United States*; what is it of" in write(ranked, "table", columns=120).decode()


def test_the_best_passage_of_the_best_window_is_shown() -> None:
    filler = "Nothing is told in this sentence. " * 40
    text = filler + "The capital of the United States is Washington. " + filler
    wrong = "A capital sum. "
    doc = document(wrong.encode() + text.encode(), LINE)
    start = len(wrong) + len(filler) - 10
    hit = Hit(0, 1, 0.5, doc, Score(0.0, 900, 4, (start, len(doc.text))))
    out = write(Ranking("capital of the United States", [hit], META), "table")
    assert b"The *capital* of the *United States* is" in out
    assert b"A *capital* sum." in out  # the first words


def test_bars_are_absolute_for_probabilities_and_relative_for_other_scales() -> None:
    documents = [document(text, LINE) for text in (b"a", b"b")]
    assert "0.5000  ████      a" in write(ranking(documents, [0.5, 0.0]), "table").decode()
    logits = META.__class__("m", None, "b", "d", "logit")
    assert "5.0000  ████████  a" in write(ranking(documents, [5.0, -5.0], logits), "table").decode()


def test_an_empty_document_is_a_dash() -> None:
    out = write(ranking([document(b"x", LINE), document('{"text":""}', JSON, "")], [0.5, None]), "table").decode()
    assert re.search(r"^2 +– +–$", out, re.MULTILINE)


def test_nothing_to_rank_draws_nothing() -> None:
    assert write(ranking([]), "table") == b""


def test_without_documents_only_places_are_shown() -> None:
    out = write(ranking([document(b"secret", LINE), document("{}", id="a")]), "table", documents=False)
    assert b"secret" not in out
    assert b"(3)" in out


@pytest.mark.parametrize("form", ["lines", "ids", "tsv", "csv", "markdown", "jsonl", "json"])
def test_other_formats_are_harmless_on_a_terminal_and_exact_elsewhere(form: str) -> None:
    text = "a\x9b31m\u202eb\x7f"
    source = LINE if form in {"lines", "tsv"} else JSON
    raw = text if source is LINE else f'{{"text":"{text}"}}'
    ranked = ranking([document(raw, source, text, id=text)])
    check_harmless(write(ranked, form, tty=True).decode().replace("\t", ""))
    if form in {"jsonl", "json"}:
        import json

        shown = json.loads(write(ranked, form, tty=True))
        found = shown if form == "jsonl" else shown["results"][0]["document"]
        assert found["text"] == text
    assert text.encode() in write(ranked, form)


def test_stems_bring_plurals_together() -> None:
    assert stem("Retries") == stem("retry")
    assert stem("capitals") == "capital"
    assert stem("glass") == "glass"
    assert query_words("what is the") == {"what", "is", "the"}


def test_marks_and_passages_of_odd_text() -> None:
    assert word_spans("", frozenset({"a"})) == []
    assert best_passage("", frozenset({"a"})) == 0
    assert best_passage("  \n ", frozenset()) == 0
