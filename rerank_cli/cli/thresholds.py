"""`--min-score builtin=0.3,cohere=0.1`: which number belongs to which model of a run.

A score of one model says nothing about those of another, so each has a threshold of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli import models
from rerank_cli.errors import UsageError, did_you_mean

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
    for key in by_model:
        if key in known or (any_model and could_be_model(key, chain[0])):
            continue
        hint = did_you_mean(key, known) or f"this run has {', '.join(one.model for one in chain)}"
        raise UsageError(
            f"--min-score: `{key}` is {'neither a model nor a provider' if any_model else 'not a model of this run'}",
            hint,
        )
    return tuple(next((by_model[name] for name in (*own, DEFAULT) if name in by_model), None) for own in names)


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


def could_be_model(key: str, settings: ModelSettings) -> bool:
    """Whether a key names a model or a provider that another run may use."""
    from rerank_cli.scorers.remote.providers import load_table

    if ":" in key or key in settings.remote.endpoints:
        return True
    try:
        load_table().find(key)
    except UsageError:
        try:
            models.require_known(key)
        except UsageError:
            return False
    return True
