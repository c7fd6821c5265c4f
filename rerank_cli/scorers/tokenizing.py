"""Counting tokens for a prompt: by the model's own tokenizer, by the embedded model's for remote ones, or by a file.

A tokenizer is opened once per process and may be used by several threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rerank_cli.models.tokenizer_file import tokenizer_file
from rerank_cli.scorers.encoding import Encoder

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.scorers.base import ScorerInfo


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """A tokenizer for texts alone, without the special tokens of a model."""

    encoder: Encoder

    def spans(self, text: str, most: int) -> list[tuple[int, int]]:
        """The characters of the first `most` tokens of a text or of a few more; of all tokens if there are fewer."""
        (tokens,) = self.encoder.documents([text], 0, most)
        return tokens.offsets or []


def tokenizer_of(info: ScorerInfo, file: Path | None) -> TokenCounter:
    """The tokenizer of a file, or of a scorer's model. Raises ModelError for a file that is not a tokenizer."""
    if file is not None:
        return _opened(file, lower_case=False)
    return _opened(info.tokenizer or tokenizer_file("builtin"), lower_case=info.lower_case)


@lru_cache(maxsize=4)
def _opened(file: Path, *, lower_case: bool) -> TokenCounter:
    return TokenCounter(Encoder(file, lower_case=lower_case))
