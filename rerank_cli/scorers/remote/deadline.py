"""A network backend for httpcore2 that limits every connect, read and write to the time left for the exchange.

The deadline is a thread's own (`deadline.at`, monotonic seconds): a connection is used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpcore2

from rerank_cli.net import is_localhost, loopback_addresses

if TYPE_CHECKING:
    import ssl
    import threading
    from collections.abc import Iterable


class DeadlineBackend(httpcore2.NetworkBackend):
    """Connects as the backend below does, within the deadline."""

    def __init__(self, below: httpcore2.NetworkBackend, deadline: threading.local) -> None:
        self._below = below
        self._deadline = deadline

    def connect_tcp(  # the pool's own signature
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect; raises ConnectTimeout when the time is up."""
        *others, last = _places(host)
        for place in others:
            with contextlib.suppress(httpcore2.ConnectError):
                return self._connect(place, port, timeout, local_address, socket_options)
        return self._connect(last, port, timeout, local_address, socket_options)

    def _connect(self, host: str, port: int, timeout: float | None, *more: Any) -> httpcore2.NetworkStream:
        left = _left(self._deadline, timeout, httpcore2.ConnectTimeout)
        return _Stream(self._below.connect_tcp(host, port, left, *more), self._deadline)

    def sleep(self, seconds: float) -> None:
        """Between connection attempts of the pool."""
        self._below.sleep(seconds)


def _places(host: str) -> list[str]:
    """Where to connect to: for localhost its addresses, which were checked, because keys go there over plain http."""
    if not is_localhost(host):
        return [host]
    try:
        return loopback_addresses(host)
    except OSError as error:
        raise httpcore2.ConnectError(str(error)) from error


class _Stream(httpcore2.NetworkStream):
    def __init__(self, below: httpcore2.NetworkStream, deadline: threading.local) -> None:
        self._below = below
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._below.read(max_bytes, timeout=_left(self._deadline, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._below.write(buffer, timeout=_left(self._deadline, timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._below.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _left(self._deadline, timeout, httpcore2.ConnectTimeout)
        return _Stream(self._below.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._below.get_extra_info(info)


def _left(deadline: threading.local, timeout: float | None, over: type[httpcore2.TimeoutException]) -> float | None:
    at = getattr(deadline, "at", None)
    if at is None:
        return timeout
    left: float = at - time.monotonic()
    if left <= 0:
        raise over("the time for the whole exchange is up")
    return left if timeout is None else min(left, timeout)
