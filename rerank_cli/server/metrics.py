"""Metrics for Prometheus: requests, waiting times, batches. The only module that imports prometheus_client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.server.jobs import tokens_of, units_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rerank_cli.server.jobs import Job
    from rerank_cli.server.records import Call

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Has its own registry, so that several servers can run in one process (as in tests)."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "rerank_requests", "Requests answered.", ["route", "status", "model"], registry=registry
        )
        self._seconds = Histogram(
            "rerank_request_seconds", "From headers to answer.", ["route"], buckets=SECONDS, registry=registry
        )
        self._queued = Histogram(
            "rerank_queue_seconds", "From accepted to first batch.", ["model"], buckets=SECONDS, registry=registry
        )
        self._documents = Counter("rerank_documents", "Documents ranked.", ["model"], registry=registry)
        self._tokens = Counter("rerank_tokens", "Tokens scored or billed.", ["model"], registry=registry)
        self._units = Counter("rerank_search_units", "Search units billed.", ["model"], registry=registry)
        self._cached = Counter("rerank_cached_pairs", "Pairs not sent again.", ["model"], registry=registry)
        self._failed = Counter(
            "rerank_provider_errors", "Requests that a provider failed.", ["model", "status"], registry=registry
        )
        self._batch = Histogram("rerank_batch_pairs", "Pairs per call of the scorer.", buckets=PAIRS, registry=registry)
        self._batch_seconds = Counter("rerank_scoring_seconds", "Seconds in the scorer.", registry=registry)
        self._active = Gauge("rerank_requests_inside", "Requests being read, waiting or scored.", registry=registry)
        self._waiting = Gauge("rerank_waiting_tokens", "Estimated tokens not yet scored.", registry=registry)

    def watch(self, active: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Set the functions that give the gauges their values."""
        self._active.set_function(active)
        self._waiting.set_function(waiting)

    def declare(self, models: Iterable[str]) -> None:
        """Counters that start at 0, so that their first increase is seen."""
        for model in models:
            for counter in (self._documents, self._tokens, self._units, self._cached, self._queued):
                counter.labels(model)

    def responded(self, call: Call, seconds: float) -> None:
        """A request ended, with any status."""
        self._requests.labels(call.route, str(call.status), call.model).inc()
        self._seconds.labels(call.route).observe(seconds)

    def ranked(self, call: Call, job: Job) -> None:
        """A request was scored."""
        usage = job.usage
        tokens = sum(score.tokens for score in job.scores if score) if usage is None else tokens_of(usage)
        self._documents.labels(call.model).inc(call.documents)
        self._tokens.labels(call.model).inc(tokens)
        self._units.labels(call.model).inc(units_of(usage or {}))
        self._cached.labels(call.model).inc(job.cached)
        self._queued.labels(call.model).observe(call.queued)

    def failed(self, model: str, status: str) -> None:
        """A provider failed a request, or its budget is spent."""
        self._failed.labels(model, status).inc()

    def batch(self, pairs: int, seconds: float) -> None:
        """The scorer was called once."""
        self._batch.observe(pairs)
        self._batch_seconds.inc(seconds)

    def text(self) -> tuple[bytes, str]:
        """The exposition and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
