"""uvicorn with our limits: how long a connection may take, and how the server stops.

uvicorn itself limits only the time between two requests. This module knows nothing of what requests say.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rerank_cli.files import reason_of
from rerank_cli.server.settings import BODY_S, HEADER_S, SEND_BYTES, SEND_S, STOP_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rerank_cli.server.admission import AdmissionControl
    from rerank_cli.server.connection_limit import ConnectionLimit
    from rerank_cli.server.log import Log

DRAIN_POLL_S = 0.05
STDERR = 2


class DrainingServer(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not a dependency of the type check
    """Refuses new requests from the moment of the signal; calls `listening` when it listens, `reload` at SIGHUP."""

    def __init__(
        self,
        config: uvicorn.Config,
        admission: AdmissionControl,
        log: Log,
        listening: Callable[[], None],
        reload: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        super().__init__(config)
        self._admission = admission
        self._log = log
        self._listening = listening
        self._reload = reload
        self._reloading: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: Any = None) -> None:
        """Listen, then report it."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._failed)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._reload is not None and hasattr(signal, "SIGHUP") and in_main_thread:
            loop.add_signal_handler(signal.SIGHUP, self._hang_up, os.isatty(STDERR))
        await super().startup(sockets)
        self._listening()

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop has trouble with a connection, as when the system has no descriptor for a new one."""
        error = context.get("exception")
        reason = reason_of(error) if isinstance(error, OSError) else type(error).__name__
        self._log.connection(f"a connection failed: {reason}", error)

    def _hang_up(self, had_terminal: bool) -> None:
        """SIGHUP: somebody wants a reload, or the terminal was closed and the server ends with it."""
        if had_terminal and not os.isatty(STDERR):
            self.handle_exit(signal.SIGTERM, None)
        elif self._reload is not None and not self.should_exit:
            task = asyncio.get_running_loop().create_task(self._reload())
            self._reloading.add(task)
            task.add_done_callback(self._reloading.discard)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal came: refuse new requests."""
        self._admission.draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: Any = None) -> None:
        """Keep listening, so that new requests get their 503, until accepted ones are answered; then stop."""
        for connection in list(self.server_state.connections):
            connection.shutdown()  # closes idle ones; a body that is still arriving has STOP_S
        end = time.monotonic() + self.config.timeout_graceful_shutdown
        while self._admission.active and not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110 uvicorn's flag
            await asyncio.sleep(DRAIN_POLL_S)
        await super().shutdown(sockets)


class TimeoutProtocol(H11Protocol):  # type: ignore[misc]  # uvicorn is not a dependency of the type check
    """Closes connections that send headers or a refused body too slowly, send nothing, or do not read."""

    limit: ConnectionLimit  # of the server
    _expected: Any = None  # the part of a request that must arrive before the deadline
    _deadline: Any = None
    _reading: Any = None  # runs while the client must read a response
    _unread = 0

    def connection_made(self, transport: Any) -> None:
        """The client must send headers."""
        super().connection_made(transport)
        self._expect(h11.IDLE)
        self.limit.add(self)

    def data_received(self, data: bytes) -> None:
        """Headers came, or a part of a body: the deadline is for what is still missing."""
        super().data_received(data)
        self.limit.set_idle(self, self._is_idle())
        state = self.conn.their_state
        refused = state is h11.SEND_BODY and self.conn.our_state is h11.DONE
        self._expect(state if state is h11.IDLE or refused else None)

    def on_response_complete(self) -> None:
        """Between requests uvicorn's own timer runs; the rest of a refused body has ours."""
        super().on_response_complete()
        self._expect(h11.SEND_BODY if self.conn.their_state is h11.SEND_BODY else None)
        self.limit.set_idle(self, self._is_idle())

    def connection_lost(self, exc: Exception | None) -> None:
        """No deadline is left."""
        self.limit.remove(self)
        self._expect(None)
        self._stop_reading()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def _is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of one that is refused."""
        answered = self.cycle is None or self.cycle.response_complete
        return answered and self.conn.their_state in {h11.IDLE, h11.SEND_BODY}

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        if self.transport.get_write_buffer_size():  # closing would wait for a client that does not read
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """At the signal: a request that is still arriving is not in progress and gets STOP_S, not BODY_S."""
        super().shutdown()
        if self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(STOP_S, self._stop_waiting)

    def _stop_waiting(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._stop_reading()

    def _expect(self, expected: Any) -> None:
        if expected is self._expected:
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._expected = expected
        if expected is not None:
            seconds = HEADER_S if expected is h11.IDLE else BODY_S
            self._deadline = self.loop.call_later(seconds, self.transport.close)

    def _await_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(SEND_S, self._check_reading)

    def _check_reading(self) -> None:
        if self.transport.get_write_buffer_size() > self._unread - SEND_BYTES:
            self.transport.abort()
        else:
            self._await_reading()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
