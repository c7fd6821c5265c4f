"""The documents that share most with the words of the query, so that a model reads thousands and not millions: BM25.

One pass over a stream: documents wait in a temporary file, and memory holds a few bytes for each. BM25 as Lucene has it
(Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework"), with k1 1.2 and b 0.75; the length of a document
is that of its text in characters, which suits every script. It knows nothing of models.
"""

from __future__ import annotations

import marshal
import re
import tempfile
from array import array
from collections import Counter
from heapq import merge
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING
from unicodedata import normalize

from rerank_cli.errors import InputError
from rerank_cli.files import reason_of
from rerank_cli.records import Document
from rerank_cli.stages.words import words_of
from rerank_cli.text import is_blank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    import numpy as np
    from numpy.typing import NDArray

    from rerank_cli.records import Queries, Source
    from rerank_cli.report import Report

K1, B = 1.2, 0.75
CHUNK = 4096  # documents of a chunk that is given back
BLOCK = 65_536  # documents whose scores are computed together
MOST = 255  # occurrences of a word that are counted; more of them add nothing to BM25
# Words that say nothing about what is asked; a query of nothing else keeps them.
FUNCTION_WORDS = frozenset(
    """
    a an and are as at be but by can could did do does for from had has have how i if in into is it its may me my no
    not of on or our shall should so some such than that the their them then there these they this those to was we
    were what when where which while who whom whose why will with would you your
    """.split()  # noqa: SIM905 a list of strings reads worse
)
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ying|ies|ied|ing|es|ed|s|y|e)$")
_ENDINGS = "ies ied ying ing ings es ed er ers ly s y e".split()  # noqa: SIM905 as above
# Of Latin, Greek and Cyrillic letters; points of Hebrew; vowels of Arabic.
_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c2\u05c4-\u05c7\u064b-\u065f\u0670]+")


def best_by_words(
    query: Queries, chunks: Iterable[list[Document]], most: int, report: Report
) -> Iterator[list[Document]]:
    """At most `most` documents of a stream, those with the highest BM25 for the query, in input order.

    Ties go to the earlier document. Where too few documents share a word with the query, the first others follow, those
    without text last.
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
            found = len(waiting.found)
            (report.note if found else report.warn)(left_out(waiting.documents - most, found, most))
            yield from waiting.best()
    except OSError as error:  # readers raise errors of their own
        raise _no_room(error) from None


def left_out(count: int, found: int, most: int) -> str:
    """The note about `count` documents that are not scored; `found` share a word with the query."""
    if found > most:
        few = "1 document shares" if count == 1 else f"{count:,} documents share"
        return f"{few} fewer words with the query than others: not scored (--prefilter {most})"
    if not found:
        first = "first one" if most == 1 else f"first {most:,}"
        return f"no document shares a word with the query: --prefilter keeps the {first}"
    one = "1 document that shares none is" if count == 1 else f"{count:,} documents that share none are"
    words = "1 document shares" if found == 1 else f"{found:,} documents share"
    return f"{words} a word with the query; {one} not scored (--prefilter {most})"


def _no_room(error: OSError) -> InputError:
    """The error for a temporary file that cannot be written."""
    hint = "TMPDIR names another folder for temporary files; it needs about as much space as the input"
    return InputError(f"--prefilter cannot keep the documents in a temporary file: {reason_of(error)}", hint)


class _Words:
    """The words of a query, found in texts whatever their case and accents, English words with their endings."""

    def __init__(self, query: Queries) -> None:
        words = words_of(_plain(query if isinstance(query, str) else "\n".join(query)))
        stems = dict.fromkeys(_stem(word) for word in [w for w in words if w not in FUNCTION_WORDS] or words)
        self.count = len(stems)
        numbers: dict[str, int] = {}
        for number, stem in sorted(enumerate(stems, start=1), key=lambda pair: -len(pair[1])):
            for form in _forms(stem):
                numbers.setdefault(form, number)
        self._number_of = numbers.get

    def counts(self, text: str) -> list[tuple[int, int]]:
        """The numbers (from 1) of the words that occur in a text, in order, and how often each does."""
        found = list(filter(None, map(self._number_of, words_of(_plain(text)))))
        return sorted(Counter(found).items()) if found else []


def _plain(text: str) -> str:
    """Text without accents, its characters in their usual form: `café` is found as `cafe`, full-width digits as 0-9."""
    if text.isascii():
        return text
    return normalize("NFC", _ACCENTS.sub("", normalize("NFKD", text)))


def _stem(word: str) -> str:
    """A word without its English ending; of a doubled last letter (`running`) one stays."""
    if not word.isascii():
        return word
    stem = _ENDING.sub("", word)
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] else stem


def _forms(stem: str) -> Iterator[str]:
    """What stands for a stem in texts: itself, and English words with each ending."""
    yield stem
    if stem.isascii() and stem.isalpha() and len(stem) > 2:
        for end in ("", stem[-1]):
            yield stem + end
            yield from (stem + end + ending for ending in _ENDINGS)


class _Waiting:
    """Documents that share a word with the query, in a file; in memory their counts, lengths and places."""

    def __init__(self, words: _Words, file: IO[bytes], most: int) -> None:
        self.documents = 0
        self._words, self._file, self._most = words, file, most
        self._sources: dict[int, tuple[int, Source]] = {}  # by identity: number and source
        self._characters = 0  # of all documents
        self._numbers, self._counts = array("I"), array("B")  # of the words of each document, one after the other
        self.found = array("I")  # how many different words of the query are in each document
        self._lengths, self._ends = array("Q"), array("Q", [0])
        self._others: list[Document] = []  # the first that share no word
        self._blank: list[Document] = []  # the first without text

    def add(self, chunk: list[Document]) -> None:
        """Take the documents of a chunk."""
        parts = []
        for document in chunk:
            self._characters += len(document.text)
            counts = self._words.counts(document.text)
            if not counts:
                others = self._blank if is_blank(document.text) else self._others
                if len(others) < self._most:
                    others.append(document)
                continue
            part = marshal.dumps((*document[:3], self._number(document.source), *document[4:]))
            parts.append(part)
            for number, count in counts:
                self._numbers.append(number)
                self._counts.append(min(count, MOST))
            self.found.append(len(counts))
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
        others = sorted([*self._others, *self._blank][: self._most - len(order)], key=attrgetter("index"))
        documents = merge(self._read(np.sort(order).tolist()), others, key=attrgetter("index"))
        while chunk := list(islice(documents, CHUNK)):
            yield chunk

    def _scores(self) -> NDArray[np.float64]:
        """BM25 of each document that waits."""
        import numpy as np

        lengths, found = np.asarray(self._lengths, dtype=np.float64), np.asarray(self.found)
        norm = K1 * (1 - B + B * lengths * (self.documents / max(1, self._characters)))
        holding = np.bincount(np.asarray(self._numbers), minlength=self._words.count + 1)
        idf = np.log1p((self.documents - holding + 0.5) / (holding + 0.5))
        scores = np.zeros(len(lengths))
        start = 0
        for first in range(0, len(scores), BLOCK):  # bounded memory
            rows = np.repeat(np.arange(first, min(first + BLOCK, len(scores))), found[first : first + BLOCK])
            end = start + len(rows)
            counts = np.asarray(self._counts[start:end], dtype=np.float64)
            parts = idf[np.asarray(self._numbers[start:end])] * counts / (counts + norm[rows])
            scores[first : first + BLOCK] = np.bincount(rows - first, parts, min(BLOCK, len(scores) - first))
            start = end
        return scores

    def _read(self, numbers: Iterable[int]) -> Iterator[Document]:
        sources = [source for _, source in self._sources.values()]
        for number in numbers:
            self._file.seek(self._ends[number])
            row = marshal.loads(self._file.read(self._ends[number + 1] - self._ends[number]))  # noqa: S302 our own
            yield Document(*row)._replace(source=sources[row[3]])
