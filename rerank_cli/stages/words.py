"""Words of a text, whatever its case and punctuation, for stages that compare texts. It knows nothing of documents."""

from __future__ import annotations

import re

# Scripts without blanks between words: each character counts as a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(r"\w+")
_WORD_OR_CHARACTER = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+")


def words_of(text: str) -> list[str]:
    """The words in order, repeats included."""
    plain = text.isascii() or not _HAS_UNSPACED.search(text)
    return (_WORD if plain else _WORD_OR_CHARACTER).findall(text.casefold())
