"""A coarse look at scripts: is a text mostly in something other than Latin letters?

It tells scripts, not languages, and costs a few milliseconds at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LAST_LATIN = 0x024F  # end of Latin Extended-B
SAMPLE = 400  # characters of each text


def mostly_foreign(texts: Iterable[str]) -> bool:
    """Whether more than half of the letters lie beyond the Latin blocks."""
    letters = foreign = 0
    for text in texts:
        sample = text[:SAMPLE]
        if sample.isascii():
            letters += len(sample)
            continue
        for char in sample:
            if char.isalpha():
                letters += 1
                foreign += ord(char) > LAST_LATIN
    return foreign * 2 > letters
