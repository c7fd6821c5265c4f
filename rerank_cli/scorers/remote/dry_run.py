"""What a run refuses before its first request, found without sending one and without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.net import is_variable
from rerank_cli.scorers.remote import open_remote
from rerank_cli.scorers.remote.target import choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.settings import Limits, ModelSettings

FROM_ENV = "@env:"  # of --header


def check_run(
    pairs: Sequence[Pair], settings: ModelSettings, limits: Limits, env: Mapping[str, str], report: Report
) -> ScorerInfo:
    """Open the model and check the pairs as a run does; a key that is not set is noted, not refused.

    `report` gets warnings and notes. Raises the UsageError or ConfigError that the run would raise, but for one: the
    caller reports --max-units beside the estimate if it is too low.
    """
    missing = _missing_keys(settings, env)
    for name in missing:
        report.note(f"without --dry-run a key is needed: the environment variable `{name}` is unset")
    scorer = open_remote(settings.model, settings, {**env, **missing}, report)
    try:
        scorer.check(pairs, limits)
        return scorer.info
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
