"""How many connections may be open: a new one beyond the limit closes the one that has been idle longest.

Otherwise a client that opens connections and sends nothing would use up the descriptors of the process, and no other
client could connect. It knows connections only by what they can do: nothing of HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SPARE_FILES = 512  # descriptors for all else: files of the model, and connections accepted before others are closed


class Connection(Protocol):
    """What can be closed at once."""

    def abort(self) -> None:
        """Close it without waiting for what is still to be sent."""


class ConnectionLimit:
    """Open connections, and which of them are idle, in the order in which they became so."""

    def __init__(self, most: int, report: Callable[[str], None]) -> None:
        self.most = most
        self._report = report
        self._open: set[Connection] = set()
        self._idle: dict[Connection, None] = {}

    def add(self, connection: Connection) -> None:
        """A new connection, idle until its first request has arrived. It is closed itself if no other one is idle."""
        self._open.add(connection)
        if len(self._open) > self.most:
            victim = next(iter(self._idle), connection)
            self.remove(victim)
            victim.abort()
            self._report(f"more than {self.most:,} connections: idle ones are closed (--max-connections)")
            if victim is connection:
                return
        self._idle[connection] = None

    def set_idle(self, connection: Connection, idle: bool) -> None:
        """Whether a connection waits for a request; one that goes on waiting keeps its place."""
        if not idle:
            self._idle.pop(connection, None)
        elif connection in self._open:
            self._idle.setdefault(connection)

    def remove(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self._idle.pop(connection, None)


def raise_file_limit(connections: int) -> int:
    """The number of connections for which the process may open descriptors, after asking the system for as many."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS allows fewer than its hard limit says
        wanted = soft
    return max(1, min(connections, wanted - SPARE_FILES))
