"""Requests for a remote model: each has a thread that waits for the provider, so none waits for another one.

How many requests reach the provider at a time is a matter of the gateway (`--concurrency`). This module knows nothing
of HTTP or asyncio.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError, ProviderReply, RemoteError
from rerank_cli.server.jobs import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.server.jobs import Job

BUSY_S = 1.0  # when a request may come again that found all threads waiting


class RemoteWorker:
    """What `Worker` is for a local model. At most `most` threads, which requests may leave behind when they end early.

    All methods may be called from any thread.
    """

    window = WINDOW
    waiting = 0  # estimated tokens: remote ones cost this machine nothing

    def __init__(self, open_gateway: Callable[[], Gateway], most: int) -> None:
        self._open_gateway = open_gateway
        self._gateway: Gateway | None = None
        self._most = most
        self._running = 0
        self._lock = threading.Lock()

    def start(self) -> ScorerInfo:
        """Open the gateway, which sends nothing. Raises what opening raised."""
        self._gateway = self._open_gateway()
        return self._gateway.info

    @property
    def alive(self) -> bool:
        """Whether jobs will be sent. Whether the provider answers is known only from requests."""
        return self._gateway is not None

    @staticmethod
    def seconds_waiting() -> float:
        """Nothing waits for this machine."""
        return 0.0

    def submit(self, job: Job) -> None:
        """Accept a job; its `done` is called later. Raises ModelError if the worker is stopped."""
        gateway = self._gateway
        if gateway is None:
            raise ModelError("the gateway has stopped")
        job.submitted = job.started = time.perf_counter()
        with self._lock:
            if self._running >= self._most:
                words = "too many requests wait for the provider"
                job.finish(RemoteError(words, reply=ProviderReply(429, words, BUSY_S)))
                return
            self._running += 1
        threading.Thread(target=self._run, args=(gateway, job), name="rerank-gateway", daemon=True).start()

    @staticmethod
    def cancel(job: Job) -> None:
        """Nobody waits for the job any more: what was not yet sent is not sent."""
        job.cancelled = True

    def stop(self) -> None:
        """Close the connections; unfinished jobs fail."""
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.close()

    def _run(self, gateway: Gateway, job: Job) -> None:
        error: BaseException | None = None
        try:
            result = gateway.score(job.pairs, job.limits, job.rank_fields, lambda: job.cancelled)
            job.scores = list(result.scores)
            job.usage, job.cached, job.warnings = result.usage, result.cached, result.warnings
        except BaseException as failure:  # noqa: BLE001 the request fails
            error = failure
        with self._lock:
            self._running -= 1
        job.finish(error)
