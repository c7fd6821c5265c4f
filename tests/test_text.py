"""Helpers for text: surrogates, blank texts, and the short form of a text in a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_cli import text

ANY = st.text(st.characters(codec=None), max_size=30)  # lone surrogates among them


def encodes(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@given(ANY)
def test_lone_surrogates_are_detected_and_replaced_one_for_one(value: str) -> None:
    assert text.has_surrogates(value) is not encodes(value)
    for replaced, mark in ((text.replace_surrogates(value), "\ufffd"), (text.encodable(value), "?")):
        assert len(replaced) == len(value)
        assert all(new == old if encodes(old) else new == mark for new, old in zip(replaced, value, strict=True))
    assert text.to_utf8(value) == text.replace_surrogates(value).encode("utf-8")
    assert encodes(text.well_formed(value))
    assert encodes(text.visible(value))


@given(ANY)
def test_blank_is_white_space_only_and_invisible_is_more(value: str) -> None:
    assert text.is_blank(value) is not bool(value.strip())
    assert text.is_invisible(value) or not text.is_blank(value)


def test_a_zero_width_space_is_invisible_and_not_blank() -> None:
    assert text.is_invisible(" \u200b\n")
    assert not text.is_blank(" \u200b\n")
    assert not text.is_invisible("\u200ba")


@given(ANY, st.integers(1, 40))
def test_what_a_message_shows_is_short_and_on_one_line(value: str, most: int) -> None:
    assert len(text.shortened(value, most)) <= most
    assert text.shortened(value, most) == value or text.shortened(value, most) == value[: most - 1] + "…"
    assert "\n" not in text.shown(value, most)
    assert text.shown(value) == text.shortened(text.escape_line(" ".join(f"|{value}|".split())[1:-1]), 60)
    assert len(f"{text.escape_line(value)}|".splitlines()) == 1


@pytest.mark.parametrize(("raw", "read"), [(b"caf\xc3\xa9", "café"), (b"caf\xe9", "caf\ufffd")])
def test_bytes_that_the_locale_could_not_decode_are_read_as_utf8(raw: bytes, read: str) -> None:
    assert text.well_formed(raw.decode("ascii", "surrogateescape")) == read
