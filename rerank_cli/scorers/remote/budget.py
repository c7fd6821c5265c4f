"""--max-units and --max-cost: what may still be sent, and what has been used.

It takes estimates as they are, and does not know how they are made.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rerank_cli.billing import digits
from rerank_cli.errors import UsageError
from rerank_cli.scorers.remote.cost import SINGULAR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.scorers.remote.cost import Estimate
    from rerank_cli.scorers.remote.providers import ProviderModel


def check_cost(expected: Estimate, spent: float, max_cost: float | None) -> None:
    """Raise UnitsSpentError for what would cost more than --max-cost, UsageError if no price is known."""
    if max_cost is None:
        return
    name = name_of(expected)
    if expected.units is None:
        unit = f"{SINGULAR.get(expected.unit, expected.unit)}s" if expected.unit else "nothing that is known"
        raise UsageError(f"--max-cost: {name} bills {unit}, which cannot be counted beforehand", "leave it out")
    if expected.cost is None:
        raise UsageError(f"--max-cost needs the price of {name}", price_hint(expected))
    if spent + expected.cost > max_cost:
        already = f" besides {digits(spent)} already spent" if spent else ""
        message = f"this would cost about {digits(expected.cost)}{already}, more than --max-cost {digits(max_cost)}"
        raise UnitsSpentError(message, "raise --max-cost, send fewer documents, or see --dry-run")


def price_hint(expected: Estimate) -> str:
    """Where the price of what a model bills is written."""
    unit, example = SINGULAR.get(expected.unit or "", "unit"), 0.0000002 if expected.unit == "tokens" else 0.002
    where = "under [prices] in the user's configuration file"
    return f'write the price of one {unit} {where}: "{name_of(expected)}" = {digits(example)}'


def name_of(expected: Estimate) -> str:
    """The model as a user names it."""
    return f"{expected.provider}:{expected.model}".rstrip(":")


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
    hint = "leave --max-units out" + ("; --max-cost limits the cost" if unit in {"tokens", "queries"} else "")
    return UsageError(f"--max-units counts search units, but {provider} {bills}", hint)


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
