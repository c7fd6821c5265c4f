"""The members of a body under the names of our own requests, whatever API its client speaks.

It moves values and never checks them: what a member may hold is a matter of `rerank_request`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.server.http_errors import wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.server.records import Adapter

LIMITS = ("top_n", "max_chunks_per_doc", "max_tokens_per_doc")


def our_members(body: Mapping[str, Any], adapter: Adapter, *, strict: bool) -> dict[str, Any]:
    """The members of a body that are not null, with our names. Raises HttpError 422: one holds what it cannot hold.

    Unless strict, texts may be in objects, as vLLM's and NVIDIA's clients send them, a null document is blank, and
    a limit of 0 means none, as unset numbers of Go arrive.
    """
    members = {name: value for name, value in body.items() if value is not None}
    if adapter.prepare is not None:
        members = adapter.prepare(members)
    for theirs, ours in adapter.names.items():
        value = _take(members, theirs)
        if value is not None:
            members[ours] = value
    members = {**adapter.defaults, **members}
    if strict:
        return members
    for name in LIMITS:
        if type(limit := members.get(name)) in {int, float} and limit == 0:
            del members[name]
    query, documents = (members.get(name) for name in ("query", adapter.documents))
    if isinstance(query, dict | list):
        members["query"] = [text_of(each) for each in query] if isinstance(query, list) else text_of(query)
    if isinstance(documents, dict) and isinstance(documents.get("content"), list):
        members[adapter.documents] = documents["content"]
    elif isinstance(documents, list):
        members[adapter.documents] = ["" if each is None else each for each in documents]
    return members


def name_in(adapter: Adapter, ours: str) -> str:
    """What an API calls a member of ours."""
    return next((theirs for theirs, name in adapter.names.items() if name == ours), ours)


def text_of(value: Any) -> Any:
    """The text in an object that holds nothing else to score (`{"content": [{"type": "text", "text": …}]}`).

    Any other value is returned as it is.
    """
    if not isinstance(value, dict):
        return value
    parts = value.get("content")
    if isinstance(value.get("text"), str):
        return value["text"]
    if isinstance(parts, list):
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        return "\n".join(text for text in texts if isinstance(text, str))
    return parts if isinstance(parts, str) else value


def _take(members: dict[str, Any], name: str) -> Any:
    """Remove a member and return it; None if there is none. Raises HttpError 422: `a` of `a.b` is not an object."""
    outer, _, inner = name.rpartition(".")
    if not outer:
        return members.pop(inner, None)
    holder = members.get(outer)
    if holder is None:
        return None
    if not isinstance(holder, dict):
        raise wrong_type(outer, holder, "object")
    rest = {key: value for key, value in holder.items() if key != inner}
    members.pop(outer)
    if rest:
        members[outer] = rest
    return holder.get(inner)
