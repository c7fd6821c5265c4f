"""Whose turn it is to compute: local models share the processors, so one of them scores at a time.

Every engine starts a thread per core. Two that ran at once would have twice as many threads as there are cores, and
both would take longer than one after the other. It knows nothing of models.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Turn:
    """A lock that threads get in the order in which they asked: a plain one would go back to a busy thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the turn and keep it meanwhile."""
        self._acquire()
        try:
            yield
        finally:
            self._release()

    def pass_on(self) -> None:
        """Let others who wait go first; called by the thread that has the turn."""
        if self._waiting:
            self._release()
            self._acquire()

    def _acquire(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _release(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()  # it stays taken
            else:
                self._taken = False
