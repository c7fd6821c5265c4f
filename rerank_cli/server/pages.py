"""What can be fetched with GET: health, readiness, the model, metrics, the API's description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from rerank_cli.pipeline import scale_of
from rerank_cli.server.json_body import dump
from rerank_cli.server.openapi import describe, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.admission import AdmissionControl
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.models import Models
    from rerank_cli.server.settings import ServeSettings

JSON = "application/json"


class Server(Protocol):
    """The running server, as far as pages describe it."""

    settings: ServeSettings
    models: Models
    metrics: Metrics
    admission: AdmissionControl


def _health(_app: Server, _request: Request) -> Response:
    return Response(dump({"status": "ok"}), media_type=JSON)


def _ready(app: Server, _request: Request) -> Response:
    if app.models.alive and not app.admission.draining:
        return Response(dump({"status": "ready", "model": app.models.first.info.model}), media_type=JSON)
    status = "stopping" if app.admission.draining else "a scoring thread has stopped"
    return Response(dump({"status": status}), 503, {"retry-after": "1"}, JSON)


def _models(app: Server, _request: Request) -> Response:
    """As OpenAI lists them (`data`) and as Cohere does (`models`); gateways probe either."""
    models = {
        "object": "list",
        "data": [model_object(name, served.info) for name, served in app.models.by_name.items()],
        "models": [{"name": name, "endpoints": ["rerank"]} for name in app.models.by_name],
    }
    return Response(dump(models), media_type=JSON)


def model_object(name: str, info: ScorerInfo) -> dict[str, Any]:
    """A model under one of its names, as OpenAI describes it, and what we know of it."""
    facts = {"revision": info.revision, "backend": info.backend, "dtype": info.dtype, "score_scale": scale_of(info)}
    return {"id": name, "object": "model", "created": 0, "owned_by": "rerank", **facts}


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
