"""How patient a connection is: uvicorn's HTTP/1.1 with limits on what a client may owe us.

uvicorn itself only limits the time between two requests. It knows nothing of what requests ask.
"""

from __future__ import annotations

from typing import Any

from rerank_cli.server.settings import BODY_S, HEADER_S, SEND_BYTES, SEND_S, STOP_S


def make_protocol() -> Any:
    """The protocol class for uvicorn's `http` setting."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class TimeoutProtocol(H11Protocol):  # type: ignore[misc]  # uvicorn is no dependency of the type check
        """Closes connections that send headers or a refused body drop by drop, send nothing, or do not read."""

        _owed: Any = None  # the part of a request that the client owes, while a deadline runs for it
        _deadline: Any = None
        _reading: Any = None  # runs while the client owes us to read an answer
        _unread = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._expect(h11.IDLE)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            state = self.conn.their_state
            refused = state is h11.SEND_BODY and self.conn.our_state is h11.DONE
            self._expect(state if state is h11.IDLE or refused else None)

        def on_response_complete(self) -> None:
            """Between requests uvicorn's own timer runs; the rest of a body that was refused has its time."""
            super().on_response_complete()
            self._expect(h11.SEND_BODY if self.conn.their_state is h11.SEND_BODY else None)

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect(None)
            self._stop_reading()
            super().connection_lost(exc)

        def timeout_keep_alive_handler(self) -> None:
            if self.transport.get_write_buffer_size():  # closing would wait for a client that does not read
                self.transport.abort()
            else:
                super().timeout_keep_alive_handler()

        def shutdown(self) -> None:
            """At the signal: a request that is still arriving is no work in flight and has a moment, not BODY_S."""
            super().shutdown()
            if self.conn.their_state is h11.SEND_BODY:
                self.loop.call_later(STOP_S, self._stop_waiting)

        def _stop_waiting(self) -> None:
            if self.conn.their_state is h11.SEND_BODY:
                self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._await_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_reading()

        def _expect(self, owed: Any) -> None:
            if owed is self._owed:
                return
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            self._owed = owed
            if owed is not None:
                seconds = HEADER_S if owed is h11.IDLE else BODY_S
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

    return TimeoutProtocol
