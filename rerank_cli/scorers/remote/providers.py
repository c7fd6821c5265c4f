"""The providers as data: one row each in `providers.json`, read once; names, aliases, which one a reference means.

It knows nothing of keys, requests or the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from rerank_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = Path(__file__).with_name("providers.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How one provider is called. Paths are dotted (`input.query`); None = the provider has no such thing."""

    id: str
    title: str
    aliases: tuple[str, ...]  # two rows may share one; then `when` decides
    when: tuple[str, ...]  # an endpoint that contains one of these means this row of a shared alias
    # endpoint
    base: str  # {placeholders} mean that --endpoint is needed
    path: str
    url_rule: Literal["overlap", "azure"]
    # authentication
    auth: tuple[str, str]  # header name, value with {key}
    headers: Mapping[str, str]
    keys: tuple[str, ...]  # environment variables, the provider's usual one first
    key_required: bool
    key_hosts: Mapping[str, str]  # key prefix -> base that such keys belong to
    # request
    model: str | None
    model_required: bool
    model_default: str | None
    model_paths: Mapping[str, str]  # models whose {model_path} does not follow from their name
    query: str
    docs: str
    doc: Literal["str", "text"]  # a string, or {"text": string}
    top: str | None
    fixed: Mapping[str, Any]
    max_tokens: str | None  # field for --max-tokens-per-doc
    max_chunks: str | None  # field for --max-chunks-per-doc
    instruction: str | None
    rank_fields: str | None  # the provider takes objects and chooses fields itself
    native_by_default: bool  # objects and rank_fields travel without --native-rank-fields
    # response
    results: str  # "" = the body itself is the array
    index: str
    score: str
    kind: Literal["unit", "logit", "model", "upstream"]
    usage: str | None  # dotted path, or `header:name`
    error: tuple[str, ...]
    # limits
    max_docs: int  # documents per request unless --batch-docs changes it
    hard_docs: int | None  # the provider refuses more
    max_body: int | None  # bytes
    request_tokens: int | None  # query x documents + documents
    requests_per_minute: int | None
    tokens_per_minute: int | None
    # What is billed. Only search units and tokens can be estimated (cost.py); another name is shown as it is.
    billing: Literal["search_units", "tokens", "rerank_units"] | None

    @property
    def scale(self) -> str:
        """What `ScorerInfo.scale` says: scores travel as received, so only raw logits are named."""
        return "logit" if self.kind == "logit" else "vendor"


@dataclass(frozen=True, slots=True)
class Table:
    """All providers by id, and what is common to them."""

    rows: Mapping[str, Provider]
    listwise: tuple[str, ...]  # model names (parts of) whose scores depend on the other documents of the request
    max_body: int  # bytes per request where the provider has no own limit

    def names(self) -> list[str]:
        """Every name that may precede the colon, ids first."""
        aliases = {alias for row in self.rows.values() for alias in row.aliases}
        return [*self.rows, *sorted(aliases - set(self.rows))]

    def find(self, name: str, endpoint: str | None = None) -> Provider:
        """The row of an id or alias; a shared alias depends on the endpoint.

        Raises UsageError: no provider has this name.
        """
        wanted = name.lower()
        if wanted in self.rows:
            return self.rows[wanted]
        sharing = [row for row in self.rows.values() if wanted in row.aliases]
        if not sharing:
            hint = did_you_mean(wanted, self.names())
            raise UsageError(f"unknown provider `{name}`", hint or f"known: {', '.join(self.rows)}")
        matching = [row for row in sharing if any(part in (endpoint or "").lower() for part in row.when)]
        return (matching or sharing)[0]

    def is_listwise(self, model: str) -> bool:
        """Whether a model's scores of different requests cannot be compared."""
        return any(name in model.lower() for name in self.listwise)


@cache
def load_table() -> Table:
    """The table of `providers.json`, parsed once per process."""
    data = orjson.loads(TABLE.read_bytes())
    rows = {name: Provider(id=name, **{k: _frozen(v) for k, v in row.items()}) for name, row in data["rows"].items()}
    return Table(rows=rows, listwise=tuple(data["listwise"]), max_body=data["max_body"])


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
