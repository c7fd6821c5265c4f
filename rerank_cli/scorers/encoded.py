"""A local model that encodes query and document apart as a scorer: late interaction and embedding models.

Each document is encoded once in a call, whatever the number of queries, and its vectors are remembered for later calls.
An engine gives vectors, `encoded_texts` builds inputs, `vectors` compares. Scores do not depend on the other pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli import windows
from rerank_cli.errors import ModelError
from rerank_cli.records import Score
from rerank_cli.scorers.base import TooLongError
from rerank_cli.scorers.encoded_texts import QueryInputs, TextInputs
from rerank_cli.scorers.inputs import WindowCut, cut_windows, engine_errors, errors_of, padded
from rerank_cli.scorers.parallel import Threads
from rerank_cli.scorers.prefixes import Tokens
from rerank_cli.scorers.vectors import VectorMemory, normalized, similarity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rerank_cli.models.facts import Encodings, LocalModel
    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, ScorerInfo
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.inputs import Row
    from rerank_cli.scorers.local import Engine
    from rerank_cli.settings import Limits

BLOCK = 2048  # documents tokenised at a time: bounds memory, still sorts well by length
SPARE = 16  # tokens beyond the limit that are read, so that it is known whether a document was cut


class _Window(NamedTuple):
    """One window ready for the engine: which document, its input, characters of the scored text."""

    document: int
    row: Row
    offsets: tuple[int, int]


@dataclass(eq=False)
class EncodedScorer:
    """Scores pairs by the vectors of their texts. Not thread-safe."""

    model: LocalModel
    encoder: Encoder
    engine: Engine
    info: ScorerInfo
    encodings: Encodings
    queries: QueryInputs
    documents: TextInputs
    memory: VectorMemory = field(default_factory=VectorMemory)
    threads: Threads = field(init=False)

    def __post_init__(self) -> None:
        self.threads = Threads(self.engine.threads)

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One score per pair, in input order; see `Scorer.score`."""
        queries = self._query_vectors(pairs, limits)
        groups: dict[tuple[str, int], list[int]] = {}
        for number, pair in enumerate(pairs):
            groups.setdefault((pair.text, pair.title_chars), []).append(number)
        scores: dict[int, Score] = {}
        of_documents = list(groups.values())
        for start in range(0, len(of_documents), BLOCK):
            block = of_documents[start : start + BLOCK]
            asked = [[queries[pairs[number].query] for number in numbers] for numbers in block]
            found = self._score_block([pairs[numbers[0]] for numbers in block], asked, limits, advance)
            for numbers, column in zip(block, found, strict=True):
                scores.update(zip(numbers, column, strict=True))
        return [scores[number] for number in range(len(pairs))]

    def _query_vectors(self, pairs: Sequence[Pair], limits: Limits) -> dict[str, NDArray[Any]]:
        """The vectors of each different query."""
        different = list(dict.fromkeys(pair.query for pair in pairs))
        with errors_of(pairs, self.model.name, limits, self.documents.prompt):
            rows = [self.queries.query(query) for query in different]
        return {different[number]: found for number, found in self._vectors(rows, self.queries)}

    def _score_block(
        self, pairs: Sequence[Pair], queries: Sequence[list[NDArray[Any]]], limits: Limits, advance: Advance | None
    ) -> list[list[Score]]:
        """The scores of documents, given with any query, for the vectors of their queries."""
        inputs, cuts = self._prepare(pairs, limits)
        left = [len(cut.spans) for cut in cuts]
        if advance:
            advance(sum(len(queries[number]) for number, count in enumerate(left) if not count))
        values: list[list[float]] = [[] for _ in inputs]
        for place, vectors in self._vectors([window.row for window in inputs], self.documents):
            number = inputs[place].document
            values[place] = [similarity(self.encodings.similarity, query, vectors) for query in queries[number]]
            left[number] -= 1
            if advance and not left[number]:
                advance(len(queries[number]))
        places: list[list[int]] = [[] for _ in pairs]
        for place, window in enumerate(inputs):
            places[window.document].append(place)
        return [
            [
                _folded(cut, [values[place][query] for place in own], [inputs[place].offsets for place in own])
                for query in range(len(asked))
            ]
            for cut, own, asked in zip(cuts, places, queries, strict=True)
        ]

    def _prepare(self, pairs: Sequence[Pair], limits: Limits) -> tuple[list[_Window], list[WindowCut]]:
        """The windows of each document. Raises DocumentError for one that is too long or cannot be tokenised."""
        side = self.documents
        room = side.room - len(side.prompt_ids)
        most = limits.max_tokens_per_doc + len(side.prompt_ids) + SPARE
        longest = max(1, min(limits.max_tokens_per_doc, room))
        with errors_of(pairs, self.model.name, limits, side.prompt):
            encoded = self.encoder.documents([side.prompt + pair.text for pair in pairs], longest, most)
        inputs: list[_Window] = []
        cuts = []
        for number, (pair, whole) in enumerate(zip(pairs, encoded, strict=True)):
            start = _common(whole.ids, side.prompt_ids)
            tokens = _after(whole, start, len(side.prompt))
            count = min(len(tokens.ids), limits.max_tokens_per_doc)
            if count > side.room - start and limits.long_documents == "error":
                raise TooLongError(pair, count, side.room - start, apart=True)
            cut = cut_windows(tokens, pair.title_chars, side.room - start, limits)
            cuts.append(cut)
            for span in cut.spans:
                repeated = tokens.ids[: cut.repeated] if span.start >= cut.repeated else []
                ids = [*whole.ids[:start], *repeated, *tokens.ids[span.start : span.end]]
                offsets = (0, 0)
                if tokens.offsets:
                    offsets = (tokens.offsets[span.start][0], tokens.offsets[span.end - 1][1])
                inputs.append(_Window(number, side.row(ids), offsets))
        return inputs, cuts

    def _vectors(self, rows: Sequence[Row], side: TextInputs) -> Iterator[tuple[int, NDArray[Any]]]:
        """The vectors of each row with its position: those in memory first, then batch by batch."""
        waiting: dict[bytes, list[int]] = {}
        for place, row in enumerate(rows):
            key = side.key(row)
            known = self.memory.get(key)
            if known is not None:
                yield place, known
            else:
                waiting.setdefault(key, []).append(place)
        missing = list(waiting.items())
        lengths = [len(rows[places[0]].ids) for _, places in missing]
        computed = self.threads.by_length(
            lengths, self.engine.token_budget,
            lambda batch: self._run([rows[missing[number][1][0]] for number in batch], side),
        )  # fmt: skip
        for batch, found in computed:
            for number, vectors in zip(batch, found, strict=True):
                key, places = missing[number]
                self.memory.put(key, vectors)
                yield from ((place, vectors) for place in places)

    def _run(self, rows: Sequence[Row], side: TextInputs) -> list[NDArray[Any]]:
        """The vectors [n, width] of each row of a batch: one for a text, or one for each token that counts."""
        import numpy as np

        with engine_errors(self.model, self.engine.name):
            output = self.engine.run(padded(rows, self.model))
        found = []
        for row, numbers in zip(rows, output, strict=False):  # a single row was doubled
            vectors = numbers[np.newaxis]
            if self.model.family == "late-interaction":
                vectors = numbers.reshape(max(len(each.ids) for each in rows), -1)[side.kept(row)]
            found.append(np.ascontiguousarray(normalized(vectors) if self.encodings.normalized else vectors))
        return found

    def close(self) -> None:
        """End the threads, free the engine and the vectors."""
        self.threads.close()
        self.engine.close()
        self.memory = VectorMemory()

    def usage(self) -> dict[str, float]:
        """Nothing is billed."""
        return {}


def _folded(cut: WindowCut, values: Sequence[float], offsets: Sequence[tuple[int, int]]) -> Score:
    """The score of a document from those of its windows, which have these characters: the best one's."""
    if not values:
        return Score(None, 0, 0)
    best = windows.best(values)
    return Score(values[best], cut.tokens, len(values), offsets[best] if len(values) > 1 else None, cut.truncated)


def _common(ids: Sequence[int], prompt: Sequence[int]) -> int:
    """How many first tokens are the prompt's: its last one may merge with the text."""
    return next((at for at, (one, two) in enumerate(zip(ids, prompt, strict=False)) if one != two), len(prompt))


def _after(tokens: Tokens, start: int, chars: int) -> Tokens:
    """The tokens of a text without those of the prompt before it, which has `chars` characters."""
    if not chars:
        return tokens
    offsets = tokens.offsets and [(max(0, a - chars), max(0, b - chars)) for a, b in tokens.offsets[start:]]
    return Tokens(tokens.ids[start:], offsets, tokens.word_starts and tokens.word_starts[start:])


def open_encoded(
    model: LocalModel, encoder: Encoder, engine: Engine, info: ScorerInfo, instruction: str | None, report: Report
) -> EncodedScorer:
    """The scorer of a model with encodings; an instruction takes the place of the query's prompt.

    Raises ModelError where the tokenizer, the prompts and the modules do not fit.
    """
    encodings = model.encodings
    if encodings is None:
        raise ModelError(f"{model.name} does not encode query and document apart")
    if instruction is not None:
        encodings = replace(encodings, query=replace(encodings.query, prompt=instruction))
    if encodings.query.prompt or encodings.document.prompt:
        poolings = [module for module in model.modules if module.kind == "Pooling"]
        if any(module.config.get("include_prompt") is False for module in poolings):
            raise ModelError(f"{model.name} leaves its prompt out of the pooling, which is not supported")
    encoder.reserve({encodings.query.marker, encodings.document.marker})  # PyLate's are plain added tokens
    queries = QueryInputs(encoder, encodings.query, model, report)
    documents = TextInputs(encoder, encodings.document, model)
    return EncodedScorer(model, encoder, engine, info, encodings, queries, documents)
