"""Texts to inputs of a model that encodes query and document apart: template, prompt, marker, filler, skipped tokens.

The rules are those of sentence-transformers 6.2 and PyLate 1.6. It knows one tokenizer, and neither engines nor scores.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError
from rerank_cli.scorers.inputs import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.models.facts import LocalModel, TextEncoding
    from rerank_cli.report import Report
    from rerank_cli.scorers.encoding import Encoder


class TextInputs:
    """Inputs of one kind of text: `room` tokens of the prompt's end and the text fit into one."""

    def __init__(self, encoder: Encoder, encoding: TextEncoding, model: LocalModel) -> None:
        """Raises ModelError for a marker or filler that the tokenizer lacks, and for a prompt that leaves no room."""
        self._encoding = encoding
        self._before, self._after = encoder.single()
        self._lead, self.prompt = split_prompt(encoding.prompt, encoder)
        self.prompt_ids = encoder.ids(self.prompt) if self.prompt else []
        self._marker = _token(encoder, encoding.marker, "marker", model)
        self._filler = _token(encoder, encoding.filler, "filler", model) if encoding.fill_to else None
        # Words that the tokenizer has no token for are left out: the unknown token must keep its vector.
        self.skipped = {token for token in map(encoder.token_id, encoding.skipped) if token is not None}
        specials = len(self._before) + len(self._lead) + len(self._after) + (self._marker is not None)
        self.room = encoding.max_tokens - specials
        if self.room <= len(self.prompt_ids):
            raise ModelError(f"the prompt of {model.name} leaves no room in its {encoding.max_tokens} tokens")

    def row(self, ids: Sequence[int]) -> Row:
        """The input of tokens that fit: those of the prompt's end and the text."""
        whole = [*self._before, *self._lead, *ids, *self._after]
        if self._marker is not None:  # PyLate and ColBERT insert it into what is tokenised already
            whole = [*whole[:1], self._marker, *whole[1:]]
        attended = len(whole)
        if self._filler is not None and attended < self._encoding.fill_to:
            whole += [self._filler] * (self._encoding.fill_to - attended)
        return Row(whole, len(whole) if self._encoding.attends else attended)

    def kept(self, row: Row) -> list[int]:
        """Positions of the tokens whose vectors count: all, filler included, but for those that are skipped."""
        return [place for place, token in enumerate(row.ids) if token not in self.skipped]

    def key(self, row: Row) -> bytes:
        """Identifies an input and what is kept of it."""
        return blake2b(repr((row, sorted(self.skipped))).encode(), digest_size=16).digest()


class QueryInputs(TextInputs):
    """Inputs of queries; each that had to be cut is counted."""

    def __init__(self, encoder: Encoder, encoding: TextEncoding, model: LocalModel, report: Report) -> None:
        super().__init__(encoder, encoding, model)
        self._encoder, self._report = encoder, report
        self.query = lru_cache(maxsize=4096)(self._query)

    def _query(self, text: str) -> Row:
        """The input of a query, cut to what the model reads."""
        if self.measure(text)[1]:
            self._report.count("query_cut")
        return self.row(self._encoder.query(self.prompt + text)[: self.room])

    def measure(self, text: str) -> tuple[int, bool]:
        """Tokens of a query, and whether the model reads only a part of it."""
        tokens = len(self._encoder.query(self.prompt + text))
        return tokens - len(self.prompt_ids), tokens > self.room


def split_prompt(prompt: str, encoder: Encoder) -> tuple[list[int], str]:
    """A prompt as the tokens up to its last control token, and the rest, which is tokenised together with the text."""
    lead: list[int] = []
    controls = encoder.controls()
    pattern = "|".join(re.escape(token) for token in sorted(controls, key=len, reverse=True))
    *parts, tail = re.split(f"({pattern})", prompt) if pattern else [prompt]
    for part in filter(None, parts):
        lead += [controls[part]] if part in controls else encoder.ids(part)
    return lead, tail


def _token(encoder: Encoder, token: str, what: str, model: LocalModel) -> int | None:
    """The id of a token; None for no token. Raises ModelError if the tokenizer does not have it."""
    number = encoder.token_id(token) if token else None
    if token and number is None:
        hint = "the vocabulary of its training is missing: download the model again"
        raise ModelError(f"{model.name} needs the {what} `{token}`, which its tokenizer does not have", hint)
    return number
