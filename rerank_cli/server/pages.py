"""What can be fetched with GET: health, readiness, the model, metrics, the API's description, the playground."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from rerank_cli.server.discovery import model_card, model_list, tei_info, weaviate_meta
from rerank_cli.server.http_errors import NO_PAGE, UNKNOWN_MODEL, HttpError
from rerank_cli.server.json_body import dump
from rerank_cli.server.openapi import STYLE, describe, readable
from rerank_cli.server.playground import NOT_EMBEDDED, inline_hash, playground
from rerank_cli.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from rerank_cli.server.admission import AdmissionControl
    from rerank_cli.server.metrics import Metrics
    from rerank_cli.server.models import Models
    from rerank_cli.server.settings import ServeSettings

JSON = "application/json"
MODEL = re.compile(r"/models/(.+?)/*$")


class Server(Protocol):
    """The running server, as far as pages describe it."""

    settings: ServeSettings
    models: Models
    metrics: Metrics
    admission: AdmissionControl


def _json(value: Any) -> Response:
    return Response(dump(value), media_type=JSON)


def _health(_app: Server, _request: Request) -> Response:
    return _json({"status": "ok"})


def _ready(app: Server, _request: Request) -> Response:
    if app.models.alive and not app.admission.draining:
        return _json({"status": "ready", "model": app.models.first.info.model})
    status = "stopping" if app.admission.draining else "a scoring thread has stopped"
    return Response(dump({"status": status}), 503, {"retry-after": "1"}, JSON)


def _models(app: Server, _request: Request) -> Response:
    return _json(model_list({name: served.info for name, served in app.models.by_name.items()}))


def _model(app: Server, request: Request) -> Response:
    """One model. Any name answers, as any model of a request does; if strict, only those of the list. HttpError 404."""
    found = MODEL.search(request.scope["path"])
    name = found[1] if found else ""
    served = app.models.by_name.get(name)
    if not name or (app.settings.strict and served is None):
        raise HttpError(404, UNKNOWN_MODEL.format(model=shown(name, 200)))
    return _json(model_card(name, (served or app.models.first).info))


def _info(app: Server, _request: Request) -> Response:
    first = app.models.first
    return _json(tei_info(first.info, app.settings, first.worker.window))


def _meta(app: Server, _request: Request) -> Response:
    return _json(weaviate_meta(app.models.first.info))


def _cluster(app: Server, _request: Request) -> Response:
    """Whether Xinference's client shall send its key."""
    return _json({"auth": bool(app.settings.keys)})


def _alive(_app: Server, _request: Request) -> Response:
    return Response(status_code=204)


def _metrics(app: Server, _request: Request) -> Response:
    text, content_type = app.metrics.text()
    return Response(text, media_type=content_type)


def _openapi(app: Server, _request: Request) -> Response:
    return _json(describe(app.settings))


def _playground(app: Server, _request: Request) -> Response:
    if not app.settings.playground:
        raise HttpError(404, NO_PAGE)
    remote = app.models.first.info.backend == "remote"
    page, policy = playground(with_keys=bool(app.settings.keys), remote=remote)
    return Response(page, headers={"content-security-policy": policy}, media_type="text/html")


def _docs(app: Server, request: Request) -> Response:
    page = readable(describe(app.settings), str(request.base_url).rstrip("/"))
    policy = f"default-src 'none'; style-src {inline_hash(STYLE)}; {NOT_EMBEDDED}"
    return Response(page, headers={"content-security-policy": policy}, media_type="text/html")


PAGES: dict[str, Callable[[Server, Request], Response]] = {
    "/": _playground,
    "/ready": _ready,
    "/metrics": _metrics,
    "/openapi.json": _openapi,
    "/docs": _docs,
    "/info": _info,
    "/meta": _meta,
}
# By how their paths end, because probes append them to a base URL (`/v1/health`, `/api/v1/health`).
SUFFIXES: dict[str, Callable[[Server, Request], Response]] = {
    "/health": _health,
    "/health/live": _health,
    "/health/ready": _ready,
    "/.well-known/live": _alive,
    "/.well-known/ready": _ready,
    "/models": _models,
    "/cluster/auth": _cluster,
}
GUARDED = frozenset({_models, _model, _metrics, _info, _meta})  # need a key when the server has keys


def page_of_path(path: str) -> Callable[[Server, Request], Response]:
    """The page at a path. Raises HttpError 404, which names the paths."""
    page = PAGES.get(path) or next((page for end, page in SUFFIXES.items() if path.endswith(end)), None)
    if page is not None:
        return page
    if is_model(path):
        return _model
    raise HttpError(404, NO_PAGE)


def is_model(path: str) -> bool:
    """Whether a path names one model, whose own name may end like a path of an API (`/v1/models/my/rerank`)."""
    return MODEL.search(path) is not None
