"""JSON Schemas of the API's requests, from the table in `rerank_cli.request`, and of its responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.request import members_of

if TYPE_CHECKING:
    from rerank_cli.request import Api, Member

_TEXT = {"type": "string", "pattern": r"\S"}
_DOCUMENT = {"anyOf": [_TEXT, {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}]}
_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    "count": {"type": ["integer", "null"], "minimum": 1},
    "boolean": {"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["true", "false"]}]},
    "names": {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}, "minItems": 1},
    "documents": {"type": "array", "minItems": 1, "maxItems": 9999},
}


def _property(member: Member, *, objects: bool) -> dict[str, Any]:
    schema = _TEXT if member.type == "string" and member.required else _TYPES[member.type]
    items = {"items": _DOCUMENT if objects else _TEXT} if member.type == "documents" else {}
    return {**schema, **items, "description": member.description}


def _request(api: Api, *, objects: bool) -> dict[str, Any]:
    members = [member for member in members_of(api).values() if member.description]
    return {
        "type": "object",
        "required": [member.name for member in members if member.required],
        "properties": {member.name: _property(member, objects=objects) for member in members},
    }


_RESULT = {
    "type": "object",
    "required": ["index", "relevance_score"],
    "properties": {
        "index": {"type": "integer", "minimum": 0},
        "relevance_score": {"type": "number"},
        "document": {"type": "object"},
    },
}
_META = {
    "type": "object",
    "required": ["api_version", "billed_units", "tokens", "warnings"],
    "properties": {
        "api_version": {"type": "object", "properties": {"version": {"enum": ["1", "2"]}}},
        "billed_units": {"type": "object", "properties": {"search_units": {"type": "integer", "minimum": 1}}},
        "tokens": {"type": "object"},
        "warnings": {"type": "array", "items": {"type": "string"}},
    },
}
_TEI_ROW = {
    "type": "object",
    "required": ["index", "score"],
    "properties": {"index": {"type": "integer"}, "score": {"type": "number"}, "text": {"type": "string"}},
}

SCHEMAS: dict[str, Any] = {
    "Rerank": _request("rerank", objects=True),
    "Tei": _request("tei", objects=False),
    "RerankOrTei": {"anyOf": [{"$ref": "#/components/schemas/Rerank"}, {"$ref": "#/components/schemas/Tei"}]},
    "Reply": {
        "type": "object",
        "required": ["id", "object", "model", "results", "meta", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "list"},
            "model": {"type": "string"},
            "results": {"type": "array", "items": _RESULT},
            "meta": _META,
            "usage": {"type": "object", "properties": {"total_tokens": {"type": "integer"}}},
        },
    },
    "TeiReply": {"type": "array", "items": _TEI_ROW},
    "Error": {
        "anyOf": [
            {"type": "object", "required": ["id", "message", "detail"]},
            {"type": "object", "required": ["error", "error_type"]},
        ]
    },
    "Status": {"type": "object", "required": ["status"]},
    "Models": {"type": "object", "required": ["object", "data", "models"]},
}
