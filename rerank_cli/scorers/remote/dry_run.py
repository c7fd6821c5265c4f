"""What a run refuses before its first request, found without sending one and without a key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rerank_cli.net import is_variable
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.target import choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.settings import Limits, ModelSettings

FROM_ENV = "@env:"  # of --header


def check_run(
    pairs: Sequence[Pair], settings: ModelSettings, limits: Limits, env: Mapping[str, str], report: Report
) -> None:
    """Raise the UsageError or ConfigError that scoring these pairs would raise; a key that is not set is none.

    The limit of --max-units is left to the caller, who reports it beside the estimate. `report` receives the warnings.
    """
    settings = replace(settings, remote=replace(settings.remote, max_units=None))
    scorer = open_remote(settings.model, settings, {**env, **_missing_keys(settings, env)}, report)
    try:
        scorer.check(pairs, limits)
    finally:
        scorer.close()


def _missing_keys(settings: ModelSettings, env: Mapping[str, str]) -> dict[str, str]:
    """A value for each variable that should hold a key and is unset."""
    remote, choice = settings.remote, choose(settings.model, settings.remote)
    required = choice.provider.keys[:1] if choice.provider.key_required and not remote.api_key_file else ()
    headers = [header.partition(FROM_ENV)[2].strip() for header in remote.headers if FROM_ENV in header]
    named = [name for name in (remote.api_key_env, choice.key_env, *headers) if name]
    known = any(env.get(name) for name in choice.provider.keys)
    names = named or ([] if known else required)
    return {name: "not-set" for name in names if is_variable(name) and not env.get(name, "").strip()}
