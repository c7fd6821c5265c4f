"""How many values and how long texts a JSON body may hold, counted in its bytes before any of them is built.

An empty object takes three bytes of a body and seventy of memory, and every letter beside an emoji takes four, so a
limit that is checked after parsing comes too late. This module reads the structure of JSON only: strings, brackets,
commas and colons. It does not check that the text is JSON, and knows no member by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.http_errors import HttpError, too_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rerank_cli.server.settings import ServeSettings

SMALL = 64 << 10  # bytes of a body that is not counted: whatever it holds takes little memory
BLOCK = 1 << 18  # bytes counted at a time, which takes some thirty times as much memory
FEW = 1000  # elements of a list that are never too many here; `rerank_request` counts the documents themselves
MARKS_PER_DOCUMENT = 64  # brackets, commas and colons: a document may have some thirty fields
FEWEST_MARKS = 64 << 10


def check_counts(body: bytes | bytearray, settings: ServeSettings) -> None:
    """Raise HttpError 400 for a list of too many documents, 422 for too many values or a text far too long."""
    if len(body) <= SMALL:
        return
    most = max(FEW, settings.max_documents)
    most_marks = max(FEWEST_MARKS, MARKS_PER_DOCUMENT * settings.max_documents)
    counter = _Counter()
    start = 0
    while start < len(body):
        end = _end_of_block(body, start)
        counter.add(bytes(body[start:end]))
        if counter.elements > most:
            raise too_many(settings)
        if counter.marks > most_marks:
            raise HttpError(422, f"the body has too many values: this server takes at most {most_marks // 2}")
        if counter.text > settings.max_document:
            raise HttpError(422, f"a text of the body has more than {settings.max_document} characters")
        start = end


def _end_of_block(body: bytes | bytearray, start: int) -> int:
    """Where a block ends: never between a backslash and what it escapes."""
    end = min(len(body), start + BLOCK)
    while end < len(body) and body[end - 1] == ord("\\"):
        end += 1
    return end


class _Counter:
    """Counts over consecutive blocks. `elements`: of the longest list that is the value of a member of the body."""

    def __init__(self) -> None:
        self.marks = 0
        self.elements = 0
        self.text = 0  # characters, at least, of the string that the block is in, if it began before the block
        self._in_string = False
        self._depth = 0
        self._commas = 0  # of the list that goes on in the next block
        self._in_list = False

    def add(self, block: bytes) -> None:
        """Count one block."""
        import numpy as np

        plain = block.replace(rb"\\", b"").replace(rb"\"", b"")
        chars = np.frombuffer(plain, dtype=np.uint8)
        inside = np.logical_xor.accumulate(chars == ord('"')) ^ self._in_string
        self.text = self.text + _least_characters(plain, chars) if self._in_string and inside.all() else 0
        if len(chars):
            self._in_string = bool(inside[-1])
        structure = chars[~inside]
        lists, commas = structure == ord("["), structure == ord(",")
        opens = lists | (structure == ord("{"))
        closes = (structure == ord("]")) | (structure == ord("}"))
        self.marks += int(np.count_nonzero(opens | commas | (structure == ord(":"))))
        depth = np.cumsum(opens.astype(np.int8) - closes.astype(np.int8), dtype=np.int32) + self._depth
        if len(depth):
            self._count_elements(opens & (depth == 2), lists, commas & (depth == 2))
            self._depth = int(depth[-1])

    def _count_elements(self, opens: NDArray[Any], lists: NDArray[Any], commas: NDArray[Any]) -> None:
        """Commas between the openings of values at depth two; those of objects do not count."""
        import numpy as np

        starts = np.flatnonzero(opens)
        groups = np.searchsorted(starts, np.flatnonzero(commas), side="right")
        counts = np.bincount(groups, minlength=len(starts) + 1)
        counts[0] += self._commas
        is_list = np.concatenate([[self._in_list], lists[starts]])
        self.elements = max(self.elements, int(np.max(np.where(is_list, counts + 1, 0))))
        self._commas, self._in_list = int(counts[-1]), bool(is_list[-1])


def _least_characters(plain: bytes, chars: NDArray[Any]) -> int:
    """How many characters these bytes of a string are at least: an escape is taken for none."""
    import numpy as np

    continuing = int(np.count_nonzero((chars & 0xC0) == 0x80))
    return len(chars) - continuing - 5 * plain.count(b"\\u") - plain.count(b"\\")
