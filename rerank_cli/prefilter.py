"""The documents that share most with the words of the query, so that a model reads thousands and not millions: BM25.

One pass over a stream: documents wait in a temporary file, and memory holds a few bytes for each. BM25 as Lucene has it
(Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework"), with k1 1.2 and b 0.75; the length of a document
is that of its text in characters, which suits every script. It knows nothing of models.
"""

from __future__ import annotations

import marshal
import math
import re
import tempfile
from array import array
from heapq import merge
from itertools import chain, islice
from typing import TYPE_CHECKING

from rerank_cli.errors import InputError
from rerank_cli.files import reason_of
from rerank_cli.records import Document
from rerank_cli.stages.words import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    import numpy as np
    from numpy.typing import NDArray

    from rerank_cli.records import Queries, Source
    from rerank_cli.report import Report

K1, B = 1.2, 0.75
CHUNK = 4096  # documents of a chunk that is given back
MOST = 255  # occurrences of a word that are counted; more of them add nothing to BM25
# Words that say nothing about what is asked; a query of nothing else keeps them.
FUNCTION_WORDS = frozenset(
    """
    a an and are as at be but by can could did do does for from had has have how i if in into is it its may me my no
    not of on or our shall should so some such than that the their them then there these they this those to was we
    were what when where which while who whom whose why will with would you your
    """.split()  # noqa: SIM905 a list of strings reads worse
)
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ies|ied|ing|es|ed|s|y|e)$")
_ENDINGS = "(?:ies|ied|ing|ings|es|ed|er|ers|ly|s|y|e)?"


def best_by_words(
    query: Queries, chunks: Iterable[list[Document]], most: int, report: Report
) -> Iterator[list[Document]]:
    """At most `most` documents of a stream, those with the highest BM25 for the query, in input order.

    Ties go to the earlier document. Where too few documents share a word with the query, the first others follow.
    What is left out is counted in `report` as `prefiltered`.
    """
    chunks = iter(chunks)
    first: list[list[Document]] = []
    while sum(map(len, first)) <= most:
        if (chunk := next(chunks, None)) is None:
            yield from first  # nothing to leave out
            return
        first.append(chunk)
    try:
        with tempfile.TemporaryFile(prefix="rerank-") as file:
            waiting = _Waiting(_Words(query), file, most)
            for chunk in chain(first, chunks):
                waiting.add(chunk)
            report.count("prefiltered", waiting.documents - most)
            report.note(left_out(waiting.documents - most, waiting.found, most))
            yield from waiting.best()
    except OSError as error:  # readers raise errors of their own
        raise _no_room(error) from None


def left_out(count: int, found: int, most: int) -> str:
    """The note about `count` documents that are not scored; `found` share a word with the query."""
    if found > most:
        few = "1 document shares" if count == 1 else f"{count:,} documents share"
        return f"{few} fewer words with the query than others: not scored (--prefilter {most})"
    one = "1 document that shares none is" if count == 1 else f"{count:,} documents that share none are"
    words = ("no document shares", "1 document shares")[found] if found < 2 else f"{found:,} documents share"
    return f"{words} a word with the query; {one} not scored (--prefilter {most})"


def _no_room(error: OSError) -> InputError:
    """The error for a temporary file that cannot be written."""
    hint = "TMPDIR names another folder for temporary files; it needs about as much space as the input"
    return InputError(f"--prefilter cannot keep the documents in a temporary file: {reason_of(error)}", hint)


class _Words:
    """The words of a query, found in texts by one regular expression, English words with their endings."""

    def __init__(self, query: Queries) -> None:
        words = words_of(query if isinstance(query, str) else "\n".join(query))
        stems = dict.fromkeys(_stem(word) for word in [w for w in words if w not in FUNCTION_WORDS] or words)
        self.count = len(stems)
        self._number = {stem: number for number, stem in enumerate(stems)}
        self._find = re.compile("|".join(map(_pattern, sorted(stems, key=len, reverse=True))) or r"(?!)").findall

    def counts(self, text: str) -> bytes | None:
        """How often each word occurs in a text; None if none does."""
        found = self._find(text.casefold())
        if not found:
            return None
        counts = bytearray(self.count)
        for word in found:
            number = self._number.get(word)
            if number is None:
                number = self._number[word] = self._number_of(word)
            if counts[number] < MOST:
                counts[number] += 1
        return bytes(counts)

    def _number_of(self, word: str) -> int:
        """The number of the longest stem that a word which was found begins with."""
        return next(self._number[word[:end]] for end in range(len(word), 0, -1) if word[:end] in self._number)


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if word.isascii() else word


def _pattern(stem: str) -> str:
    """A stem as a whole word: with an English ending if it is one, and anywhere in a script without blanks."""
    if stem.isascii():
        ending = _ENDINGS if stem.isalpha() and len(stem) > 2 else ""
        return rf"(?<!\w){re.escape(stem)}{ending}(?!\w)"
    return re.escape(stem) if len(stem) == 1 else rf"(?<!\w){re.escape(stem)}(?!\w)"


class _Waiting:
    """Documents that share a word with the query, in a file; in memory their counts, lengths and places."""

    def __init__(self, words: _Words, file: IO[bytes], most: int) -> None:
        self.documents = 0
        self._words, self._file, self._most = words, file, most
        self._sources: dict[int, tuple[int, Source]] = {}  # by identity: number and source
        self._characters = 0  # of all documents
        self._counts = [array("B") for _ in range(words.count)]  # one column for each word
        self._lengths, self._ends = array("Q"), array("Q", [0])
        self._others: list[Document] = []  # the first that share no word

    @property
    def found(self) -> int:
        """How many documents share a word with the query."""
        return len(self._lengths)

    def add(self, chunk: list[Document]) -> None:
        """Take the documents of a chunk."""
        parts = []
        for document in chunk:
            self._characters += len(document.text)
            counts = self._words.counts(document.text)
            if counts is None:
                if len(self._others) < self._most:
                    self._others.append(document)
                continue
            part = marshal.dumps((*document[:3], self._number(document.source), *document[4:]))
            parts.append(part)
            for column, count in zip(self._counts, counts, strict=True):
                column.append(count)
            self._lengths.append(len(document.text))
            self._ends.append(self._ends[-1] + len(part))
        self.documents += len(chunk)
        self._file.write(b"".join(parts))
        self._file.flush()  # a full disk is met here

    def _number(self, source: Source) -> int:
        return self._sources.setdefault(id(source), (len(self._sources), source))[0]

    def best(self) -> Iterator[list[Document]]:
        """The documents with the highest scores, in input order, in chunks."""
        import numpy as np

        order = np.argsort(-self._scores(), kind="stable")[: self._most]
        others = self._others[: self._most - len(order)]
        documents = merge(self._read(np.sort(order).tolist()), others, key=lambda document: document.index)
        while chunk := list(islice(documents, CHUNK)):
            yield chunk

    def _scores(self) -> NDArray[np.float64]:
        """BM25 of each document that waits."""
        import numpy as np

        lengths = np.asarray(self._lengths, dtype=np.float64)
        scores = np.zeros(len(lengths))
        norm = K1 * (1 - B + B * lengths * (self.documents / max(1, self._characters)))
        for column in self._counts:
            counts = np.asarray(column, dtype=np.float64)
            holding = np.count_nonzero(counts)
            idf = math.log1p((self.documents - holding + 0.5) / (holding + 0.5))
            scores += idf * counts / (counts + norm)
        return scores

    def _read(self, numbers: Iterable[int]) -> Iterator[Document]:
        sources = [source for _, source in self._sources.values()]
        for number in numbers:
            self._file.seek(self._ends[number])
            row = marshal.loads(self._file.read(self._ends[number + 1] - self._ends[number]))  # noqa: S302 our own
            yield Document(*row)._replace(source=sources[row[3]])
