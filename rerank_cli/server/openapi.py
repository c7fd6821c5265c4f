"""The API's description: OpenAPI 3.1 for machines, one page without scripts for people. Written out, not derived."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from rerank_cli.server.openapi_schemas import FIELDS, SCHEMAS, TEI_FIELDS
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from rerank_cli.server.settings import ServeSettings

PATHS = {
    "/v2/rerank": ("Rerank", "Rank documents as Cohere's v2 API does."),
    "/v1/rerank": (
        "Rerank",
        "Rank documents as Cohere's v1 and Jina's API do: objects, rank_fields, return_documents.",
    ),
    "/rerank": ("RerankOrTei", "As v1; a body with `texts` is answered as Text Embeddings Inference does."),
}
REFUSALS = {
    "400": "Blank query or document, no documents, too many, top_n below 1, malformed JSON.",
    "401": "No key or a wrong one.",
    "404": "Unknown model (only with --strict).",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "422": "A field of the wrong type, a query or document that is too long, an unknown field (only with --strict).",
    "429": "Too many requests wait; see Retry-After.",
    "500": "Internal error.",
    "503": "The server is stopping or the model failed; see Retry-After.",
    "504": "Not scored in time.",
}
GETS = {
    "/health": ("The process answers.", "Status"),
    "/ready": ("The model is loaded and requests are taken; 503 otherwise.", "Status"),
    "/v1/models": ("The model.", "Models"),
}
EXAMPLE = """curl {url}/v2/rerank -H 'content-type: application/json' \\
  -d '{"model": "any", "query": "reset the router", "documents": ["Hold the pin.", "Open at nine."]}'"""
STYLE = "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}pre{background:#eee;padding:1em}"


def describe(settings: ServeSettings) -> dict[str, Any]:
    """The OpenAPI document."""
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "rerank serve",
            "version": __version__,
            "description": "One reranking model behind the APIs of Cohere (v1, v2), Jina and Text Embeddings "
            "Inference. Paths count by their suffix.",
        },
        "paths": {path: {"post": _post(kind, text)} for path, (kind, text) in PATHS.items()},
        "components": {"schemas": SCHEMAS},
    }
    found["paths"] |= {path: {"get": _get(text, kind)} for path, (text, kind) in GETS.items()}
    text = {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    found["paths"]["/metrics"] = {"get": {"summary": "Figures.", "responses": {"200": text, "401": _refusal("401")}}}
    if settings.keys:
        found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path in (*PATHS, "/v1/models", "/metrics"):
            next(iter(found["paths"][path].values()))["security"] = [{"bearer": []}]
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusal(status: str) -> dict[str, Any]:
    return {"description": REFUSALS[status], "content": _json(_ref("Error"))}


def _post(kind: str, text: str) -> dict[str, Any]:
    reply = _ref("Reply") if kind == "Rerank" else {"anyOf": [_ref("Reply"), _ref("TeiReply")]}
    return {
        "summary": text,
        "requestBody": {"required": True, "content": _json(_ref(kind))},
        "responses": {
            "200": {"description": "The documents, best first.", "content": _json(reply)},
            **{status: _refusal(status) for status in REFUSALS},
        },
    }


def _get(text: str, kind: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": text, "content": _json(_ref(kind))}}
    if kind == "Models":
        responses["401"] = _refusal("401")
    else:
        responses["503"] = {"description": "Not ready.", "content": _json(_ref(kind))}
    return {"summary": text, "responses": responses}


def readable(description: dict[str, Any], url: str) -> str:
    """The description as one page of plain HTML: no scripts, nothing loaded from elsewhere.

    `url` is where the reader found this server: the example calls it there.
    """
    example = EXAMPLE.replace("{url}", url)
    rows = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            statuses = ", ".join(operation["responses"])
            title = f"<h2>{method.upper()} {escape(path)}</h2>"
            rows.append(f"{title}<p>{escape(operation['summary'])}</p><p>Answers: {statuses}</p>")
    fields = []
    for name, schema in (FIELDS | TEI_FIELDS).items():
        fields.append(f"<li><code>{escape(name)}</code>: {escape(schema.get('description', ''))}</li>")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>rerank serve</title><style>{STYLE}</style>"
        f"<h1>rerank serve</h1><p>{escape(description['info']['description'])} "
        f"Machine-readable: <a href=openapi.json>openapi.json</a>.</p>"
        f"<pre>{escape(example)}</pre>{''.join(rows)}<h2>Fields</h2><ul>{''.join(fields)}</ul></html>"
    )
