"""What a run will cost: requests, tokens by length, search units, price. No network."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.billing import DOCUMENTS_PER_UNIT, chunk_of, search_units
from rerank_cli.errors import UsageError
from rerank_cli.scorers.remote.order import step_of, windows
from rerank_cli.scorers.remote.providers import load_table
from rerank_cli.scorers.remote.split import Batch, QueryGroup, cut, find_bounds, group_pairs
from rerank_cli.scorers.remote.target import choose
from rerank_cli.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.scorers.remote.providers import Provider, ProviderModel
    from rerank_cli.settings import ModelSettings, RemoteSettings


PASSAGE_TOKENS = 400  # of a passage in the prompt of a chat model: RankGPT cuts at 300 words
PROMPT_TOKENS, PER_PASSAGE, PER_IDENTIFIER = 160, 4, 5  # of the prompt without its passages; `[12] > ` in a reply
REASONING = "what a reasoning model writes before its order is billed too, and is not in the estimate"
_SINGULAR = {"tokens": "token", "search_units": "search unit", "rerank_units": "rerank unit", "queries": "query"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will probably use. `units` counts what the provider bills; None = unknown or nothing."""

    provider: str
    model: str
    requests: int
    documents: int
    tokens: int
    unit: str | None = None  # of `providers.Unit`
    units: float | None = None
    cost: float | None = None  # in the currency of [prices]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderEstimate(Estimate):
    """An estimate whose `tokens` are those of prompts and replies together."""

    input_tokens: int = 0
    output_tokens: int = 0


def billing_of(provider: Provider, model: str) -> tuple[str | None, int | None]:
    """What a model of a provider is billed in, and the billing chunk of search units."""
    unit = provider.billed_in(model)
    return unit, chunk_of(model) if unit == "search_units" else None


def estimate_batches(provider: Provider, model: str, batches: Iterable[Batch], prices: Mapping[str, float]) -> Estimate:
    """The estimate for batches as they would be sent."""
    unit, chunk = billing_of(provider, model)
    requests = documents = tokens = 0
    units = 0.0
    queries = 0
    for batch in batches:
        requests += 1
        queries += -(-len(batch.items) // DOCUMENTS_PER_UNIT)
        documents += batch.documents
        tokens += batch.tokens
        if chunk:
            units += search_units(batch.group.query_tokens, (item.tokens for item in batch.items), chunk)
    billed = {"search_units": units, "tokens": float(tokens), "queries": float(queries)}.get(unit or "")
    price = price_of(provider, model, prices)
    cost = billed * price if billed is not None and price is not None else None
    return Estimate(provider.id, model, requests, documents, tokens, unit, billed, cost, _notes(unit, chunk, model))


def price_of(provider: Provider, model: str, prices: Mapping[str, float]) -> float | None:
    """The price of one unit of a model: that of `provider:model`, else of the provider, else of the model's name."""
    names = [name + part for part in (f":{model}", "") for name in (provider.id, *provider.aliases)]
    return next((prices[name] for name in (*names, model) if name in prices), None)


def _notes(unit: str | None, chunk: int | None, model: str) -> tuple[str, ...]:
    notes = ["tokens are estimated from the length of the texts"]
    if chunk and re.search(r"rerank-v?4", model.lower()):
        notes.append("the billing chunk of v4 models is not documented: 500 tokens assumed")
    if unit == "search_units":
        notes.append("search units are an upper estimate: the reply has the exact count")
    return tuple(notes)


def estimate(reference: str, pairs: Sequence[Pair], settings: ModelSettings, limits: Limits | None = None) -> Estimate:
    """What scoring these pairs would send and cost, without sending anything; needs no key (for `--dry-run`).

    `settings.remote.prices` maps `provider:model`, a model or a provider to the price of one unit: a search unit, or a
    token where tokens are billed. Raises UsageError: an unknown provider, a blank query, or limits that cannot be kept.
    """
    choice = choose(reference, settings.remote)
    provider, model = choice.provider, choice.model or choice.provider.model_default or ""
    bounds = find_bounds(provider, settings.remote, (limits or Limits()).max_chunks_per_doc)
    if provider.kind == "order":
        groups, _ = group_pairs(pairs, share=True)
        return estimate_order(provider, model, groups, settings.remote, passage_tokens(limits or Limits()))
    ask = partial(provider.query_with, settings.instruction)
    groups, _ = group_pairs(pairs, ask=ask, share=not load_table().is_listwise(model))
    return estimate_batches(provider, model, cut(groups, bounds, lambda: bounds.documents), settings.remote.prices)


def together(first: Estimate, highlights: Estimate) -> Estimate:
    """The estimate of a run that also scores sentences for --highlight."""
    requests = "1 request" if highlights.requests == 1 else f"{highlights.requests:,} requests"
    note = f"--highlight is included: at most {highlights.documents:,} sentences in {requests}"
    return replace(
        first,
        requests=first.requests + highlights.requests,
        documents=first.documents + highlights.documents,
        tokens=first.tokens + highlights.tokens,
        units=None if first.units is None else first.units + (highlights.units or 0.0),
        cost=None if first.cost is None else first.cost + (highlights.cost or 0.0),
        notes=(*first.notes, note),
    )


def passage_tokens(limits: Limits) -> int:
    """Tokens of a passage in a prompt: as --max-tokens-per-doc says, else what leaves room for the others."""
    most = limits.max_tokens_per_doc
    return PASSAGE_TOKENS if most == Limits().max_tokens_per_doc else most


def estimate_order(
    provider: Provider, model: str, groups: Sequence[QueryGroup], remote: RemoteSettings, most: int
) -> Estimate:
    """The estimate for a chat model that orders the documents of each query, window by window."""
    prices = remote.prices
    found = [estimate_tokens_of(provider, model, 0, 0, prices, requests=0)]
    for group in groups:
        sizes = [min(item.tokens, most) + PER_PASSAGE for item in group.items]
        for start, end in windows(len(sizes), remote.window_size, step_of(remote), remote.passes):
            if end - start > 1:
                tokens = PROMPT_TOKENS + 2 * group.query_tokens + sum(sizes[start:end])
                found.append(estimate_tokens_of(provider, model, tokens, end - start, prices))
    whole = found[0]
    for one in found[1:]:
        cost = None if whole.cost is None or one.cost is None else whole.cost + one.cost
        requests, tokens = whole.requests + one.requests, whole.tokens + one.tokens
        asked, replied = whole.input_tokens + one.input_tokens, whole.output_tokens + one.output_tokens
        whole = replace(whole, requests=requests, tokens=tokens, units=float(tokens), cost=cost)
        whole = replace(whole, input_tokens=asked, output_tokens=replied)
    return replace(whole, documents=sum(len(item.places) for group in groups for item in group.items))


def estimate_tokens_of(
    provider: Provider, model: str, asked: int, passages: int, prices: Mapping[str, float], requests: int = 1
) -> OrderEstimate:
    """The estimate of one prompt of `asked` tokens; the reply holds an identifier per passage."""
    replied = passages * PER_IDENTIFIER
    price, own = price_of(provider, model, prices), price_of(provider, f"{model}:output", prices)
    cost = None if price is None else asked * price + replied * (price if own is None else own)
    tokens = asked + replied
    notes = ("tokens are estimated from the length of the texts", REASONING)
    billed = ("tokens", float(tokens), cost, notes)
    return OrderEstimate(provider.id, model, requests, passages, tokens, *billed, asked, replied)


def cost_of(expected: Estimate, used: Mapping[str, float], prices: Mapping[str, float]) -> float:
    """What a reply cost by what it counts, else what was expected; 0 without a price."""
    provider = load_table().rows[expected.provider]
    price, own = (price_of(provider, expected.model + part, prices) for part in ("", ":output"))
    if price is None:
        return 0.0
    if expected.unit != "tokens":
        return used.get(expected.unit or "", expected.units or 0.0) * price
    if "prompt_tokens" not in used:
        return used["total_tokens"] * price if "total_tokens" in used else expected.cost or 0.0
    replied = used.get("completion_tokens", 0.0)
    return used["prompt_tokens"] * price + replied * (price if own is None else own)


def check_cost(expected: Estimate, spent: float, max_cost: float | None) -> None:
    """Refuse to start what would cost more than --max-cost.

    Raises UnitsSpentError: it would; UsageError: no price is known.
    """
    if max_cost is None:
        return
    name = f"{expected.provider}:{expected.model}"
    if expected.cost is None:
        unit = _SINGULAR.get(expected.unit or "", "unit")
        hint = f'write the price of one {unit} into a configuration file: [prices] "{name}" = 0.0000002'
        raise UsageError(f"--max-cost needs the price of {name}", hint)
    if spent + expected.cost > max_cost:
        already = f" besides {spent:.4g} already spent" if spent else ""
        message = f"this would cost about {expected.cost:.4g}{already}, more than --max-cost {max_cost:g}"
        raise UnitsSpentError(message, "raise --max-cost, send fewer documents, or see --dry-run")


def check_budget(expected: Estimate, used: float, max_units: int | None) -> None:
    """Refuse to start what would use more than --max-units.

    Raises UnitsSpentError: it would; UsageError: the provider bills in something else.
    """
    if max_units is None:
        return
    if expected.unit != "search_units" or expected.units is None:
        raise not_in_units(expected.provider, expected.unit)
    if used + expected.units > max_units:
        already = f" besides {used:,.0f} already used" if used else ""
        raise UnitsSpentError(
            f"this would use about {expected.units:,.0f} search units{already}, more than --max-units {max_units:,}",
            "raise --max-units, send fewer documents, or see --dry-run",
        )


def not_in_units(provider: str, unit: str | None) -> UsageError:
    """--max-units for a provider that bills in something else than search units."""
    bills = f"bills {unit}" if unit else "has no known billing"
    return UsageError(f"--max-units counts search units, but {provider} {bills}", "leave --max-units out")


def check_unit(choice: ProviderModel) -> None:
    """Raise UsageError unless this model is billed in search units: --max-units counts nothing else."""
    unit = choice.provider.billed_in(choice.model)
    if unit != "search_units":
        raise not_in_units(choice.provider.shown, unit)


class UnitsSpentError(UsageError):
    """A request would use more than --max-units or --max-cost has left."""


class Spent:
    """What a process has used: from replies, estimated where replies have none; guarded by `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.used = 0.0  # search units
        self.reserved = 0.0  # of requests that are being sent
        self.cost = 0.0  # in the currency of [prices]
        self.pending = 0.0  # what requests that are being sent will cost


class Budget:
    """--max-units and --max-cost for all requests of a process, over any number of threads and models; None: no limit.

    What is sent is reserved at its estimate, so requests that are sent at the same time cannot exceed it together.
    """

    def __init__(self, most: int | None, spent: Spent | None = None) -> None:
        self.most = most
        self._spent = spent or Spent()

    @property
    def cost(self) -> float:
        """What all replies of the process cost."""
        return self._spent.cost

    @contextmanager
    def paying(self, expected: Estimate, max_cost: float | None) -> Iterator[None]:
        """Keep money for what is about to be sent. Raises as `check_cost` does."""
        spent, cost = self._spent, expected.cost or 0
        with spent.lock:
            check_cost(expected, spent.cost + spent.pending, max_cost)
            spent.pending += cost
        try:
            yield
        finally:
            with spent.lock:
                spent.pending -= cost

    def pay(self, cost: float) -> None:
        """A reply cost so much."""
        with self._spent.lock:
            self._spent.cost += cost

    @contextmanager
    def reserve(self, expected: Estimate, max_cost: float | None = None) -> Iterator[None]:
        """Keep room for what is about to be sent. Raises as `check_budget` and `check_cost` do."""
        spent, units = self._spent, expected.units or 0
        with spent.lock:
            check_budget(expected, spent.used + spent.reserved, self.most)
            spent.reserved += units
        try:
            with self.paying(expected, max_cost):
                yield
        finally:
            with spent.lock:
                spent.reserved -= units

    def spend(self, units: float) -> None:
        """A reply was billed."""
        with self._spent.lock:
            self._spent.used += units
