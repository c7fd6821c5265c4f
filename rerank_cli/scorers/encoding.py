"""Texts to token ids: one tokenizer, its pair template, and where the words of a long text begin.

Only this module imports `tokenizers`. It knows nothing of models, windows or scores.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError, library_errors
from rerank_cli.scorers.prefixes import WHOLE, Splitting, Tokens, first_tokens, splitting, tokens_of
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


MOST_QUERY = 65_536  # tokens of a query; half of what any model reads
LONG_QUERY = 1_000_000  # characters
BLOCK_CHARS = 8_000_000  # tokenised at a time


class Template(NamedTuple):
    """The pair template of a tokenizer: special tokens around and between, and the segment id of each part."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]]

    @property
    def specials(self) -> int:
        """Special tokens of a pair."""
        return len(self.before) + len(self.between) + len(self.after)

    def build(self, query: Sequence[int], document: Sequence[int]) -> tuple[list[int], list[int]]:
        """Token ids and segment ids of one input, in model order."""
        ids = [*self.before, *query, *self.between, *document, *self.after]
        before, first, between, second, after = self.types
        types = [*before, *([first] * len(query)), *between, *([second] * len(document)), *after]
        return ids, types


class TokenizerError(ModelError):
    """The tokenizer failed on one text, and may do well with others."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"the tokenizer failed on {shown(text, 40)!r}: {reason}", "`rerank doctor` checks a model")
        self.text, self.reason = text, reason


class Encoder:
    """A tokenizer.json without truncation and padding, and without special tokens from document text.

    `Tokenizer.from_file` obeys the truncation and padding stored in the file, and by default turns `[SEP]` in a
    document into the control token; both would change scores silently.
    """

    def __init__(self, path: Path, *, lower_case: bool = False) -> None:
        from tokenizers import Tokenizer

        hint = "download or save the model again (after a clone: `git lfs pull`)"
        with library_errors(lambda reason: ModelError(f"cannot read the tokenizer {path}: {reason}", hint)):
            self._tokenizer: Any = Tokenizer.from_file(str(path))
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
            self._tokenizer.encode_special_tokens = True
            if lower_case:
                self._lower_case()
        self._path = path
        self._splits: Splitting | None = None  # found out at the first long text
        self.query = lru_cache(maxsize=1024)(self._query)  # bounded for servers: a query may be long

    def _query(self, text: str) -> tuple[int, ...]:
        if len(text) > LONG_QUERY:
            return tuple(self.first(text, MOST_QUERY).ids)
        return tuple(self.ids(text))

    def _encode(self, text: str) -> Any:
        with library_errors(partial(TokenizerError, text)):
            return self._tokenizer.encode(text, add_special_tokens=False)

    def _lower_case(self) -> None:
        """Lower-case before the tokenizer's own normalisation, as sentence-transformers' `do_lower_case` does."""
        from tokenizers import normalizers

        own = self._tokenizer.normalizer
        self._tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, nothing added, control tokens in it read as text."""
        ids: list[int] = self._encode(text).ids
        return ids

    def controlled(self, text: str) -> list[int]:
        """Token ids of a text with control tokens: for templates only, never for a user's text."""
        self._tokenizer.encode_special_tokens = False
        try:
            return self.ids(text)
        finally:
            self._tokenizer.encode_special_tokens = True

    def controls(self) -> dict[str, int]:
        """Control tokens and their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def token_id(self, token: str) -> int | None:
        """The id of one token, or None if it is not in the vocabulary."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number

    def documents(self, texts: Sequence[str], long: int, most: int | None = None) -> list[Tokens]:
        """Token ids of each text, in input order; of more than `most` tokens, the first are enough.

        Texts of more than `long` tokens also carry offsets and word starts. Building those costs more than tokenising,
        so texts that look short are encoded without and only the rare wrong guess is encoded again.

        Raises TokenizerError for a text that the tokenizer fails on, TooMuchTextError for one of which too much would
        have to be read.
        """
        result: list[Tokens | None] = [None] * len(texts)
        short = [i for i, text in enumerate(texts) if len(text) <= 3 * long]
        for i, encoding in zip(short, self._batch([texts[i] for i in short], offsets=False), strict=True):
            ids = encoding.ids
            if len(ids) <= long:
                result[i] = Tokens(ids)
        rest = [i for i, tokens in enumerate(result) if tokens is None]
        whole = [i for i in rest if most is None or len(texts[i]) <= WHOLE * most]
        for i, encoding in zip(whole, self._batch([texts[i] for i in whole], offsets=True), strict=True):
            result[i] = tokens_of(encoding)
        for i in rest:
            if result[i] is None:
                result[i] = self.first(texts[i], most or 0)
        return [tokens for tokens in result if tokens is not None]

    def first(self, text: str, most: int) -> Tokens:
        """The first `most` tokens of a text, or more, with offsets and word starts. See `documents`."""
        if self._splits is None:
            with library_errors(partial(TokenizerError, text)):
                self._splits = splitting(self._tokenizer)
        return first_tokens(self._encode, text, most, self._splits)

    def _batch(self, texts: list[str], *, offsets: bool) -> Iterator[Any]:
        """Encodings of texts, in blocks that bound memory.

        If a block fails, each of its texts is encoded alone, so that the error is about the right one.
        """
        encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        start = 0
        while start < len(texts):
            end = start + 1
            size = len(texts[start])
            while end < len(texts) and size + len(texts[end]) <= BLOCK_CHARS:
                size += len(texts[end])
                end += 1
            block, start = texts[start:end], end
            try:
                with library_errors(partial(TokenizerError, block[0])):
                    encodings = encode(block, add_special_tokens=False)
            except TokenizerError:
                encodings = [self._encode(text) for text in block]
            yield from encodings

    def template(self) -> Template:
        """The pair template, read from an encoded pair. Raises ModelError if the tokenizer has none."""
        with library_errors(partial(TokenizerError, "a b")):
            encoding = self._tokenizer.encode("a", "b", add_special_tokens=True)
        parts = encoding.sequence_ids
        if 0 not in parts or 1 not in parts:
            raise ModelError(f"the tokenizer {self._path} encodes neither `a` nor `b`")
        first, second = parts.index(0), parts.index(1)
        end_first = len(parts) - 1 - parts[::-1].index(0) + 1
        end_second = len(parts) - 1 - parts[::-1].index(1) + 1
        if end_first == second:
            message = f"the tokenizer {self._path} has no pair template: query and document would run into each other"
            raise ModelError(message, "use a tokenizer.json whose post-processor joins pairs, as the model was trained")
        ids, types = encoding.ids, encoding.type_ids
        return Template(
            tuple(ids[:first]),
            tuple(ids[end_first:second]),
            tuple(ids[end_second:]),
            (
                tuple(types[:first]),
                types[first],
                tuple(types[end_first:second]),
                types[second],
                tuple(types[end_second:]),
            ),
        )
