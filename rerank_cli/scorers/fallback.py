"""A chain of models: where one is unusable, the next scores all documents of the query.

A model is unusable if it cannot be opened, or fails while it scores, for a reason that lies with the model or the
endpoint. What it scored until then is dropped: scores of two models have nothing in common. This module knows neither
documents nor rows: `pipeline` and `batch` say what is tried again.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, TypeVar

from rerank_cli.errors import MissingKeyError, ModelError, NonFiniteError, RemoteError, RerankError
from rerank_cli.records import UNSCORED, Score
from rerank_cli.scorers.base import ScorerInfo
from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rerank_cli.records import Failure, Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Advance, Scorer
    from rerank_cli.settings import Limits, RankSettings

T = TypeVar("T")
PASSTHROUGH = "passthrough"  # the last of a chain: the documents as they came, without scores
UNUSABLE = (ModelError, RemoteError, MissingKeyError)
MOST_FAILURES = 3  # of blocks of rows in a row, then a batch leaves an endpoint alone


class PassthroughScorer:
    """Gives no document a score, so that all stay in their order."""

    info = ScorerInfo(PASSTHROUGH, None, "none", "none", UNSCORED, lambda: PASSTHROUGH)

    def score(self, pairs: Sequence[Pair], _limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One empty score per pair."""
        if advance:
            advance(len(pairs))
        return [Score(None, 0, 0)] * len(pairs)

    def usage(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class ChainModel:
    """One model of a chain: as it was named, its place (0 is `-m`), and how it is opened, which may be tried again."""

    reference: str
    place: int
    open_scorer: Callable[[], Scorer]
    is_endpoint: bool = False  # opening it sends nothing
    scorer: Scorer | None = None
    failed: Failure | None = None  # how it last failed a batch as a whole
    failures: int = 0  # of a batch as a whole, in a row
    reported: bool = False  # its first failure in a batch was

    def attempt(self, use: Callable[[Scorer, ChainModel], T], report: Report) -> T:
        """What `use` makes of the scorer and its model. Raises what it raises; then the attempt counts nothing."""
        before = Counter(report.counts)
        try:
            return use(self.opened(), self)
        except UNUSABLE:
            report.counts = before
            raise

    def opened(self) -> Scorer:
        """The scorer, opened once. Raises what opening raises."""
        if self.scorer is None:
            self.scorer = self.open_scorer()
        return self.scorer

    def settings_of(self, settings: RankSettings) -> RankSettings:
        """The settings with what belongs to this model: its threshold; none, and no fusion, where nothing is scored."""
        if self.reference == PASSTHROUGH:
            return replace(settings, min_score=None, fusion=None, join="max")
        return replace(settings, min_score=settings.min_scores[self.place]) if settings.min_scores else settings

    def failure(self, error: RerankError) -> Failure:
        """A failure as rankings describe it."""
        return {"model": self.reference, "cause": escape_line(error.message), "exit_code": int(error.code)}


class FallbackScorer:
    """The models of a chain behind one `Scorer`. Callers that must know who scored use `first`, or `models`."""

    def __init__(self, models: Sequence[ChainModel], make_digest: Callable[[], str], report: Report) -> None:
        self.models = models
        self._make_digest = make_digest
        self._report = report

    @cached_property
    def info(self) -> ScorerInfo:
        """The first model that can be opened. Its digest is the chain's. Raises what opening the last one raises."""
        *others, last = self.models
        for model in others:
            with suppress(*UNUSABLE):
                return self._info_of(model)
        return self._info_of(last)

    def _info_of(self, model: ChainModel) -> ScorerInfo:
        return replace(model.opened().info, make_digest=self._make_digest)

    def endpoints(self) -> Iterator[ChainModel]:
        """The endpoints that can be opened, which costs nothing."""
        for model in self.models:
            if model.is_endpoint:
                with suppress(*UNUSABLE):
                    model.opened()
                    yield model

    def first(self, use: Callable[[Scorer, ChainModel], T], report: Report) -> tuple[T, tuple[Failure, ...]]:
        """What `use` makes of the first usable model, and what failed before; each failure is a warning.

        Raises what the last model raises, and at once what is not the fault of a model.
        """
        failed: list[Failure] = []
        for model in self.models:
            try:
                return model.attempt(use, report), tuple(failed)
            except UNUSABLE as error:
                if model is self.models[-1]:
                    raise with_earlier(error, failed) from None
                failed.append(model.failure(error))
                report.warn(self.warning(model, error))
        raise AssertionError("a chain has a model")  # pragma: no cover

    def warning(self, model: ChainModel, error: RerankError) -> str:
        """What is said of a model that failed."""
        after = self.models[model.place + 1].reference
        instead = "the documents keep their order" if after == PASSTHROUGH else f"`{after}` takes its place"
        return f"`{model.reference}` is unusable, {instead}: {error.message}"

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """The scores of the first usable model. Raises what the last one raises."""

        def scored(scorer: Scorer, _: ChainModel) -> list[Score]:
            scores = scorer.score(pairs, limits, advance)
            if not all(score.value is None or isfinite(score.value) for score in scores):
                raise NonFiniteError("the model gave a score that is not a number")
            return scores

        return self.first(scored, self._report)[0]

    def usage(self) -> dict[str, float]:
        """What all models billed, those that failed too."""
        total: dict[str, float] = {}
        for model in self.models:
            for name, value in (model.scorer.usage() if model.scorer else {}).items():
                total[name] = total.get(name, 0) + value
        return total

    def close(self) -> None:
        """Close what was opened."""
        for model in self.models:
            if model.scorer:
                model.scorer.close()


def with_earlier(error: RerankError, failed: Sequence[Failure]) -> RerankError:
    """The error of the last model, which also names those that failed before it."""
    earlier = "; ".join(f"`{one['model']}`: {one['cause']}" for one in failed)
    if earlier:
        error.message += f" (before it failed {earlier})"
        error.args = (error.message,)
    return error
