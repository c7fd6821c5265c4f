"""From a model reference to a scorer: the one place that chooses the scorer.

Local references go to a backend, `provider:model` and named endpoints to `remote`. It opens nothing by itself.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from rerank_cli import models
from rerank_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rerank_cli.cache import ScoreCache
    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.scorers.fallback import FallbackScorer
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.scorers.remote.budget import Budget
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
    if settings.fallback:
        return _open_chain(settings, env, report, lambda one: open_scorer(one, env, report, cache))
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
    if settings.fallback:
        return _open_chain(settings, env, report, lambda one: open_now(one, env, report))
    if is_remote(settings):
        from rerank_cli.scorers.remote import open_remote

        return open_remote(settings.model, settings, env, report)
    from rerank_cli.scorers.open_local import open_local

    return open_local(settings, report)


def open_gateway(
    settings: ModelSettings, env: Mapping[str, str], report: Report, cache: CacheSettings | None, budget: Budget
) -> Gateway:
    """A remote model for many requests at once. `report` also receives what happens to the cache later on.

    Raises UsageError as `open_now` does, and if there are no credentials to sign requests with.
    """
    from rerank_cli.cache import ScoreCache
    from rerank_cli.cache_file import cache_path
    from rerank_cli.scorers.cached import remote_policy
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.scorers.remote import open_remote

    remote = open_remote(settings.model, settings, env, report, budget)
    store = ScoreCache(cache_path(env, cache.path), report, cache.mode, cache.max_bytes) if cache else None
    return Gateway(remote, store, remote_policy(remote.info.model))


def chain_of(settings: ModelSettings) -> tuple[ModelSettings, ...]:
    """The settings of each model of a chain, `-m` first. Raises UsageError for a model that follows `passthrough`.

    Address, key, headers, instruction, template, permissions and trusted code were given for `-m`: no other endpoint
    gets them. So it is with backend, device and precision if `-m` is a local model.
    """
    from rerank_cli.scorers.fallback import PASSTHROUGH

    if PASSTHROUGH in settings.fallback[:-1]:
        raise UsageError(f"--fallback {PASSTHROUGH} never fails, and a model follows it", "name it last")
    remote = replace(
        settings.remote, endpoint=None, api_key_env=None, api_key_file=None, auth_header=None, client_name=None,
        headers=(), extra=None, insecure=False,
    )  # fmt: skip
    plain = replace(
        settings, fallback=(), remote=remote, instruction=None, template=None, trust_remote_code=False,
        allow_pickle=False,
    )  # fmt: skip
    if not is_remote(settings):
        plain = replace(plain, backend="auto", device="auto", dtype="auto", load_as="auto")
    return (replace(settings, fallback=()), *(replace(plain, model=name) for name in settings.fallback))


def _open_chain(
    settings: ModelSettings, env: Mapping[str, str], report: Report, open_one: Callable[[ModelSettings], Scorer]
) -> FallbackScorer:
    """The chain; no model is opened yet. Raises UsageError for a fallback that could never work."""
    from rerank_cli.scorers.fallback import PASSTHROUGH, ChainModel, FallbackScorer, PassthroughScorer

    chain = chain_of(settings)
    for one in chain[1:]:
        require_possible(one, env)
    chain_models = [
        ChainModel(
            one.model, place, PassthroughScorer if one.model == PASSTHROUGH else partial(open_one, one), is_remote(one)
        )
        for place, one in enumerate(chain)
    ]
    return FallbackScorer(chain_models, lambda: _chain_digest(chain), report)


def require_possible(settings: ModelSettings, env: Mapping[str, str]) -> None:
    """Raise UsageError for a fallback that nothing can open; a key that is not set may be there when it counts."""
    from rerank_cli.errors import MissingKeyError
    from rerank_cli.scorers.fallback import PASSTHROUGH

    if is_remote(settings):
        from rerank_cli.scorers.remote.budget import check_budget, check_cost
        from rerank_cli.scorers.remote.cost import estimate
        from rerank_cli.scorers.remote.target import open_target

        with suppress(MissingKeyError):
            open_target(settings.model, settings, env)
        nothing = estimate(settings.model, (), settings)
        check_budget(nothing, 0, settings.remote.max_units)
        check_cost(nothing, 0, settings.remote.max_cost)
    elif settings.model != PASSTHROUGH:
        from rerank_cli.scorers.remote.providers import provider_hint

        models.require_known(settings.model, (*settings.remote.endpoints, PASSTHROUGH), provider_hint)


def _chain_digest(chain: Sequence[ModelSettings]) -> str:
    """What must not change between a run and its --resume: the models by name, since some may be out of reach."""
    from rerank_cli.models.templates import content_of

    deciding = [
        (one.model, one.backend, one.dtype, one.load_as, one.instruction, one.remote.endpoint, one.remote.extra)
        + ((content_of(one.template),) if one.template else ())
        for one in chain
    ]
    return sha256(repr(deciding).encode("utf-8", "surrogatepass")).hexdigest()


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
