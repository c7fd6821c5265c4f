"""JSON Schemas of the API's requests and replies, as data."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string", "pattern": r"\S"}
_COUNT = {"type": ["integer", "null"], "minimum": 1}
_BOOLEAN = {"anyOf": [{"type": ["boolean", "null"]}, {"enum": ["true", "false"]}]}
_NAMES = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}, "minItems": 1}
_DOCUMENTS = {
    "type": "array",
    "minItems": 1,
    "maxItems": 9999,
    "items": {"anyOf": [_TEXT, {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]}]},
    "description": "Strings, or objects with `text` or the rank_fields.",
}

FIELDS: dict[str, Any] = {
    "model": {"type": ["string", "null"], "description": "Any name; the loaded model answers."},
    "query": {**_TEXT, "description": "What is searched for."},
    "documents": _DOCUMENTS,
    "top_n": {**_COUNT, "description": "Return the N best only."},
    "rank_fields": {**_NAMES, "description": "Keys of object documents to score, in this order."},
    "return_documents": {**_BOOLEAN, "description": "Send the documents back."},
    "max_chunks_per_doc": {**_COUNT, "description": "At most so many windows of a long document."},
    "max_tokens_per_doc": {**_COUNT, "description": "Cut longer documents (4096)."},
    "raw_scores": {**_BOOLEAN, "description": "Logits instead of 0 to 1."},
}
TEI_FIELDS: dict[str, Any] = {
    "query": FIELDS["query"],
    "texts": {
        "type": "array", "items": _TEXT, "minItems": 1, "maxItems": 9999,
        "description": "Documents of a TEI request; the reply is a bare array.",
    },
    "top_n": FIELDS["top_n"],
    "truncate": {**_BOOLEAN, "description": "TEI: false refuses texts beyond the model's window."},
    "raw_scores": FIELDS["raw_scores"],
    "return_text": {**_BOOLEAN, "description": "TEI: send the texts back."},
}  # fmt: skip
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
    "Rerank": {"type": "object", "required": ["query", "documents"], "properties": FIELDS},
    "Tei": {"type": "object", "required": ["query", "texts"], "properties": TEI_FIELDS},
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
