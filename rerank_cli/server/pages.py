"""What can be fetched with GET: health, readiness, the model, metrics, the API's description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.responses import Response

from rerank_cli.scorers.meta import scale_of
from rerank_cli.server.json_body import dump
from rerank_cli.server.openapi import describe, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.admission import AdmissionControl
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.settings import ServeSettings
    from rerank_cli.server.worker import Worker

JSON = "application/json"


class Server(Protocol):
    """The running server, as far as pages describe it."""

    settings: ServeSettings
    worker: Worker
    info: ScorerInfo
    metrics: Metrics
    admission: AdmissionControl


def _health(_app: Server, _request: Request) -> Response:
    return Response(dump({"status": "ok"}), media_type=JSON)


def _ready(app: Server, _request: Request) -> Response:
    if app.worker.alive and not app.admission.draining:
        return Response(dump({"status": "ready", "model": app.info.model}), media_type=JSON)
    status = "stopping" if app.admission.draining else "the scoring thread has stopped"
    return Response(dump({"status": status}), 503, {"retry-after": "1"}, JSON)


def _models(app: Server, _request: Request) -> Response:
    """As OpenAI lists them (`data`) and as Cohere does (`models`); gateways probe either."""
    info = app.info
    names = dict.fromkeys((info.model, *app.settings.names))
    facts = {"revision": info.revision, "backend": info.backend, "dtype": info.dtype, "score_scale": scale_of(info)}
    model = {"object": "model", "created": 0, "owned_by": "rerank", **facts}
    models = {
        "object": "list",
        "data": [{"id": name, **model} for name in names],
        "models": [{"name": name, "endpoints": ["rerank"]} for name in names],
    }
    return Response(dump(models), media_type=JSON)


def _metrics(app: Server, _request: Request) -> Response:
    text, content_type = app.metrics.text()
    return Response(text, media_type=content_type)


def _openapi(app: Server, _request: Request) -> Response:
    return Response(dump(describe(app.settings)), media_type=JSON)


def _docs(app: Server, request: Request) -> Response:
    page = readable(describe(app.settings), str(request.base_url).rstrip("/"))
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(page, headers=headers, media_type="text/html")


PAGES: dict[str, Callable[[Server, Request], Response]] = {
    "/health": _health,
    "/ready": _ready,
    "/v1/models": _models,
    "/metrics": _metrics,
    "/openapi.json": _openapi,
    "/docs": _docs,
}
GUARDED = frozenset({_models, _metrics})  # need a key when the server has keys
