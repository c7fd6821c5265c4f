"""The API's description: OpenAPI 3.1 for machines, one page without scripts for people."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from rerank_cli.server.openapi_schemas import DATA, SCHEMAS
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from rerank_cli.server.settings import ServeSettings

# Path -> (schema, summary); status -> meaning.
PATHS, GETS, REFUSALS = (DATA[name] for name in ("posts", "gets", "refusals"))
REPLIES = {
    "Rerank": ("Reply",), "RerankOrTei": ("Reply", "TeiReply"), "Ranking": ("RankingReply",), "Score": ("ScoreReply",),
}  # fmt: skip
GUARDED = frozenset({"Models", "Info"})  # need a key when the server has keys
EXAMPLE = """curl {url}/v2/rerank -H 'content-type: application/json' \\
  -d '{"model": "any", "query": "reset the router", "documents": ["Hold the pin.", "Open at nine."]}'"""
STYLE = "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}pre{background:#eee;padding:1em}"


def describe(settings: ServeSettings) -> dict[str, Any]:
    """The OpenAPI document."""
    paths = {path: {"post": _post(schema, summary)} for path, (schema, summary) in PATHS.items()}
    paths |= {path: {"get": _get(schema, summary)} for path, (schema, summary) in GETS.items()}
    text = {"description": "Prometheus text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    paths["/metrics"] = {"get": {"summary": "Figures.", "responses": {"200": text, "401": _refusal("401")}}}
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if settings.keys:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path in (*PATHS, *(path for path, (schema, _) in GETS.items() if schema in GUARDED), "/metrics"):
            next(iter(paths[path].values()))["security"] = [{"bearer": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "rerank serve",
            "version": __version__,
            "description": "Reranking models behind the APIs of Cohere (v1, v2), Jina, vLLM, NVIDIA and Text "
            "Embeddings Inference. Paths count by their suffix. Bodies of Voyage, Mixedbread, DashScope, Pinecone and "
            "Weaviate are recognised by their members and answered in their form.",
        },
        "paths": paths,
        "components": components,
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusal(status: str) -> dict[str, Any]:
    return {"description": REFUSALS[status], "content": _json(_ref("Error"))}


def _post(schema: str, summary: str) -> dict[str, Any]:
    response = {"anyOf": [_ref(name) for name in REPLIES[schema]]}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": _json(_ref(schema))},
        "responses": {
            "200": {"description": "The documents, best first.", "content": _json(response)},
            **{status: _refusal(status) for status in REFUSALS},
        },
    }


def _get(schema: str, summary: str) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": summary, "content": _json(_ref(schema))}}
    if schema in GUARDED:
        responses["401"] = _refusal("401")
    else:
        responses["503"] = {"description": "Not ready.", "content": _json(_ref(schema))}
    return {"summary": summary, "responses": responses}


def readable(description: dict[str, Any], url: str) -> str:
    """The description as one page of plain HTML: no scripts, nothing loaded from elsewhere.

    `url` is this server's address as the reader sees it; the example uses it.
    """
    example = EXAMPLE.replace("{url}", url)
    rows = []
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            statuses = ", ".join(operation["responses"])
            title = f"<h2>{method.upper()} {escape(path)}</h2>"
            rows.append(f"{title}<p>{escape(operation['summary'])}</p><p>Answers: {statuses}</p>")
    schemas = (SCHEMAS[name]["properties"] for name in ("Score", "Ranking", "Tei", "Rerank"))
    properties = {name: schema for each in schemas for name, schema in each.items()}
    fields = [
        f"<li><code>{escape(name)}</code>: {escape(schema['description'])}</li>" for name, schema in properties.items()
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>rerank serve</title><style>{STYLE}</style>"
        f"<h1>rerank serve</h1><p>{escape(description['info']['description'])} "
        f"Machine-readable: <a href=openapi.json>openapi.json</a>.</p>"
        f"<pre>{escape(example)}</pre>{''.join(rows)}<h2>Fields</h2><ul>{''.join(fields)}</ul></html>"
    )
