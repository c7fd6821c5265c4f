"""One HTTP request on its way through the server, and what is sent back. Records only: no texts, no scores, no HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Call:
    """One HTTP request on its way, for the log; never its texts."""

    id: str
    method: str
    path: str
    client: str
    start: float = field(default_factory=time.perf_counter)
    route: str = "other"
    status: int = 0
    documents: int = 0
    queued: float = 0.0
    scored: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent: status, body, headers."""

    status: int
    body: bytes
    headers: dict[str, str]
