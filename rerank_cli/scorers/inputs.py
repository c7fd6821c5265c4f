"""What all local scorers share: the windows of a document, padded batches, and errors that name their document.

It knows neither prompts nor how scores are computed.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli import windows
from rerank_cli.errors import ModelError, library_errors
from rerank_cli.scorers.base import DocumentError
from rerank_cli.scorers.encoding import TokenizerError
from rerank_cli.scorers.prefixes import TooMuchTextError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from rerank_cli.models import LocalModel
    from rerank_cli.records import Pair
    from rerank_cli.scorers.prefixes import Tokens
    from rerank_cli.settings import Limits


class WindowCut(NamedTuple):
    """The windows of a document, how many first tokens each repeats, the tokens they cover, and whether it was cut."""

    spans: list[windows.Span]
    repeated: int
    tokens: int
    truncated: bool


class Row(NamedTuple):
    """One input: token ids, how many of them the model attends to, segment ids (none: all 0)."""

    ids: Sequence[int]
    attended: int
    types: Sequence[int] = ()


def cut_windows(tokens: Tokens, title_chars: int, capacity: int, limits: Limits) -> WindowCut:
    """The windows of a document under the limits: cut first, then chunk or truncate. No token, no window.

    `capacity` is the number of its tokens that fit into one window; `title_chars` characters are repeated in each.
    """
    count = min(len(tokens.ids), limits.max_tokens_per_doc)
    truncated = count < len(tokens.ids)
    if count == 0:
        return WindowCut([], 0, 0, truncated)
    if count <= capacity or limits.long_documents == "truncate":
        end = min(count, capacity)
        return WindowCut([windows.Span(0, end)], 0, end, truncated or end < count)
    repeated = _title_tokens(title_chars, tokens, capacity)
    overlap = max(1, (capacity - repeated) // 4)
    spans = windows.split(count, capacity - repeated, overlap, tokens.word_starts or [])
    if limits.max_chunks_per_doc and len(spans) > limits.max_chunks_per_doc:
        spans = spans[: limits.max_chunks_per_doc]
        truncated, count = True, spans[-1].end
    return WindowCut(spans, repeated, count, truncated)


def _title_tokens(title_chars: int, tokens: Tokens, capacity: int) -> int:
    """Tokens of the first rank field to repeat in each window: at most a quarter of it."""
    if not title_chars or tokens.offsets is None:
        return 0
    count = next((t for t, (start, _) in enumerate(tokens.offsets) if start >= title_chars), len(tokens.offsets))
    return min(count, capacity // 4)


@contextmanager
def errors_of(pairs: Sequence[Pair], model: str, limits: Limits, prompt: str = "") -> Iterator[None]:
    """Errors of the tokenizer about a text become DocumentErrors about its pair; `prompt` goes before documents."""
    try:
        yield
    except TokenizerError as error:
        for pair in pairs:
            whole = prompt + pair.text
            if error.text in {whole, pair.query} or error.text.endswith(pair.query):
                what = "it" if error.text == whole else "its query"
                problem = f"cannot be scored: the tokenizer of {model} failed on {what}: {error.reason}"
                raise DocumentError(pair, problem, "`rerank doctor` checks a model") from error
        raise
    except TooMuchTextError as error:
        pair = next((pair for pair in pairs if prompt + pair.text == error.text), pairs[0])  # else it is the query
        problem = f"has no {limits.max_tokens_per_doc:,} tokens in its first {error.chars:,} characters, and goes on"
        raise DocumentError(pair, problem, "does it hold text? cut it, or lower `--max-tokens-per-doc`") from None


def padded(rows: Sequence[Row], model: LocalModel) -> dict[str, NDArray[np.int64]]:
    """Inputs [rows, tokens] of one batch. A single row is doubled: one-row products take another path and roundings."""
    import numpy as np

    count = max(2, len(rows))
    length = max(len(row.ids) for row in rows)
    ids = np.full((count, length), model.pad_id, dtype=np.int64)
    mask = np.zeros((count, length), dtype=np.int64)
    types = np.zeros((count, length), dtype=np.int64)
    for number in range(count):
        row = rows[min(number, len(rows) - 1)]
        start = length - len(row.ids) if model.left_padded else 0
        ids[number, start : start + len(row.ids)] = row.ids
        mask[number, start : start + row.attended] = 1
        if model.token_types and row.types:
            types[number, start : start + len(row.ids)] = row.types
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def engine_errors(model: LocalModel, engine: str) -> AbstractContextManager[None]:
    """Errors of an engine become ModelErrors, as when ids of an unfit tokenizer exceed the embedding table."""
    hint = "do model and tokenizer belong together? `rerank doctor` checks them"
    return library_errors(lambda reason: ModelError(f"{model.name} failed in {engine}: {reason}", hint))
