"""`--prefilter N`: words in other forms, accents and character forms; queries of many words; no word in common."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from test_prefilter import kept

OTHERS = ["nothing of the sort here"] * 5


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("cafe", "un café"),
        ("café", "a cafe"),
        (normalize("NFD", "café"), "un café"),
        ("café", normalize("NFD", "un café")),
        ("reunion", "la RÉUNION"),
        ("ёлка", "новогодняя елка"),
        ("İstanbul", "istanbul at night"),
        ("שלום", "שָׁלוֹם עולם"),
        ("الكتاب", "الكِتَابُ جميل"),
        ("123", "room １２３"),
        ("ガラス", "ｶﾞﾗｽの窓"),
        ("한국", normalize("NFD", "한국의 수도")),
        ("office", "the oﬃce"),
        ("copying", "two copies"),
        ("copies", "she was copying it"),
        ("running", "they run daily"),
        ("run", "a running tap"),
        ("stopped", "it stops"),
        ("falling", "leaves fall"),
    ],
)
def test_forms_of_one_word_are_found(query: str, text: str) -> None:
    found, report = kept(query, [*OTHERS, text, *OTHERS], 1)
    assert [document.text for document in found] == [text]
    assert report.warnings() == ()


def test_no_word_in_common_is_said() -> None:
    found, report = kept("Zürich", OTHERS, 2)
    assert [document.index for document in found] == [0, 1]
    assert report.warnings() == ("no document shares a word with the query: --prefilter keeps the first 2",)


def test_the_command_line_says_it_too(run) -> None:
    result = run("-q", "Zürich", "--prefilter", "2", "--json", stdin="\n".join(OTHERS))
    assert result.json["meta"]["warnings"] == [
        "no document shares a word with the query: --prefilter keeps the first 2"
    ]


def test_documents_without_text_take_no_place_of_others() -> None:
    texts = ["", " ", "", "boat", "ship", "kettle", "", "raft"]
    assert [document.index for document in kept("kettle", texts, 3)[0]] == [3, 4, 5]
    assert [document.index for document in kept("kettle", texts, 5)[0]] == [0, 3, 4, 5, 7]


def test_a_query_of_many_words_is_like_one_of_few() -> None:
    """Time followed words of the query times documents: 500 words took 60 times as long as 5; 60,000 never ended."""
    texts = [f"word{number}z" for number in range(60_000)]
    query = " ".join(texts)
    assert [document.index for document in kept(query, ["other"] * 400 + texts[59_000:59_300], 200, 50)[0]] == list(
        range(400, 600)
    )
