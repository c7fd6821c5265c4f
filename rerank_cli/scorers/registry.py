"""From a model reference to a scorer: the one place that chooses the scorer.

Local references go to a backend, `provider:model` and named endpoints to `remote`. It opens nothing by itself.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli import models
from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.cache import ScoreCache
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.scorers.remote.cost import Budget
    from rerank_cli.settings import CacheSettings, ModelSettings


def is_remote(settings: ModelSettings) -> bool:
    """Whether a reference names a provider (`cohere:…`) or a named endpoint of the configuration."""
    name = settings.model
    return (":" in name or name in settings.remote.endpoints) and not models.is_path(name)


def open_scorer(
    settings: ModelSettings, env: Mapping[str, str], report: Report, cache: CacheSettings | None = None
) -> Scorer:
    """The scorer of `settings.model`, behind the score cache if there is one; a local one is opened at its first pair.

    Raises ModelError, UsageError or RemoteError with a hint, for a model that is missing at once. With `offline`,
    endpoints beyond this machine are refused, with a cache only at the first pair that it does not know.
    """
    if cache is not None:
        return _open_cached(settings, env, report, cache)
    if is_remote(settings):
        return open_now(settings, env, report)
    from rerank_cli.scorers.deferred import DeferredScorer
    from rerank_cli.scorers.open_local import make_plan, open_plan

    plan = make_plan(settings)
    return DeferredScorer(plan.info, partial(open_plan, plan, settings, report))


def open_now(settings: ModelSettings, env: Mapping[str, str], report: Report) -> Scorer:
    """The scorer of `settings.model`, ready to score. Raises ModelError, UsageError or RemoteError with a hint."""
    if is_remote(settings):
        from rerank_cli.scorers.remote import open_remote

        return open_remote(settings.model, settings, env, report)
    from rerank_cli.scorers.open_local import open_local

    return open_local(settings, report)


def open_gateway(
    settings: ModelSettings, env: Mapping[str, str], report: Report, cache: CacheSettings | None, budget: Budget
) -> Gateway:
    """A remote model for many requests at once. `report` also receives what happens to the cache later on.

    Raises UsageError as `open_now` does, and if the budget counts what the provider does not bill.
    """
    from rerank_cli.cache import ScoreCache
    from rerank_cli.cache_file import cache_path
    from rerank_cli.scorers.cached import remote_policy
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.scorers.remote import open_remote
    from rerank_cli.scorers.remote.cost import check_unit
    from rerank_cli.scorers.remote.target import choose

    if budget.most is not None:
        check_unit(choose(settings.model, settings.remote))
    remote = open_remote(settings.model, settings, env, report, budget)
    store = ScoreCache(cache_path(env, cache.path), report, cache.mode, cache.max_bytes) if cache else None
    return Gateway(remote, store, remote_policy(remote.info.model))


def _open_cached(settings: ModelSettings, env: Mapping[str, str], report: Report, cache: CacheSettings) -> Scorer:
    """A scorer that is opened only if the cache does not know every pair."""
    from rerank_cli.cache import ScoreCache
    from rerank_cli.cache_file import cache_path

    store = ScoreCache(cache_path(env, cache.path), report, cache.mode, cache.max_bytes)
    try:
        return _behind(store, settings, env, report)
    except BaseException:
        store.close()
        raise


def _behind(store: ScoreCache, settings: ModelSettings, env: Mapping[str, str], report: Report) -> Scorer:
    from rerank_cli.scorers.cached import CachedScorer, remote_policy

    if is_remote(settings):
        remote = open_scorer(replace(settings, offline=False), env, report)  # opening sends nothing
        policy = remote_policy(remote.info.model)
        return CachedScorer(remote.info, lambda: _checked(remote, settings, env), store, report, policy)
    from rerank_cli.scorers.open_local import identify

    return CachedScorer(identify(settings), lambda: open_scorer(settings, env, report), store, report)


def _checked(remote: Scorer, settings: ModelSettings, env: Mapping[str, str]) -> Scorer:
    """A remote scorer that is about to send. Raises UsageError if it may not: the cache did not know every pair."""
    from rerank_cli.scorers.remote.target import open_target

    try:
        open_target(settings.model, settings, env)
    except UsageError as error:
        raise UsageError(f"{error.message}, and the score cache does not know every pair", error.hint) from None
    return remote
