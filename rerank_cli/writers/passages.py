"""The part of a document worth showing: the sentence with most of the query's words, and their positions.

Plain text in, plain text and offsets out; knows nothing of terminals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.sentences import sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.records import Highlight

_WORD = re.compile(r"\w+")
_SEARCHED = 50_000  # characters of a passage that are looked through
# Words without a topic; they count only in a query of nothing else.
_COMMON = frozenset(
    """
    a about all an and any are as at be but by can do does for from has have how i if in into is it its me my no not of
    on or our so some than that the their then there these this those to us was we were what when where which who whom
    whose why will with would you your
    """.split()  # noqa: SIM905 a list of sixty strings reads worse
)


def query_words(query: str) -> frozenset[str]:
    """The words of a query that are worth highlighting, as `stem` gives them."""
    words = [word.casefold() for word in _WORD.findall(query)]
    topical = [word for word in words if word not in _COMMON]
    return frozenset(stem(word) for word in topical or words)


def stem(word: str) -> str:
    """A word without its commonest English endings: `retries` is `retry`, `capitals` is `capital`."""
    folded = word.casefold()
    if len(folded) > 4 and folded.endswith("ies"):
        return folded[:-3] + "y"
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") and not folded.endswith("ss") else folded


def word_spans(text: str, words: frozenset[str]) -> list[tuple[int, int]]:
    """The positions of the words in a text; neighbours separated by one space are one span."""
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if stem(match.group()) not in words:
            continue
        if spans and text[spans[-1][1] : match.start()] == " ":
            spans[-1] = (spans[-1][0], match.end())
        else:
            spans.append(match.span())
    return spans


def merged(highlights: Sequence[Highlight]) -> list[tuple[int, int]]:
    """The spans of highlights in the order of the text, joined where they overlap."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted((one.start, one.end) for one in highlights):
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return spans


def best_passage(text: str, words: frozenset[str], skip: str | None = None) -> int:
    """Where the sentence with most different words of the query starts; the first of equals.

    `text` is the best window of a document; `skip` is a title shown already: a line of it alone does not count, unless
    there is no other.
    """
    head = text[:_SEARCHED]
    spans = list(sentences(head))
    others = [span for span in spans if not skip or not repeats(head[slice(*span)], skip)]
    best = max(others or spans, key=lambda span: count_words(head[slice(*span)], words), default=(0, 0))
    return best[0]


def repeats(sentence: str, title: str) -> bool:
    """Whether a sentence is the title once more, perhaps behind its key (`title: …`)."""
    return sentence.rstrip().endswith(title.strip()) and len(sentence) < len(title) + 20


def count_words(sentence: str, words: frozenset[str]) -> int:
    """How many different words of the query a sentence holds."""
    return len({stem(word) for word in _WORD.findall(sentence)} & words)
