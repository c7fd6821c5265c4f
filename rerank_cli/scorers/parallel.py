"""Batches on several threads at once, one processor each; results in the order of the batches.

One thread per batch is faster than many threads inside each product: small products share badly, and one thread
that a neighbour delays delays its own batch only. It knows lengths, and nothing of models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rerank_cli.scorers.batching import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

Batch = TypeVar("Batch")
Result = TypeVar("Result")


class Threads:
    """At most `count` calls at a time. The threads start with the first call that has two batches."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def map(self, run: Callable[[Batch], Result], batches: Sequence[Batch]) -> Iterator[Result]:
        """The result of each batch, in order. An error ends it: batches that have not begun are not run."""
        if self.count == 1 or len(batches) < 2:
            return map(run, batches)
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="rerank-batch")
        return self._pool.map(run, batches)

    def by_length(
        self, lengths: Sequence[int], budget: int, run: Callable[[list[int]], Result]
    ) -> Iterator[tuple[list[int], Result]]:
        """The batches of inputs of these lengths (positions; see `batching`), each with what `run` makes of it."""
        grouped = list(batches(lengths, budget, threads=self.count))
        return zip(grouped, self.map(run, grouped), strict=True)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
