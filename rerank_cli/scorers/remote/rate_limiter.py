"""When the next request may leave: requests and tokens a minute, and the pause a server asked for.

One `RateLimiter` serves all workers of a scorer. It never sleeps itself: it says how long to wait.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S = 60.0


class RateLimiter:
    """A sliding window of one minute over departures. None = no limit."""

    def __init__(self, requests: int | None, tokens: int | None, clock: Callable[[], float] = monotonic) -> None:
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._lock = Lock()
        self._left: deque[tuple[float, int]] = deque()  # departure, tokens; ascending, may lie in the future
        self._gate = 0.0

    def reserve(self, tokens: int) -> float:
        """Book the next departure and return the seconds until then.

        A request that alone is over the token limit leaves once the window is empty.
        """
        with self._lock:
            now = self._clock()
            while self._left and self._left[0][0] <= now - WINDOW_S:
                self._left.popleft()
            at = max(now, self._gate, self._left[-1][0] if self._left else now)
            if self._requests and len(self._left) >= self._requests:
                at = max(at, self._left[-self._requests][0] + WINDOW_S)
            if self._tokens:
                at = max(at, self._when_tokens_fit(tokens))
            if self._requests or self._tokens:
                self._left.append((at, tokens))
            return at - now

    def _when_tokens_fit(self, tokens: int) -> float:
        room = (self._tokens or 0) - tokens
        for at, used in reversed(self._left):
            room -= used
            if room < 0:
                return at + WINDOW_S
        return 0.0

    def hold(self, seconds: float) -> None:
        """No departure within so many seconds: a server said it is full."""
        with self._lock:
            self._gate = max(self._gate, self._clock() + seconds)
