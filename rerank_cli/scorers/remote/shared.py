"""What all requests over one endpoint share: its limits, its budget, and how many requests are sent at a time.

A run has one scorer and one of these; a server has one scorer per request, and one of these per model.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rerank_cli.scorers.remote.budget import Budget
from rerank_cli.scorers.remote.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from rerank_cli.scorers.remote.providers import Provider
    from rerank_cli.settings import RemoteSettings


class Shared:
    """Thread-safe. `accepted`: documents per request, after the server refused more; guarded by `lock`."""

    def __init__(self, provider: Provider, remote: RemoteSettings, budget: Budget | None = None) -> None:
        self.limiter = RateLimiter(
            remote.requests_per_minute or provider.requests_per_minute,
            remote.tokens_per_minute or provider.tokens_per_minute,
        )
        self.slots = threading.BoundedSemaphore(max(1, remote.concurrency))
        self.budget = budget or Budget(remote.max_units)
        self.lock = threading.Lock()
        self.accepted: int | None = None
