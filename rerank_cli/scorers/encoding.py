"""Texts to token ids: one tokenizer, its pair template, and where the words of a long text begin.

Only this module imports `tokenizers`. It knows nothing of models, windows or scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of one text; offsets (characters) and word starts only where they were asked for."""

    ids: list[int]
    offsets: list[tuple[int, int]] | None = None
    word_starts: list[bool] | None = None


class Encoder:
    """A tokenizer.json without truncation and padding, and without special tokens from document text.

    `Tokenizer.from_file` obeys the truncation and padding stored in the file, and by default turns `[SEP]` in a
    document into the control token; both would change scores silently.
    """

    def __init__(self, path: Path, *, lower_case: bool = False) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception for anything wrong with the file
            raise ModelError(f"cannot read the tokenizer {path}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        if lower_case:
            self._lower_case()
        self._path = path
        self.query = lru_cache(maxsize=1024)(self._query)  # bounded for servers: a query may be long

    def _query(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _lower_case(self) -> None:
        """Lower-case before the tokenizer's own normalisation, as sentence-transformers' `do_lower_case` does."""
        from tokenizers import normalizers

        own = self._tokenizer.normalizer
        self._tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *([own] if own else [])])

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, nothing added, control tokens in it read as text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
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

    def documents(self, texts: Sequence[str], long: int) -> list[Tokens]:
        """Token ids of each text, in input order.

        Texts of more than `long` tokens also carry offsets and word starts. Building those costs more than tokenising,
        so texts that look short are encoded without and only the rare wrong guess is encoded again.
        """
        result: list[Tokens | None] = [None] * len(texts)
        short = [i for i, text in enumerate(texts) if len(text) <= 3 * long]
        batch = self._tokenizer.encode_batch_fast([texts[i] for i in short], add_special_tokens=False)
        for i, encoding in zip(short, batch, strict=True):
            ids = encoding.ids
            if len(ids) <= long:
                result[i] = Tokens(ids)
        rest = [i for i, tokens in enumerate(result) if tokens is None]
        for i, encoding in zip(rest, self._with_offsets([texts[i] for i in rest]), strict=True):
            result[i] = encoding
        return [tokens for tokens in result if tokens is not None]

    def _with_offsets(self, texts: list[str]) -> list[Tokens]:
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False) if texts else []
        found = []
        for encoding in encodings:
            words = encoding.word_ids
            starts = [True, *(words[t] != words[t - 1] for t in range(1, len(words)))] if words else []
            found.append(Tokens(encoding.ids, encoding.offsets, starts))
        return found

    def template(self) -> Template:
        """The pair template, read from an encoded pair. Raises ModelError if the tokenizer has none."""
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
