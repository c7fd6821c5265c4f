"""JSON Schemas of the API's requests, from the table in `rerank_cli.request`, and what `openapi.json` says besides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from rerank_cli.options import MOST_NUMBER
from rerank_cli.request import members_of

if TYPE_CHECKING:
    from rerank_cli.request import Api, Member

_TEXT = {"type": "string", "pattern": r"\S"}
_STRING = {"type": "string"}
_DOCUMENT = {"anyOf": [_STRING, {"type": "object", "properties": {"text": _STRING}, "required": ["text"]}]}
_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    "count": {"type": ["integer", "null"], "minimum": 1},
    "number": {"type": ["number", "null"], "minimum": 0},
    "switch": {"type": ["string", "boolean", "null"]},
    "count or true": {"type": ["integer", "boolean", "null"], "minimum": 1},
    "boolean": {"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["true", "false"]}]},
    "negation": {"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["true", "false"]}]},
    "names": {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}, "minItems": 1},
    "texts": {"type": ["array", "string", "null"], "items": {"type": "string"}},
    "documents": {"type": "array", "minItems": 1, "maxItems": 10_000},
}


def _property(member: Member, *, objects: bool) -> dict[str, Any]:
    schema = _TEXT if member.type == "string" and member.required else _TYPES[member.type]
    items = {"items": _DOCUMENT if objects else _STRING} if member.type == "documents" else {}
    least = {"minimum": 0} if member.name == "top_n" else {}  # 0 means all over HTTP
    most = {"maximum": member.maximum} if member.maximum < MOST_NUMBER else {}
    return {**schema, **items, **least, **most, "description": member.description}


def _request(api: Api, *, objects: bool) -> dict[str, Any]:
    members = [member for member in members_of(api).values() if member.description]
    return {
        "type": "object",
        "required": [member.name for member in members if member.required],
        "properties": {member.name: _property(member, objects=objects) for member in members},
    }


DATA: dict[str, Any] = orjson.loads(Path(__file__).with_name("openapi.json").read_bytes())
SCHEMAS = {"Rerank": _request("rerank", objects=True), "Tei": _request("tei", objects=False), **DATA["schemas"]}
