"""Texts to token ids: one tokenizer, its pair template, and where the words of a long text begin.

Only this module imports `tokenizers`. It knows nothing of models, windows or scores.
"""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError, library_errors
from rerank_cli.models.control_tokens import marked_text
from rerank_cli.models.sentencepiece import tokenizer_text
from rerank_cli.scorers.prefixes import WHOLE, Splitting, Tokens, first_tokens, splitting, tokens_of
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
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
    """A tokenizer.json, or a SentencePiece model, without truncation and padding; control tokens in a text are text.

    `Tokenizer.from_file` obeys the truncation and padding stored in the file, and by default turns `[SEP]` in a
    document into the control token; both would change scores silently.
    """

    def __init__(self, path: Path, *, lower_case: bool = False, t5: bool = False) -> None:
        self._path, self._lower_case = path, lower_case
        self._tokenizer = self._opened(lambda: tokenizer_text(path) if path.suffix == ".model" else None)
        if t5 and self._kind != "Unigram":
            raise self._unreadable(f"it is of the kind {self._kind}, and T5's are Unigram")
        self._guarded = self._readable_controls()
        self._reserved: frozenset[str] = frozenset()
        self._splits: Splitting | None = None  # found out at the first long text
        self.query = lru_cache(maxsize=1024)(self._query)  # bounded for servers: a query may be long

    def _query(self, text: str) -> tuple[int, ...]:
        if len(text) > LONG_QUERY:
            return tuple(self.first(text, MOST_QUERY).ids)
        return tuple(self.ids(text))

    def _opened(self, text_of: Callable[[], str | None]) -> Any:
        """The tokenizer of a text, or of the file itself; lower case comes first, as sentence-transformers has it."""
        from tokenizers import Tokenizer, normalizers

        with library_errors(self._unreadable):
            text = text_of()
            tokenizer = Tokenizer.from_file(str(self._path)) if text is None else Tokenizer.from_str(text)
            tokenizer.no_padding()
            tokenizer.no_truncation()
            tokenizer.encode_special_tokens = True
            if self._lower_case:
                own = tokenizer.normalizer
                tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])
        return tokenizer

    def _unreadable(self, reason: str) -> ModelError:
        hint = "download or save the model again (after a clone: `git lfs pull`)"
        return ModelError(f"cannot read the tokenizer {self._path}: {reason}", hint)

    @property
    def _kind(self) -> str:
        return type(self._tokenizer.model).__name__

    def _readable_controls(self) -> frozenset[int]:
        """Control tokens that could be read in a text: those of the model's own vocabulary, which it looks up there."""
        own = {token: n for token, n in self.controls().items() if self._tokenizer.model.token_to_id(token) is not None}
        return frozenset(number for token, number in own.items() if self._finds(token, number))

    def _finds(self, token: str, number: int) -> bool:
        """Whether a control token may be read in a text. A model of whole words finds words only: `[SEP]` is three."""
        if self._kind not in {"WordPiece", "WordLevel"}:
            return True
        try:
            with library_errors(partial(TokenizerError, token)):
                return number in self._tokenizer.encode(token, add_special_tokens=False).ids
        except TokenizerError:
            return True

    def reserve(self, tokens: Iterable[str]) -> None:
        """Take added tokens for control tokens, too, before anything is tokenised."""
        self._reserved = self.added().intersection(tokens)
        self._guarded |= {self._tokenizer.token_to_id(token) for token in self._reserved}

    @cached_property
    def _marked(self) -> Any:
        """The same tokenizer without control tokens that a text could be. Slow to make, and rarely needed."""
        return self._opened(lambda: marked_text(tokenizer_text(self._path), self._reserved))

    def _as_text(self, text: str, encoding: Any) -> Any:
        """The encoding of a text, made again if a control token was read in it."""
        ids = encoding.ids
        if self._guarded.isdisjoint(ids):
            return encoding
        with library_errors(partial(TokenizerError, text)):
            normalizer = self._tokenizer.normalizer
            normal = normalizer.normalize_str(text) if normalizer else text
            names = map(self._tokenizer.id_to_token, self._guarded.intersection(ids))
            if all(name.isascii() and name not in normal and name not in self._reserved for name in names):
                return encoding  # nobody typed it: it stands for characters that the model does not know
            return self._marked.encode(text, add_special_tokens=False)

    def _encode(self, text: str) -> Any:
        with library_errors(partial(TokenizerError, text)):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return self._as_text(text, encoding)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, nothing added, control tokens in it read as text."""
        ids: list[int] = self._encode(text).ids
        return ids

    def controlled(self, text: str) -> list[int]:
        """Token ids of a text with control tokens: for templates only, never for a user's text."""
        self._tokenizer.encode_special_tokens = False
        try:
            with library_errors(partial(TokenizerError, text)):
                ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
            return ids
        finally:
            self._tokenizer.encode_special_tokens = True

    def controls(self) -> dict[str, int]:
        """Control tokens and their ids."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {token.content: number for number, token in added.items() if token.special}

    def added(self) -> frozenset[str]:
        """Tokens beside the vocabulary, control tokens and others: each is one token wherever a template has it."""
        return frozenset(token.content for token in self._tokenizer.get_added_tokens_decoder().values())

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens included."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def joins_pairs(self) -> bool:
        """Whether the tokenizer has a pair template."""
        try:
            self.template()
        except TokenizerError:
            raise
        except ModelError:
            return False
        return True

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
            yield from map(self._as_text, block, encodings)

    def single(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Special tokens before and after a text that stands alone."""
        with library_errors(partial(TokenizerError, "a")):
            encoding = self._tokenizer.encode("a", add_special_tokens=True)
        parts = encoding.sequence_ids
        if 0 not in parts:
            raise ModelError(f"the tokenizer {self._path} does not encode `a`")
        first, last = parts.index(0), len(parts) - parts[::-1].index(0)
        return tuple(encoding.ids[:first]), tuple(encoding.ids[last:])

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
