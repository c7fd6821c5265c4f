"""Sentences of a text: what ends one, and that spans slice the text whatever it holds."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli.sentences import LONGEST, character_start, sentences

CASES = {
    "titles and initials": "Dr. Smith met J. K. Rowling. She smiled.|Dr. Smith met J. K. Rowling.|She smiled.",
    "decimals": "It costs 3.14 euros. No. 5 is it.|It costs 3.14 euros.|No. 5 is it.",
    "places": "Washington, D.C. is the capital. He lives in the U.S. The end.|Washington, D.C. is the capital.|He lives in the U.S.|The end.",
    "quotes": '"Really?" she said. (Yes.) No!|"Really?" she said.|(Yes.)|No!',
    "no capitals": "bmc, inc. sells software, e.g. tools. it is big.|bmc, inc. sells software, e.g. tools.|it is big.",
    "chinese and japanese": "東京は日本の首都です。人口は1400万人。|東京は日本の首都です。|人口は1400万人。",
    "hindi": "दिल्ली भारत की राजधानी है। यह बड़ी है।|दिल्ली भारत की राजधानी है।|यह बड़ी है।",
    "a list": "# Title\n\n- first item\n- second. With two.\n1. one\n2. two|Title|first item|second.|With two.|one|two",
    "code": "```\nx = 1.5\nreturn x\n```|x = 1.5|return x",
    "a wrapped line": "This is a long line that an editor wrapped somewhere\nand it goes on. Next.|This is a long line that an editor wrapped somewhere\nand it goes on.|Next.",
    "signs only": "🎉🎉|🎉🎉",
    "blank": " \n ",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_where_sentences_end(name: str) -> None:
    text, *expected = CASES[name].split("|")
    assert [text[start:end] for start, end in sentences(text)] == expected


TEXTS = st.lists(
    st.text(max_size=8)
    | st.sampled_from(
        ["A. ", "b.\n", "。", "! ", "Mr. ", "- ", "1. ", " ", "e\u0301", "👩‍💻", "\r\n", "x" * 700, "?\u2028"]
    ),
    max_size=30,
).map("".join)


@given(TEXTS)
def test_spans_are_in_order_apart_and_without_blanks_at_their_ends(text: str) -> None:
    spans = list(sentences(text))
    assert bool(spans) is bool(text.strip())
    last = 0
    for start, end in spans:
        assert last <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        assert end - start <= LONGEST
        last = end
    covered = "".join(text[start:end] for start, end in spans)
    letters = [letter for letter in text if letter.isalpha()]
    assert [letter for letter in covered if letter.isalpha()] == letters


@given(TEXTS, st.integers(0, 300))
def test_characters_stay_whole(text: str, position: int) -> None:
    cut = character_start(text, position)
    assert 0 <= cut <= min(position, len(text))
    if 0 < cut < len(text) and position - cut < 32 and cut != position:
        assert unicodedata.category(text[cut]) not in {"Mn", "Me"}


def test_an_emoji_of_several_code_points_is_one_character() -> None:
    text = "a👩‍💻🇫🇷e\u0301\r\n"
    assert sorted({character_start(text, at) for at in range(len(text) + 1)}) == [0, 1, 4, 6, 8, 10]
