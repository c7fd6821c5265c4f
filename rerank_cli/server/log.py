"""What a server writes to stderr: one line per request, without any of its text, and internal failures."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rerank_cli.errors import traceback_of
from rerank_cli.report import Report
from rerank_cli.text import escape_line, shortened, shown, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rerank_cli.errors import RerankError
    from rerank_cli.server.records import Call
    from rerank_cli.terminal import Terminal

LONGEST_PATH = 200
LONGEST_METHOD = 20
QUIET_S = 1.0  # between two lines of one kind about connections


class Log:
    """Lines on stderr. `tracebacks`: also where an internal error came from (--debug)."""

    def __init__(self, terminal: Terminal, *, access: bool, tracebacks: bool) -> None:
        self._terminal = terminal
        self._access = access and terminal.verbosity >= 0
        self._tracebacks = tracebacks
        self._said: dict[str, tuple[float, int]] = {}  # when a message was last written, and how often not since

    def access(self, call: Call) -> None:
        """One line of `key=value`, times in milliseconds. The path comes without its query string."""
        if not self._access:
            return
        total = time.perf_counter() - call.start
        path = shortened(escape_line(call.path[: LONGEST_PATH + 1]), LONGEST_PATH).replace(" ", "%20")
        method = shortened(escape_line(call.method), LONGEST_METHOD)
        now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        parts = f"{now} id={call.id} client={call.client} {method} {path} status={call.status}"
        if call.documents:
            parts += f" documents={call.documents} queued_ms={call.queued * 1e3:.0f} scored_ms={call.scored * 1e3:.0f}"
        parts += f" model={shown(call.model).replace(' ', '%20')}" if call.model else ""
        self._terminal.say(f"{parts} total_ms={total * 1e3:.0f}")

    def failed(self, call: Call, error: BaseException) -> None:
        """The model failed on a request; its message may name the query, so only its type is logged without --debug."""
        self._terminal.warn(f"request {call.id}: the scorer failed: {type(error).__name__}")
        self._trace(error)

    def provider(self, call: Call, error: RerankError, status: int) -> None:
        """A provider failed a request. What it says of a request that it refused may quote the request."""
        self._terminal.warn(f"request {call.id}: {call.model}: " + (error.message if status > 500 else f"{status}"))
        self._trace(error)

    def reloaded(self, models: Iterable[str], fixed: Sequence[str]) -> None:
        """A new configuration counts from now on."""
        self._terminal.note(f"reloaded: serving {', '.join(models)}")
        if fixed:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
            self._terminal.warn(f"only a restart changes {flags}")

    def not_reloaded(self, error: RerankError) -> None:
        """The new configuration is not right."""
        self._terminal.error(f"not reloaded, the former configuration stays: {error.message}", error.hint)
        self._trace(error)

    def internal(self, call: Call, error: BaseException) -> None:
        """A bug in this program."""
        self._terminal.error(
            f"request {call.id}: internal error: {type(error).__name__}", "start with `--debug` for the traceback"
        )
        self._trace(error)

    def connection(self, message: str, error: BaseException | None = None) -> None:
        """Trouble with connections, whoever causes it how often: at most one line per second for each message."""
        now = time.monotonic()
        last, hidden = self._said.get(message, (-QUIET_S, 0))
        if now - last < QUIET_S:
            self._said[message] = last, hidden + 1
            return
        self._said[message] = now, 0
        self._terminal.warn(f"{message} ({hidden:,} more times since the last such line)" if hidden else message)
        if error is not None:
            self._trace(error)

    def _trace(self, error: BaseException) -> None:
        if self._tracebacks:
            lines = visible(traceback_of(error)).splitlines()  # indented, so that none looks like a line of ours
            self._terminal.say("\n".join(f"  {line}" for line in lines))


class LoggedReport(Report):
    """Warnings and notes are written at once: nobody reads the report of a server at its end."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def warn(self, message: str) -> None:
        """Once, however often it is raised."""
        known = len(self._warnings)
        super().warn(message)
        for new in self._warnings[known:]:
            self._terminal.warn(new)

    def note(self, message: str) -> None:
        """Likewise."""
        known = len(self.notes)
        super().note(message)
        for new in self.notes[known:]:
            self._terminal.note(new)
