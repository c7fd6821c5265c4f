"""Starting and stopping: the socket, the scoring thread, uvicorn.

Order matters: the port is taken before the model is loaded (a taken port should not cost ten seconds), and the server
listens only when the model is ready. SIGTERM and Ctrl-C let accepted requests finish and refuse the rest.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import UsageError
from rerank_cli.files import reason_of
from rerank_cli.server.settings import KEEP_ALIVE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.scorers.base import Scorer
    from rerank_cli.server.app import App
    from rerank_cli.server.log import Log
    from rerank_cli.server.settings import ServeSettings

DRAIN_POLL_S = 0.05
GRACE_S = 5.0  # beyond the time that the last accepted request may take


def check_extra() -> None:
    """Raises UsageError if the packages of the extra are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise UsageError(f"serve needs {', '.join(missing)}", "pip install 'rerank-cli[serve]'")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises UsageError if the address is no address of this machine or the port is taken."""
    bound: socket.socket | None = None
    try:
        flags = socket.AI_PASSIVE
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        if bound is not None:
            bound.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {reason_of(error)}", "choose another --port or --host"
        ) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where clients find a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    settings: ServeSettings,
    bound: socket.socket,
    open_scorer: Callable[[], Scorer],
    log: Log,
    listening: Callable[[App], None],
) -> None:
    """Serve until a signal ends it; then finish what was accepted.

    Args:
        settings: limits, keys, habits.
        bound: the socket, as `listen` makes it.
        open_scorer: opens the model, in the thread that will use it.
        log: gets access lines and failures.
        listening: called in the event loop once requests are taken.

    Raises:
        RerankError: the model cannot be opened.
    """
    from rerank_cli.server.app import App
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.worker import Worker

    metrics = Metrics()
    worker = Worker(open_scorer, metrics.tick)
    info = worker.start()
    gc.enable()  # the command line turns it off, because its processes are short
    gc.freeze()  # the model and all modules: never garbage, not worth looking at
    try:
        app = App(settings, worker, info, metrics, log)
        make_server(app, settings, lambda: listening(app)).run(sockets=[bound])
    finally:
        worker.stop()


def make_server(app: App, settings: ServeSettings, listening: Callable[[], None]) -> Any:
    """uvicorn, told to be quiet, patient with slow answers and impatient with slow requests."""
    import uvicorn

    from rerank_cli.server.connection import make_protocol

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # our log says what users need
    config = uvicorn.Config(
        app,
        http=make_protocol(),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.timeout_s + GRACE_S),
        h11_max_incomplete_event_size=64 << 10,  # bytes of headers
    )

    class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is no dependency of the type check
        """Refuses from the moment of the signal, and says when it listens."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            listening()

        def handle_exit(self, sig: int, frame: Any) -> None:
            app.admission.draining = True
            super().handle_exit(sig, frame)

        async def shutdown(self, sockets: Any = None) -> None:
            """Listen on, to say 503 and where not to send, until what was accepted is answered; then uvicorn's way."""
            for connection in list(self.server_state.connections):
                connection.shutdown()  # idle ones end, a body that is still arriving has a moment
            end = time.monotonic() + config.timeout_graceful_shutdown
            while app.admission.inside and not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110 uvicorn's flag
                await asyncio.sleep(DRAIN_POLL_S)
            await super().shutdown(sockets)

    return Server(config)
