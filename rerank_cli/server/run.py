"""Starting and stopping: the socket, the scoring thread, uvicorn.

Order matters: the port is taken before the model is loaded (a port in use should fail at once), and the server
listens only when the model is ready. SIGTERM and Ctrl-C let accepted requests finish and refuse the rest.
"""

from __future__ import annotations

import gc
import logging
import socket
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError, UsageError
from rerank_cli.files import reason_of
from rerank_cli.server.settings import KEEP_ALIVE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rerank_cli.server.app import App
    from rerank_cli.server.log import Log
    from rerank_cli.server.models import Configured
    from rerank_cli.server.settings import ServeSettings

BACKLOG = 256  # connections that the system accepts before we do; asyncio accepts as many at a time
GRACE_S = 5.0  # beyond the time that the last accepted request may take


def check_extra() -> None:
    """Raises ModelError if the packages of the extra are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise ModelError(f"serve needs {', '.join(missing)}", "pip install 'rerank-cli[serve]'")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises UsageError if the address is not one of this machine or the port is in use."""
    bound: socket.socket | None = None
    try:
        flags = socket.AI_PASSIVE
        family, socket_type, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=flags
        )[0]
        bound = socket.socket(family, socket_type, protocol)
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        # On Windows SO_REUSEADDR lets another program take a port in use; elsewhere it only skips a wait after a stop.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if exclusive is None else exclusive, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        if bound is not None:
            bound.close()
        hint = "choose another --port or --host"
        raise UsageError(f"cannot listen on {host} port {port}: {reason_of(error)}", hint) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """Where clients find a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    configured: Configured,
    read: Callable[[], Configured],
    bound: socket.socket,
    log: Log,
    listening: Callable[[App], None],
) -> None:
    """Serve until a signal ends it; then finish what was accepted. Raises RerankError: a model cannot be opened.

    `configured` says how and which models, `read` the same after each SIGHUP; `bound` is the socket from `listen`;
    `log` receives access lines and failures; `listening` is called in the event loop once requests are taken.
    """
    from rerank_cli.server.app import App
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.models import Opener
    from rerank_cli.server.reload import Reloader
    from rerank_cli.server.turn import Turn

    metrics = Metrics()
    settings, plans = configured
    opener = Opener(metrics.batch, Turn(), settings.max_queue)
    models = opener.open(plans)
    app = App(settings, models, metrics, log)
    gc.enable()  # the command line turns it off, because its processes are short
    gc.freeze()  # the model and all modules: never garbage, not worth looking at
    try:
        reloader = Reloader(app, opener, read)
        make_server(app, settings, lambda: listening(app), reloader).run(sockets=[bound])
    finally:
        app.models.stop()


def make_server(
    app: App,
    settings: ServeSettings,
    listening: Callable[[], None],
    reload: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> Any:
    """uvicorn, silent, with long time-outs for responses and short ones for requests."""
    import uvicorn

    from rerank_cli.server.connection import DrainingServer, TimeoutProtocol
    from rerank_cli.server.connection_limit import ConnectionLimit, raise_file_limit
    from rerank_cli.server.web_pages import allow_origins

    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # our log has what users need
    limit = ConnectionLimit(raise_file_limit(settings.max_connections), app.log.connection)
    config = uvicorn.Config(
        allow_origins(app, settings.cors_origins),
        http=type("LimitedProtocol", (TimeoutProtocol,), {"limit": limit}),
        backlog=BACKLOG,
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
    return DrainingServer(config, app.admission, app.log, listening, reload)
