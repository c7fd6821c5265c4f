"""Equal calls at the same time are made once, and all who asked get the result. It does not know what is called."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from rerank_cli.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LOOK_S = 0.1  # how often one who waits looks whether its own client is still there


class _Call(Generic[T]):
    """A call that is being made. `askers`: for each who asked, whether it is gone; guarded by the lock of all calls."""

    def __init__(self) -> None:
        self.askers: list[Callable[[], bool]] = []
        self.done = threading.Event()
        self.result: T
        self.error: BaseException | None = None
        self.owner = 0  # position of the first who asked and was still there at the end


class SharedCalls(Generic[T]):
    """Thread-safe. A call belongs to all who asked: it goes on until the last of them is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[bytes, _Call[T]] = {}

    def run(self, key: bytes, is_gone: Callable[[], bool], make: Callable[[Callable[[], bool]], T]) -> tuple[T, bool]:
        """What `make` returned, and whether it is this caller's own: exactly one who is still there owns the result.

        `make` gets the `is_gone` of all who asked together.
        Raises what `make` raised, for all of them; RemoteError to one who waits and is gone.
        """
        with self._lock:
            call = self._calls.get(key)
            if call is None:
                call = self._calls[key] = _Call()
            place = len(call.askers)
            call.askers.append(is_gone)
        if place == 0:
            self._make(key, call, make)
        while not call.done.wait(LOOK_S):
            if is_gone():
                raise RemoteError("nobody waits for the reply any more")
        if call.error is not None:
            raise call.error
        return call.result, place == call.owner

    def _make(self, key: bytes, call: _Call[T], make: Callable[[Callable[[], bool]], T]) -> None:
        try:
            call.result = make(lambda: self._all_gone(key, call))
        except BaseException as error:  # noqa: BLE001 raised by `run`, to all who asked
            call.error = error
        with self._lock:
            self._forget(key, call)
            call.owner = next((place for place, is_gone in enumerate(call.askers) if not is_gone()), 0)
        call.done.set()

    def _all_gone(self, key: bytes, call: _Call[T]) -> bool:
        """Whether nobody waits any more. Such a call ends without a result, so that nobody may join it now."""
        with self._lock:
            gone = all(is_gone() for is_gone in call.askers)
            if gone:
                self._forget(key, call)
        return gone

    def _forget(self, key: bytes, call: _Call[T]) -> None:
        if self._calls.get(key) is call:
            del self._calls[key]
