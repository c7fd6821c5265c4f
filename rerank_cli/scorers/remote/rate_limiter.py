"""When the next request may be sent: requests and tokens per minute, and the pause that a server asked for.

One `RateLimiter` serves all workers of a scorer. It does not sleep: it returns how long to wait.
"""

from __future__ import annotations

from collections import deque
from math import inf
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 60.0


class RateLimiter:
    """A sliding window of one minute over requests. None = no limit."""

    def __init__(self, requests: int | None, tokens: int | None, clock: Callable[[], float] = monotonic) -> None:
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._lock = Lock()
        self._sent: deque[tuple[float, int]] = deque()  # time, tokens; ascending, may be in the future
        self._not_before = 0.0

    def reserve(self, tokens: int, most: float = inf) -> float:
        """Book the next request and return the seconds until it may be sent; not booked if they are more than `most`.

        A request that is over the token limit by itself is sent once the window is empty.
        """
        with self._lock:
            now = self._clock()
            while self._sent and self._sent[0][0] <= now - WINDOW_S:
                self._sent.popleft()
            at = max(now, self._not_before, self._sent[-1][0] if self._sent else now)
            if self._requests and len(self._sent) >= self._requests:
                at = max(at, self._sent[-self._requests][0] + WINDOW_S)
            if self._tokens:
                at = max(at, self._when_tokens_fit(tokens))
            if (self._requests or self._tokens) and at - now <= most:
                self._sent.append((at, tokens))
            return at - now

    def _when_tokens_fit(self, tokens: int) -> float:
        room = (self._tokens or 0) - tokens
        for at, used in reversed(self._sent):
            room -= used
            if room < 0:
                return at + WINDOW_S
        return 0.0

    def hold(self, seconds: float) -> None:
        """Send nothing for so many seconds: the server is at its limit."""
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + seconds)
