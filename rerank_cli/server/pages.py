"""What can be fetched with GET: health, readiness, the model, figures, the API's description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rerank_cli.pipeline import scale_of
from rerank_cli.server.answer import dump
from rerank_cli.server.call import Reply
from rerank_cli.server.openapi import describe, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.admission import AdmissionControl
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.server.worker import Worker

JSON = {"content-type": "application/json"}


class Server(Protocol):
    """What pages tell of: the running server, as far as they look at it."""

    settings: ServeSettings
    worker: Worker
    info: ScorerInfo
    metrics: Metrics
    gate: AdmissionControl


@dataclass(frozen=True, slots=True)
class Page:
    """How a page is made, and whether it wants a key when the server has keys."""

    make: Callable[[Server, Request], Reply]
    guarded: bool = False


def _health(_app: Server, _request: Request) -> Reply:
    return Reply(200, dump({"status": "ok"}), JSON)


def _ready(app: Server, _request: Request) -> Reply:
    if app.worker.alive and not app.gate.draining:
        return Reply(200, dump({"status": "ready", "model": app.info.model}), JSON)
    status = "stopping" if app.gate.draining else "the scoring thread has stopped"
    return Reply(503, dump({"status": status}), {**JSON, "retry-after": "1"})


def _models(app: Server, _request: Request) -> Reply:
    """In OpenAI's form (`data`) and in Cohere's (`models`); gateways probe either."""
    info = app.info
    names = dict.fromkeys((info.model, *app.settings.names))
    how = {"revision": info.revision, "backend": info.backend, "dtype": info.dtype, "score_scale": scale_of(info)}
    own = {"object": "model", "created": 0, "owned_by": "rerank", **how}
    found = {
        "object": "list",
        "data": [{"id": name, **own} for name in names],
        "models": [{"name": name, "endpoints": ["rerank"]} for name in names],
    }
    return Reply(200, dump(found), JSON)


def _metrics(app: Server, _request: Request) -> Reply:
    text, kind = app.metrics.text()
    return Reply(200, text, {"content-type": kind})


def _openapi(app: Server, _request: Request) -> Reply:
    return Reply(200, dump(describe(app.settings)), JSON)


def _docs(app: Server, request: Request) -> Reply:
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return Reply(200, readable(describe(app.settings), str(request.base_url).rstrip("/")).encode(), headers)


PAGES: dict[str, Page] = {
    "/health": Page(_health),
    "/ready": Page(_ready),
    "/v1/models": Page(_models, guarded=True),
    "/metrics": Page(_metrics, guarded=True),
    "/openapi.json": Page(_openapi),
    "/docs": Page(_docs),
}
