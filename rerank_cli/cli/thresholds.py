"""`--min-score builtin=0.3,cohere=0.1`: which number belongs to which model of a run.

A score of one model says nothing about those of another, so each has a threshold of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli import models
from rerank_cli.errors import UsageError, did_you_mean
from rerank_cli.inside import is_hub_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.settings import ModelSettings

DEFAULT = "default"  # the models that no other key names


def min_scores_of(
    by_model: Mapping[str, float], chain: Sequence[ModelSettings], *, any_model: bool
) -> tuple[float | None, ...]:
    """The threshold of each model of a run; None for a model without one.

    The key that says most about a model counts: its name as given, then its provider, then `default`. Raises
    UsageError for a key that names no model of the run, or with `any_model`, as in a file, no model at all.
    """
    names = [names_of(one) for one in chain]
    known = [*(name for own in names for name in own), DEFAULT]
    others = other_models(chain[0]) if any_model else []
    for key in by_model:
        if key in known or key in others or (any_model and (":" in key or models.is_path(key) or is_hub_name(key))):
            continue
        hint = did_you_mean(key, [*known, *others]) or f"this run has {', '.join(one.model for one in chain)}"
        what = "neither a model nor a provider" if any_model else "not a model of this run"
        raise UsageError(f"--min-score: `{key}` is {what}", hint)
    return tuple(next((by_model[name] for name in (*own, DEFAULT) if name in by_model), None) for own in names)


def other_models(settings: ModelSettings) -> list[str]:
    """What models of another run may be called, besides hub names, folders and `provider:model`."""
    from rerank_cli.models.facts import BUILTIN
    from rerank_cli.scorers.remote.providers import load_table

    rows = load_table().rows.values()
    return [BUILTIN, *settings.remote.endpoints, *(name for row in rows for name in (row.id, *row.aliases))]


def names_of(settings: ModelSettings) -> list[str]:
    """What a model may be called, the names that say most first."""
    from rerank_cli.scorers.registry import is_remote

    reference = settings.model
    if not is_remote(settings):
        return list(dict.fromkeys([reference, reference.partition("@")[0]]))
    from rerank_cli.scorers.remote.target import choose

    choice = choose(reference, settings.remote)
    providers = (choice.provider.id, *choice.provider.aliases)
    whole = [f"{provider}:{choice.model}" for provider in providers]
    return [reference, *whole, *providers]
