"""A new configuration for a running server: keys, limits and models, without dropping a connection.

What is wrong with it is logged, and the former one stays. It knows nothing of files and options.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rerank_cli.errors import RerankError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rerank_cli.server.app import App
    from rerank_cli.server.models import Configured, Models, Opener, ServedModel
    from rerank_cli.server.settings import ServeSettings

FIXED = ("host", "port", "max_connections", "cors_origins")  # of ServeSettings: only a restart changes them
POLL_S = 0.05


class Reloader:
    """Call it in the event loop's thread. `read`: what the configuration says now; raises RerankError."""

    def __init__(self, app: App, opener: Opener, read: Callable[[], Configured]) -> None:
        self._app = app
        self._opener = opener
        self._read = read
        self._lock = asyncio.Lock()

    async def __call__(self) -> None:
        """Read, open what is new, exchange, close what is gone once its requests are answered."""
        async with self._lock:
            app, former = self._app, self._app.models
            try:
                settings, models = await asyncio.to_thread(self._prepare, former)
            except RerankError as error:
                app.log.not_reloaded(error)
                return
            fixed = [name for name in FIXED if getattr(settings, name) != getattr(app.settings, name)]
            app.configure(settings, models)
            app.log.reloaded((model.info.model for model in models.served), fixed)
        await retire(model for model in former.served if model not in models.served)

    def _prepare(self, former: Models) -> tuple[ServeSettings, Models]:
        settings, plans = self._read()
        return settings, self._opener.open(plans, former.served)


async def retire(models: Iterable[ServedModel]) -> None:
    """Stop the workers of models that no new request can choose, after those in progress."""
    for model in models:
        while model.requests:  # noqa: ASYNC110 counted by this thread
            await asyncio.sleep(POLL_S)
        await asyncio.to_thread(model.worker.stop)
