"""The providers as data: one row each in `providers.json`, read once; names, aliases, which one a reference means.

It knows nothing of keys, requests or the network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from rerank_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

# What is written before the colon elsewhere -> what to write here for a model.
MEANT = {"openai": "chat:{}", "ollama": "chat:{} --endpoint http://localhost:11434", "huggingface": "{}", "hf": "{}"}
TABLE = Path(__file__).with_name("providers.json")
Unit = Literal["search_units", "tokens", "rerank_units", "queries"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """How one provider is called. Paths are dotted (`input.query`); None = the provider has no such thing.

    Columns with a default may be left out of a row.
    """

    id: str
    title: str
    aliases: tuple[str, ...]  # two rows may share one; then `when` decides
    when: tuple[str, ...]  # an endpoint that contains one of these means this row of a shared alias
    # endpoint
    base: str  # {placeholders} mean that --endpoint is needed, unless `variables` fills them
    # {model}: the name as one part of the path; {model_name}: its slashes stay; {model_path}: see `model_paths`.
    path: str
    url_rule: Literal["overlap", "azure", "chat"]
    # Placeholder of base, path, headers and model_form -> the environment variables that may hold its value.
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # authentication
    auth: tuple[str, str]  # header name, value with {key}
    headers: Mapping[str, str]
    keys: tuple[str, ...]  # environment variables, the provider's usual one first
    key_required: bool
    key_hosts: Mapping[str, str]  # key prefix -> base that such keys belong to
    # Without a key, requests are signed: ("aws", service to sign for) or ("google", OAuth scope), see signers.py.
    signer: tuple[Literal["aws", "google"], str] | None = None
    # request
    model: str | None
    model_required: bool
    model_default: str | None
    example: str = ""  # a model for examples
    model_paths: Mapping[str, str]  # models whose {model_path} does not follow from their name
    model_form: str = "{model}"  # how the body names the model; of `arn:…`, a name with this scheme is sent as it is
    query: str
    query_form: Any = "{query}"  # what stands at `query`: any JSON with the placeholder in it
    query_per_document: bool = False  # `query` is a list that repeats the query once per document
    docs: str
    doc: Any  # "str": a string; "text": {"text": string}; or any JSON with the placeholders {text} and {index} in it
    top: str | None
    fixed: Mapping[str, Any]
    max_tokens: str | None  # field for --max-tokens-per-doc
    max_chunks: str | None  # field for --max-chunks-per-doc
    instruction: str | None
    instruction_form: str | None = None  # where instructions go into the query: how, with {instruction} and {query}
    instruction_models: str = ""  # regular expression: the models that follow instructions
    rank_fields: str | None  # the provider takes objects and chooses fields itself
    native_by_default: bool  # objects and rank_fields travel without --native-rank-fields
    # response
    results: str  # "" = the body itself is the array
    index: str
    index_kind: Literal["number", "text", "position"] = "number"  # text: digits; position: results are bare numbers
    score: str
    kind: Literal["unit", "logit", "model", "upstream", "order"]  # order: a chat model, see order.py
    usage: str | None  # dotted path of a counter or of an object of counters, or `header:name`
    error: tuple[str, ...]
    # limits
    max_docs: int  # documents per request unless --batch-docs changes it
    hard_docs: int | None  # the provider refuses more
    max_body: int | None  # bytes
    request_tokens: int | None  # query x documents + documents
    requests_per_minute: int | None
    tokens_per_minute: int | None
    # What is billed. Rerank units cannot be estimated (cost.py); queries have up to 100 documents each.
    billing: Unit | None
    billing_models: Mapping[str, Unit] = field(default_factory=dict)  # regular expression -> unit; the first one counts
    own_models: str = ""  # regular expression: models that no other provider calls by these names
    # no column: what the user wrote, an alias or a named endpoint
    written: str = ""

    @property
    def shown(self) -> str:
        """What messages call it: as the user wrote it."""
        return self.written or self.id

    @property
    def scale(self) -> str:
        """What `ScorerInfo.scale` says: scores travel as received, so only raw logits are named."""
        return "logit" if self.kind == "logit" else "vendor"

    @property
    def doc_form(self) -> Any:
        """What a document is sent as: JSON with the placeholders {text} and {index} in it."""
        return {"str": "{text}", "text": {"text": "{text}"}}[self.doc] if isinstance(self.doc, str) else self.doc

    def billed_in(self, model: str) -> Unit | None:
        """The unit that a model is billed in; None if that is not known or nothing is billed."""
        units = (unit for pattern, unit in self.billing_models.items() if re.search(pattern, model.lower()))
        return next(units, self.billing)

    @property
    def has_instruction(self) -> bool:
        """Whether --instruction has a place in its requests: a field, or the query."""
        return bool(self.instruction or self.instruction_form)

    def follows_instruction(self, model: str) -> bool:
        """Whether a model follows --instruction."""
        return self.has_instruction and bool(re.search(self.instruction_models, model.lower()))

    def query_with(self, instruction: str | None, query: str) -> str:
        """The query as it is sent: with the instruction in it where the provider has no field for one."""
        if not instruction or not self.instruction_form:
            return query
        values = {"{instruction}": instruction, "{query}": query}
        return re.sub(r"{(instruction|query)}", lambda found: values[found[0]], self.instruction_form)


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A reference after names are looked up: provider, model, endpoint, and the variable of its key."""

    provider: Provider
    model: str
    endpoint: str | None
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """All providers by id, and what is common to them."""

    rows: Mapping[str, Provider]
    # Parts of the names of models whose scores depend on the other documents of the request -> how much they read at
    # once: `max_docs` and `request_tokens`, as the model's documentation says; none: no limit is documented.
    listwise: Mapping[str, Mapping[str, int]]
    max_body: int  # bytes per request where the provider has no own limit

    def names(self) -> list[str]:
        """Every name that may precede the colon, ids first."""
        aliases = {alias for row in self.rows.values() for alias in row.aliases}
        return [*self.rows, *sorted(aliases - set(self.rows))]

    def find(self, name: str, endpoint: str | None = None) -> Provider:
        """The row of an id or alias; a shared alias depends on the endpoint.

        Raises UsageError: no provider has this name.
        """
        sharing = self.sharing(name)
        matching = [row for row in sharing if any(part in (endpoint or "").lower() for part in row.when)]
        return (matching or sharing)[0]

    def sharing(self, name: str) -> list[Provider]:
        """The row of an id, or the rows that share an alias. Raises UsageError: no provider has this name."""
        wanted = name.lower()
        if wanted in self.rows:
            return [self.rows[wanted]]
        sharing = [row for row in self.rows.values() if wanted in row.aliases]
        if not sharing:
            hint = did_you_mean(wanted, self.names())
            raise UsageError(f"unknown provider `{name}`", hint or "`rerank models providers` lists all")
        return sharing

    def hint(self, reference: str) -> str | None:
        """What a reference that names no model means here: a provider without a model, or a model without provider."""
        name, _, model = reference.partition(":")
        if meant := MEANT.get(name.lower()):
            return f"did you mean `-m {meant.format(model or 'MODEL')}`?"
        if name.lower() in self.names():
            example = self.find(name).example
            others = ", or another of its models after the colon" if example else ""
            return f"`{name}` is a provider: `-m {name}:{example}`{others}"
        row = next((row for row in self.rows.values() if re.fullmatch(row.own_models or "(?!)", name.lower())), None)
        return f"did you mean `-m {min((row.id, *row.aliases), key=len)}:{name}`?" if row else None

    def is_listwise(self, model: str) -> bool:
        """Whether a model's scores of different requests cannot be compared."""
        return any(name in model.lower() for name in self.listwise)

    def with_limits(self, provider: Provider, model: str) -> Provider:
        """The provider, with the limits of a listwise model where they are lower than its own."""
        for name, limits in self.listwise.items():
            if limits and name in model.lower():
                tokens = min(provider.request_tokens or limits["request_tokens"], limits["request_tokens"])
                return replace(provider, max_docs=min(provider.max_docs, limits["max_docs"]), request_tokens=tokens)
        return provider


def provider_hint(reference: str) -> str | None:
    """The hint for a model that is not on this machine, if it belongs to a provider."""
    return load_table().hint(reference)


@cache
def load_table() -> Table:
    """The table of `providers.json`, parsed once per process."""
    data = orjson.loads(TABLE.read_bytes())
    rows = {name: Provider(id=name, **{k: _frozen(v) for k, v in row.items()}) for name, row in data["rows"].items()}
    return Table(rows=rows, listwise=data["listwise"], max_body=data["max_body"])


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
