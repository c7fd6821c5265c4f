"""Batches over a few threads: bounded, in any order, ending at the first failure. Knows nothing of HTTP.

The threads are daemons, so that Ctrl-C and a failure never wait for a request in flight.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

B = TypeVar("B")
R = TypeVar("R")


class Stopped(Exception):
    """Another worker failed: this one's result is not needed any more. Never shown."""


def run_all(
    batches: Iterable[B],
    exchange: Callable[[B, Callable[[float], None]], list[R]],
    keep: Callable[[R], None],
    workers: int,
) -> None:
    """Exchange all batches, calling `keep` in this thread for each result as it arrives.

    Batches are taken lazily, by one worker at a time. `exchange` sends one and gets `pause(seconds)`, which raises
    early when another worker fails. With one worker everything runs in this thread.

    Raises BaseException: the first that `exchange` raised, at once.
    """
    stop = threading.Event()

    def pause(seconds: float) -> None:
        if (seconds > 0 and stop.wait(seconds)) or stop.is_set():
            raise Stopped

    source = iter(batches)
    if workers < 2:
        for batch in source:
            for result in exchange(batch, pause):
                keep(result)
        return
    try:
        _run_threads(source, lambda batch: exchange(batch, pause), keep, workers, stop)
    finally:
        stop.set()


def _run_threads(
    source: Iterator[B],
    exchange: Callable[[B], list[R]],
    keep: Callable[[R], None],
    workers: int,
    stop: threading.Event,
) -> None:
    lock = threading.Lock()
    results: SimpleQueue[list[R] | BaseException | None] = SimpleQueue()  # None: a worker ends

    def work() -> None:
        try:
            while not stop.is_set():
                with lock:
                    batch = next(source, None)
                if batch is None:
                    break
                results.put(exchange(batch))
        except BaseException as error:  # noqa: BLE001 handed to the caller's thread, which raises it
            results.put(error)
        results.put(None)

    for number in range(workers):
        threading.Thread(target=work, name=f"rerank-remote-{number}", daemon=True).start()
    while workers:
        result = results.get()
        if result is None:
            workers -= 1
        elif isinstance(result, BaseException):
            raise result
        else:
            for one in result:
                keep(one)
