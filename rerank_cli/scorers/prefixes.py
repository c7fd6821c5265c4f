"""The first tokens of a long text from a beginning of it, the same as from the whole text, at a bounded cost.

Where a text may be cut depends on the tokenizer. Its words do not depend on what follows a few words later, so all but
the last words of a beginning are settled. A beginning within one very long word is settled as far as beginnings of
several lengths agree; WordPiece makes one unknown token of such a word whatever it says, so its middle is left out. If
a beginning settles too few tokens, a longer one is tried, up to a limit. It knows no model and no score.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

START = 8  # characters of the first beginning per token that is wanted
LEAST = 2048  # characters of a beginning
WHOLE = 24  # characters per token that is wanted, up to which a text is tokenised whole
GROWTH = 4
MOST_CHARS = 550_000  # of a beginning; tokenising them takes about a second
LAST_WORDS = 4  # of a beginning, that may depend on what follows
LAST_TOKENS = 16  # before the ends of beginnings that agree, likewise
BEGINNINGS = range(1, 17)  # characters that the beginnings to compare are shorter by: every remainder of a period of 16
ADDED = 4  # times the longest added token: characters before the end of a beginning in which one may have been cut
HEAD, TAIL = 112, 16  # characters that are kept of a very long word, and of a very long run of white space
_ALNUM, _SPACE = re.compile("[A-Za-z0-9]+"), re.compile(r"[ \t\r\n]+")
PLAIN_WORDS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}  # keep letters and digits together
PLAIN_NORMALIZERS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Strip"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of one text; offsets (characters) and word starts only where they were asked for."""

    ids: list[int]
    offsets: list[tuple[int, int]] | None = None
    word_starts: list[bool] | None = None


class TooMuchTextError(Exception):
    """More than `chars` characters would have to be tokenised for the first tokens of a text."""

    def __init__(self, text: str, chars: int) -> None:
        super().__init__(f"too few tokens in {chars} characters")
        self.text, self.chars = text, chars


class Beginning(NamedTuple):
    """A beginning of a text, parts of it left out: at these positions, and so many characters up to there."""

    text: str
    whole: bool
    gaps: list[int]
    left_out: list[int]

    def restored(self, offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Offsets in the text itself."""
        return [(self._moved(start), self._moved(end)) for start, end in offsets] if self.gaps else offsets

    def _moved(self, position: int) -> int:
        before = bisect_left(self.gaps, position)
        return position + (self.left_out[before - 1] if before else 0)


class Splitting(NamedTuple):
    """How a tokenizer splits very long words. `runs`: of what these match, the middle makes no difference."""

    by_word: bool = True  # a word's tokens depend on its length: only whole words are settled
    runs: re.Pattern[str] | None = None
    open_chars: int = 0  # before the end of a beginning, that may be part of an added token


def splitting(tokenizer: Any) -> Splitting:
    """How a `tokenizers.Tokenizer` splits very long words."""
    model = type(tokenizer.model).__name__
    splits, normal = _settings(tokenizer.pre_tokenizer), _settings(tokenizer.normalizer)
    normalizers = normal.get("normalizers", [normal] if normal else [])
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values() if not token.special]
    plain = (
        model == "WordPiece"
        and splits.get("type") in PLAIN_WORDS
        and all(each.get("type") in PLAIN_NORMALIZERS for each in normalizers)
        and not any(re.search(r"[A-Za-z0-9\s]", text) for text in added)
        and tokenizer.model.max_input_chars_per_word <= HEAD
    )
    least = HEAD + TAIL + 1
    runs = re.compile(rf"[A-Za-z0-9]{{{least},}}|[ \t\r\n]{{{least},}}") if plain else None
    return Splitting(model not in {"BPE", "Unigram"}, runs, ADDED * max(map(len, added), default=0))


def _settings(part: Any) -> dict[str, Any]:
    """The settings of a part of a tokenizer; that is what is pickled of it."""
    found: dict[str, Any] = json.loads(part.__getstate__()) if part else {}
    return found


def first_tokens(encode: Callable[[str], Any], text: str, most: int, splits: Splitting) -> Tokens:
    """At least the first `most` tokens of a text, or all if it has fewer, with offsets and word starts.

    `encode` makes a `tokenizers.Encoding`. Raises TooMuchTextError.
    """
    size = max(LEAST, START * most)
    largest = max(MOST_CHARS, WHOLE * most)
    while True:
        beginning = cut(text, size, splits.runs)
        encoding = encode(beginning.text)
        count = len(encoding.ids)
        if not beginning.whole:
            count = _in_whole_words(encoding)
            if count < most and not splits.by_word:
                count = max(count, _agreed(encode, beginning.text, encoding, most))
            count = min(count, bisect_right(encoding.offsets, len(beginning.text) - splits.open_chars, key=_end_of))
        if beginning.whole or count >= most:
            found = tokens_of(encoding, None if beginning.whole else most)
            return replace(found, offsets=beginning.restored(found.offsets or []))
        if size >= largest:
            raise TooMuchTextError(text, size)
        size = size * GROWTH if size * GROWTH * 2 < largest else largest


def cut(text: str, size: int, runs: re.Pattern[str] | None) -> Beginning:
    """A beginning of about `size` characters, or the whole text, without the middles of very long words."""
    if runs is None:
        return Beginning(text[:size], len(text) <= size, [], [])
    parts: list[str] = []
    gaps: list[int] = []
    left_out: list[int] = []
    position = length = 0
    while position < len(text) and length < size:
        middle = min(len(text), position + size - length)
        end = _run_end(text, middle)
        spans = [match.span() for match in runs.finditer(text, position, middle)]
        if end - middle > HEAD + TAIL:
            spans.append((middle, end))
        for start, stop in spans:
            parts.append(text[position : start + HEAD])
            length += start + HEAD - position
            position = stop - TAIL
            gaps.append(length)
            left_out.append(position - start - HEAD + (left_out[-1] if left_out else 0))
        parts.append(text[position:end])
        length += end - position
        position = end
    return Beginning("".join(parts), position == len(text), gaps, left_out)


def _run_end(text: str, position: int) -> int:
    """Where the letters and digits, or the white space, that begin at a position end: fast, whatever their number."""
    for same in _ALNUM, _SPACE:
        step = 256
        while same.fullmatch(text, position, position + 256) and position < len(text):
            block = text[position : position + step]
            if not (block.isspace() if same is _SPACE else block.isascii() and block.encode().isalnum()):
                break
            position += len(block)
            step = min(4 * step, 1 << 20)
        if end := same.match(text, position):
            return end.end()
    return position


def _end_of(offsets: tuple[int, int]) -> int:
    return offsets[1]


def _in_whole_words(encoding: Any) -> int:
    """How many tokens of a beginning belong to words before the last ones."""
    words = encoding.word_ids
    count, seen = len(words), 0
    while count and seen < LAST_WORDS:
        count -= 1
        seen += not count or words[count] != words[count - 1]
    return count


def _agreed(encode: Callable[[str], Any], text: str, encoding: Any, most: int) -> int:
    """How many tokens beginnings of several lengths have in common, less a few; 0 as soon as they are too few."""
    common = len(encoding.ids)
    for shorter in BEGINNINGS:
        if common - LAST_TOKENS < most:
            return 0
        other = encode(text[: len(text) - shorter])
        pairs = zip(encoding.ids[:common], other.ids, strict=False)
        common = next((at for at, (one, two) in enumerate(pairs) if one != two), min(common, len(other.ids)))
    return max(0, common - LAST_TOKENS)


def tokens_of(encoding: Any, count: int | None = None) -> Tokens:
    """The first `count` tokens of a `tokenizers.Encoding`, or all, with offsets and word starts."""
    words = encoding.word_ids[:count]
    starts = [True, *(words[t] != words[t - 1] for t in range(1, len(words)))] if words else []
    return Tokens(encoding.ids[:count], encoding.offsets[:count], starts)
