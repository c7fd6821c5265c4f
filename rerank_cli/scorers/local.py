"""A local cross-encoder as a scorer: tokenise, cut into windows, batch, run an engine, fold windows into documents.

An `Engine` runs a batch (ONNX Runtime, OpenVINO, torch), a `Prompt`
builds inputs, `models` describes models. Scores of a pair do not depend on the other pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rerank_cli import windows
from rerank_cli.errors import ModelError, library_errors
from rerank_cli.records import Pair, Score
from rerank_cli.scorers.base import DocumentError, TooLongError
from rerank_cli.scorers.batching import batches
from rerank_cli.scorers.encoding import TokenizerError
from rerank_cli.scorers.prefixes import TooMuchTextError
from rerank_cli.scorers.prompts import SPARE, DocumentSlice

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.base import Advance, ScorerInfo
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.prefixes import Tokens
    from rerank_cli.scorers.prompts import Prompt
    from rerank_cli.settings import Limits

BLOCK = 2048  # pairs tokenised at a time: bounds memory, still sorts well by length


class Engine(Protocol):
    """Runs one padded batch; `run` returns logits [rows, labels]."""

    name: str
    token_budget: int  # padded tokens per batch that suit it

    @property
    def inputs(self) -> frozenset[str]:
        """Names of the inputs that the graph declares."""

    def run(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits of int64 [rows, tokens] inputs."""

    def close(self) -> None:
        """Free what is held."""


class _Input(NamedTuple):
    """One window ready for the engine: which pair, token ids, segment ids, characters of the scored text."""

    pair: int
    ids: list[int]
    types: list[int]
    offsets: tuple[int, int]


@dataclass(eq=False)
class LocalScorer:
    """Scores pairs with a local model. Not thread-safe; one at a time is also the fastest on a CPU."""

    model: LocalModel
    encoder: Encoder
    prompt: Prompt
    engine: Engine
    info: ScorerInfo

    def usage(self) -> dict[str, float]:
        """Local models bill nothing."""
        return {}

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One score per pair, in input order; see `Scorer.score`."""
        scores: list[Score] = []
        for start in range(0, len(pairs), BLOCK):
            scores += self._score_block(pairs[start : start + BLOCK], limits, advance)
        return scores

    def _score_block(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None) -> list[Score]:
        inputs, counts = self._prepare(pairs, limits)
        values = self._run(inputs, len(pairs), advance)
        by_pair: list[list[int]] = [[] for _ in pairs]
        for position, item in enumerate(inputs):
            by_pair[item.pair].append(position)
        scores = []
        for (tokens, truncated), positions in zip(counts, by_pair, strict=True):
            if not positions:
                scores.append(Score(None, 0, 0))
                continue
            chosen = positions[windows.best([values[position] for position in positions])]
            best = inputs[chosen].offsets if len(positions) > 1 else None
            scores.append(Score(values[chosen], tokens, len(positions), best, truncated))
        return scores

    def _prepare(self, pairs: Sequence[Pair], limits: Limits) -> tuple[list[_Input], list[tuple[int, bool]]]:
        """Windows of all pairs; how many tokens of each are scored, and whether it was cut. No token, no window."""
        capacities, encoded = self._encoded(pairs, limits)
        inputs: list[_Input] = []
        counts: list[tuple[int, bool]] = []
        for number, pair in enumerate(pairs):
            tokens = min(len(encoded[number].ids), limits.max_tokens_per_doc)
            if tokens > capacities[number] and limits.long_documents == "error":
                raise TooLongError(pair, tokens, capacities[number])
            own, count, truncated = self._windows(number, pair, encoded[number], capacities[number], limits)
            inputs += own
            counts.append((count, truncated))
        return inputs, counts

    def _encoded(self, pairs: Sequence[Pair], limits: Limits) -> tuple[list[int], list[Tokens]]:
        """Room for the document of each pair, and its tokens: of a long one as many as are scored, and a few more.

        Raises DocumentError for a pair that the tokenizer fails on, or of which too much would have to be read.
        """
        most = limits.max_tokens_per_doc + SPARE + 1
        try:
            capacities = [self._capacity(pair.query) for pair in pairs]
            longest = max(1, min([limits.max_tokens_per_doc, *capacities]))
            return capacities, self.encoder.documents([pair.text for pair in pairs], longest, most)
        except TokenizerError as error:
            for pair in pairs:
                if error.text in {pair.text, pair.query} or error.text.endswith(pair.query):
                    what = "it" if error.text == pair.text else "its query"
                    problem = f"cannot be scored: the tokenizer of {self.model.name} failed on {what}: {error.reason}"
                    raise DocumentError(pair, problem, "`rerank doctor` checks a model") from error
            raise
        except TooMuchTextError as error:
            pair = next((pair for pair in pairs if pair.text is error.text), pairs[0])  # else it is the query
            problem = (
                f"has no {limits.max_tokens_per_doc:,} tokens in its first {error.chars:,} characters, and goes on"
            )
            raise DocumentError(pair, problem, "does it hold text? cut it, or lower `--max-tokens-per-doc`") from None

    def _capacity(self, query: str) -> int:
        """Document tokens that fit into one window besides the query."""
        room = self.prompt.room(query)
        return min(self.model.window or room, room)

    def _windows(
        self, number: int, pair: Pair, tokens: Tokens, capacity: int, limits: Limits
    ) -> tuple[list[_Input], int, bool]:
        """The windows of one pair under the limits: cut first, then chunk or truncate."""
        count = min(len(tokens.ids), limits.max_tokens_per_doc)
        truncated = count < len(tokens.ids)
        if count == 0:
            return [], 0, truncated
        if count <= capacity or limits.long_documents == "truncate":
            end = min(count, capacity)
            spans, repeated = [windows.Span(0, end)], 0
            truncated = truncated or end < count
            count = end
        else:
            repeated = self._title_tokens(pair.title_chars, tokens, capacity)
            overlap = max(1, (capacity - repeated) // 4)
            spans = windows.split(count, capacity - repeated, overlap, tokens.word_starts or [])
            if limits.max_chunks_per_doc and len(spans) > limits.max_chunks_per_doc:
                spans = spans[: limits.max_chunks_per_doc]
                truncated, count = True, spans[-1].end
        slices = [DocumentSlice(pair.text, tokens, span.start, span.end, repeated) for span in spans]
        return [self._input(number, pair.query, body) for body in slices], count, truncated

    @staticmethod
    def _title_tokens(title_chars: int, tokens: Tokens, capacity: int) -> int:
        """Tokens of the first rank field to repeat in each window: at most a quarter of it."""
        if not title_chars or tokens.offsets is None:
            return 0
        count = next((t for t, (start, _) in enumerate(tokens.offsets) if start >= title_chars), len(tokens.offsets))
        return min(count, capacity // 4)

    def _input(self, number: int, query: str, body: DocumentSlice) -> _Input:
        ids, types = self.prompt.build(query, body)
        offsets = (0, 0)
        if body.tokens.offsets:
            offsets = (body.tokens.offsets[body.start][0], body.tokens.offsets[body.end - 1][1])
        return _Input(number, ids, types, offsets)

    def _run(self, inputs: Sequence[_Input], total: int, advance: Advance | None) -> list[float]:
        """The logit of each window, in order."""
        left = [0] * total
        for item in inputs:
            left[item.pair] += 1
        values = [0.0] * len(inputs)
        if advance:
            advance(sum(not windows_left for windows_left in left))
        for batch in batches([len(item.ids) for item in inputs], self.engine.token_budget):
            for position, value in zip(batch, self._batch([inputs[i] for i in batch]), strict=True):
                values[position] = value
                left[inputs[position].pair] -= 1
            if advance:
                advance(sum(left[pair] == 0 for pair in {inputs[i].pair for i in batch}))
        return values

    def _batch(self, items: Sequence[_Input]) -> list[float]:
        """Logits of one batch. A single row is doubled: one-row products take another path and other roundings."""
        import numpy as np

        rows = max(2, len(items))
        length = max(len(item.ids) for item in items)
        ids = np.full((rows, length), self.model.pad_id, dtype=np.int64)
        mask = np.zeros((rows, length), dtype=np.int64)
        types = np.zeros((rows, length), dtype=np.int64)
        for row in range(rows):
            item = items[min(row, len(items) - 1)]
            start = length - len(item.ids) if self.model.left_padded else 0
            end = start + len(item.ids)
            ids[row, start:end] = item.ids
            mask[row, start:end] = 1
            if self.model.token_types:
                types[row, start:end] = item.types
        logits = self._logits({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
        logits = logits[: len(items)].astype(np.float64)
        if logits.shape[1] != self.model.labels:
            message = f"{self.model.name} gave {logits.shape[1]} logits per pair, expected {self.model.labels}"
            raise ModelError(message, "`num_labels` or `id2label` of its config.json do not fit its weights")
        if self.model.labels == 2:
            positive = self.model.positive
            return [float(row[positive] - row[1 - positive]) for row in logits]
        return [float(row[0]) for row in logits]

    def _logits(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """The engine's logits. Raises ModelError, as when ids of an unfit tokenizer exceed the embedding table."""
        hint = "do model and tokenizer belong together? `rerank doctor` checks them"
        failed = f"{self.model.name} failed in {self.engine.name}"
        with library_errors(lambda reason: ModelError(f"{failed}: {reason}", hint)):
            return self.engine.run(feeds)
