"""What a server writes to stderr: one line per request, without any of its text, and internal failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rerank_cli.errors import traceback_of
from rerank_cli.text import visible

if TYPE_CHECKING:
    from rerank_cli.server.records import Call
    from rerank_cli.terminal import Terminal

LONGEST_PATH = 200


class Log:
    """Lines on stderr. `tracebacks`: also where an internal error came from (--debug)."""

    def __init__(self, terminal: Terminal, *, access: bool, tracebacks: bool) -> None:
        self._terminal = terminal
        self._access = access and terminal.verbosity >= 0
        self._tracebacks = tracebacks

    def access(self, call: Call) -> None:
        """One line of `key=value`, times in milliseconds. The path comes without its query string."""
        if not self._access:
            return
        total = time.perf_counter() - call.start
        path = visible(call.path[:LONGEST_PATH]).replace(" ", "%20")
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        parts = f"{now} id={call.id} client={call.client} {call.method} {path} status={call.status}"
        if call.documents:
            parts += f" documents={call.documents} queued_ms={call.queued * 1e3:.0f} scored_ms={call.scored * 1e3:.0f}"
        self._terminal.say(f"{parts} total_ms={total * 1e3:.0f}")

    def failed(self, call: Call, error: Exception) -> None:
        """The model failed on a request; its message may name the query, so only its type is logged without --debug."""
        self._terminal.warn(f"request {call.id}: the scorer failed: {type(error).__name__}")
        self._trace(error)

    def internal(self, call: Call, error: Exception) -> None:
        """A bug in this program."""
        self._terminal.error(
            f"request {call.id}: internal error: {type(error).__name__}", "start with `--debug` for the traceback"
        )
        self._trace(error)

    def _trace(self, error: Exception) -> None:
        if self._tracebacks:
            self._terminal.say(traceback_of(error))
