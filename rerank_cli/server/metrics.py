"""Metrics for Prometheus: requests, waiting times, batches. The only module that imports prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Has its own registry, so that several servers can run in one process (as in tests)."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("rerank_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._seconds = Histogram(
            "rerank_request_seconds", "From headers to answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self._queued = Histogram(
            "rerank_queue_seconds", "From accepted to first batch.", buckets=SECONDS, registry=registry
        )
        self._documents = Counter("rerank_documents", "Documents ranked.", registry=registry)
        self._tokens = Counter("rerank_tokens", "Document tokens scored.", registry=registry)
        self._batch = Histogram("rerank_batch_pairs", "Pairs per call of the scorer.", buckets=PAIRS, registry=registry)
        self._batch_seconds = Counter("rerank_scoring_seconds", "Seconds in the scorer.", registry=registry)
        self._active = Gauge("rerank_requests_inside", "Requests being read, waiting or scored.", registry=registry)
        self._waiting = Gauge("rerank_waiting_tokens", "Estimated tokens not yet scored.", registry=registry)

    def watch(self, active: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Set the functions that give the gauges their values."""
        self._active.set_function(active)
        self._waiting.set_function(waiting)

    def responded(self, route: str, status: int, seconds: float) -> None:
        """A request ended, with any status."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def ranked(self, documents: int, tokens: int, queued: float) -> None:
        """A request was scored."""
        self._documents.inc(documents)
        self._tokens.inc(tokens)
        self._queued.observe(queued)

    def batch(self, pairs: int, seconds: float) -> None:
        """The scorer was called once."""
        self._batch.observe(pairs)
        self._batch_seconds.inc(seconds)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
