"""The models of a server: each has its worker, requests choose one by name, a reload replaces some of them.

It knows nothing of HTTP, nor how a model is opened.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rerank_cli.server.remote_worker import RemoteWorker
from rerank_cli.server.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rerank_cli.records import Failure
    from rerank_cli.scorers.base import Scorer, ScorerInfo
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.server.turn import Turn

Configured: TypeAlias = "tuple[ServeSettings, Sequence[ModelPlan]]"


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model that is to be served. Either of the openers is None.

    `names`: what clients may call it; none: only a fallback. `fallback`: it takes the place of models that fail, in the
    order of the plans. `identity`: equal for plans that open the same model; None: it is always opened.
    """

    names: tuple[str, ...]
    identity: object = None
    open_scorer: Callable[[], Scorer] | None = None
    open_gateway: Callable[[], Gateway] | None = None
    fallback: bool = False


@dataclass(eq=False, slots=True)
class ServedModel:
    """A model that is served. `requests`: those in progress, counted by the event loop's thread."""

    info: ScorerInfo
    worker: Worker | RemoteWorker
    identity: object = None
    requests: int = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a request is scored, the model is not closed."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


class Models:
    """The models in the order in which they were named; the first answers requests that name none or another."""

    def __init__(self, planned: Sequence[tuple[ModelPlan, ServedModel]]) -> None:
        self.served = tuple(dict.fromkeys(model for _, model in planned))
        self.first = self.served[0]
        self.fallbacks = tuple(model for plan, model in planned if plan.fallback)
        self.by_name: dict[str, ServedModel] = {}
        for plan, model in planned:
            for name in (*plan.names, *([model.info.model] if plan.names else [])):
                self.by_name.setdefault(name, model)

    def after(self, model: ServedModel) -> tuple[ServedModel, ...]:
        """The fallbacks that are tried if a model fails, in order."""
        place = self.fallbacks.index(model) + 1 if model in self.fallbacks else 0
        return self.fallbacks[place:]

    @property
    def alive(self) -> bool:
        """Whether requests for every model will be scored."""
        return all(model.worker.alive for model in self.served)

    @property
    def waiting(self) -> int:
        """Estimated tokens accepted and not yet scored."""
        return sum(model.worker.waiting for model in self.served)

    @property
    def seconds_waiting(self) -> float:
        """How long the accepted work will take: local models score one after another."""
        return sum(model.worker.seconds_waiting() for model in self.served)

    def stop(self) -> None:
        """End all workers; unfinished jobs fail."""
        for model in self.served:
            model.worker.stop()


class Attempt(NamedTuple):
    """A model that is to answer, what the response says of that choice, and the models that failed before."""

    model: ServedModel
    notes: list[str]
    failed: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Opener:
    """What workers share: who observes their calls, whose turn it is, and how many requests there are at most."""

    observe: Callable[[int, float], None]
    turn: Turn
    max_queue: int

    def open(self, plans: Sequence[ModelPlan], former: Sequence[ServedModel] = ()) -> Models:
        """Models that are ready; those of `former` that are the same go on. Raises what opening one raises."""
        same = {model.identity: model for model in former if model.identity is not None}
        started: list[ServedModel] = []
        planned: list[tuple[ModelPlan, ServedModel]] = []
        try:
            for plan in plans:
                model = same.get(plan.identity)
                if model is None:
                    model = self._start(plan, max(1, self.max_queue // len(plans)))
                    started.append(model)
                    same |= {plan.identity: model} if plan.identity is not None else {}
                planned.append((plan, model))
        except BaseException:
            for model in started:
                model.worker.stop()
            raise
        return Models(planned)

    def _start(self, plan: ModelPlan, share: int) -> ServedModel:
        """`share`: requests that may wait for a provider, so that one that hangs leaves room for other models."""
        worker: Worker | RemoteWorker
        if plan.open_gateway is not None:
            worker = RemoteWorker(plan.open_gateway, share)
        elif plan.open_scorer is not None:
            worker = Worker(plan.open_scorer, self.observe, self.turn)
        return ServedModel(worker.start(), worker, plan.identity)
