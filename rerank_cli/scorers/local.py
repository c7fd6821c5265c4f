"""A local cross-encoder as a scorer: tokenise, cut into windows, batch, run an engine, fold windows into documents.

An `Engine` runs a batch (ONNX Runtime, OpenVINO, torch), a `Prompt`
builds inputs, `models` describes models. Scores of a pair do not depend on the other pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rerank_cli import windows
from rerank_cli.errors import ModelError
from rerank_cli.records import Pair, Score
from rerank_cli.scorers.base import TooLongError
from rerank_cli.scorers.inputs import Row, cut_windows, engine_errors, errors_of, padded
from rerank_cli.scorers.parallel import Threads
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
    threads: int  # that may call `run` at the same time; each computes one batch

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
    """Scores pairs with a local model, on several threads. Not thread-safe itself: one call at a time."""

    model: LocalModel
    encoder: Encoder
    prompt: Prompt
    engine: Engine
    info: ScorerInfo
    threads: Threads = field(init=False)

    def __post_init__(self) -> None:
        self.threads = Threads(self.engine.threads)

    def usage(self) -> dict[str, float]:
        """Local models bill nothing."""
        return {}

    def close(self) -> None:
        """End the threads and free the engine."""
        self.threads.close()
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
        with errors_of(pairs, self.model.name, limits):
            capacities = [self._capacity(pair.query) for pair in pairs]
            longest = max(1, min([limits.max_tokens_per_doc, *capacities]))
            return capacities, self.encoder.documents([pair.text for pair in pairs], longest, most)

    def _capacity(self, query: str) -> int:
        """Document tokens that fit into one window besides the query."""
        room = self.prompt.room(query)
        return min(self.model.window or room, room)

    def _windows(
        self, number: int, pair: Pair, tokens: Tokens, capacity: int, limits: Limits
    ) -> tuple[list[_Input], int, bool]:
        """The windows of one pair under the limits, the tokens that they cover, and whether the document was cut."""
        spans, repeated, count, truncated = cut_windows(tokens, pair.title_chars, capacity, limits)
        slices = [DocumentSlice(pair.text, tokens, span.start, span.end, repeated) for span in spans]
        return [self._input(number, pair.query, body) for body in slices], count, truncated

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
        lengths = [len(item.ids) for item in inputs]
        computed = self.threads.by_length(
            lengths, self.engine.token_budget, lambda batch: self._batch([inputs[i] for i in batch])
        )
        for batch, batch_values in computed:
            for position, value in zip(batch, batch_values, strict=True):
                values[position] = value
                left[inputs[position].pair] -= 1
            if advance:
                advance(sum(left[pair] == 0 for pair in {inputs[i].pair for i in batch}))
        return values

    def _batch(self, items: Sequence[_Input]) -> list[float]:
        """Logits of one batch. A single row is doubled: one-row products take another path and other roundings."""
        import numpy as np

        rows = [Row(item.ids, len(item.ids), item.types) for item in items]
        with engine_errors(self.model, self.engine.name):
            logits = self.engine.run(padded(rows, self.model))
        logits = logits[: len(items)].astype(np.float64)
        if logits.shape[1] != self.model.labels:
            message = f"{self.model.name} gave {logits.shape[1]} logits per pair, expected {self.model.labels}"
            raise ModelError(message, "`num_labels` or `id2label` of its config.json do not fit its weights")
        if self.model.labels == 2:
            positive = self.model.positive
            return [float(row[positive] - row[1 - positive]) for row in logits]
        return [float(row[0]) for row in logits]
