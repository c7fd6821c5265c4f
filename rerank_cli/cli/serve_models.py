"""The configuration of `serve` as the server takes it: settings with keys, and a plan for each model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.cli.rules import refuse_without_reach
from rerank_cli.errors import UsageError
from rerank_cli.settings import CacheSettings, ModelSettings, RemoteSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.cli.sources import Call
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.scorers.gateway import Gateway
    from rerank_cli.scorers.remote.budget import Budget
    from rerank_cli.server.models import ModelPlan
    from rerank_cli.terminal import Terminal

# Options of one endpoint: with two providers, one would get what is meant for the other.
OF_ONE_PROVIDER = ("endpoint", "api_key_env", "api_key_file", "auth_header", "header", "extra")


def plans_of(call: Call, served_names: Sequence[str], budget: Budget) -> list[ModelPlan]:
    """A plan for each `-m`. Raises UsageError for options that fit none of the models, or not all of them."""
    from rerank_cli.scorers.registry import is_remote

    models = models_of(call)
    remote = [model for model in models if is_remote(model)]
    refuse_without_reach(call, models)
    refuse_mixed_providers(call, remote)
    fallbacks = fallbacks_of(call, models)
    names = names_of([model.model for model in models], served_names)
    settings = call.settings(CacheSettings)
    cache = settings if settings.enabled else None
    kept = next((name for name in ("cache_path", "cache_mode", "cache") if call.is_typed(name)), None)
    if cache and kept and not any(map(is_remote, (*models, *fallbacks))):
        message = f"--{kept.replace('_', '-')} is for scores of providers, and no model is a provider's"
        raise UsageError(message, "leave it out")

    def plan(model: ModelSettings, own: Sequence[str]) -> ModelPlan:
        if is_remote(model):
            return remote_plan(model, own, cache, budget, call.terminal)
        return local_plan(model, own, call.terminal)

    plans = [plan(model, names[model.model]) for model in models]
    return [*plans, *(replace(plan(model, ()), fallback=True) for model in fallbacks)]


def fallbacks_of(call: Call, models: Sequence[ModelSettings]) -> list[ModelSettings]:
    """The settings of each --fallback. Raises UsageError for one that could never work."""
    from rerank_cli.scorers.registry import chain_of, require_possible

    settings = call.settings(ModelSettings)
    if settings.fail_closed and settings.fallback:
        raise UsageError("--fallback and --fail-closed exclude each other", "give one of them")
    first = replace(models[0], fallback=settings.fallback)
    chain = list(chain_of(first)[1:])
    for one in chain:
        require_possible(one, call.terminal.env)
    return chain


def models_of(call: Call) -> list[ModelSettings]:
    """The settings of each model, in order."""
    named = call.values["model"]
    base = call.settings(ModelSettings)
    remote = replace(base.remote, endpoints=call.endpoints, prices=call.prices, refuse_waits=True)
    names = dict.fromkeys([named] if isinstance(named, str) else named)  # a single text: the default
    return [replace(base, model=name, fallback=(), remote=remote) for name in names]


def names_of(models: Sequence[str], served_names: Sequence[str]) -> dict[str, list[str]]:
    """What clients may call each model: its reference, and what --served-name says, `NAME` of the first model."""
    names = {model: [model] for model in models}
    for name in served_names:
        alias, _, model = name.partition("=")
        if model in names:
            names[model].append(alias)
        else:
            names[models[0]].append(name)
    return names


def refuse_mixed_providers(call: Call, remote: Sequence[ModelSettings]) -> None:
    """Raise UsageError if a key, header or address is given that would go to several providers."""
    from rerank_cli.scorers.remote.target import choose

    given = next((name for name in OF_ONE_PROVIDER if call.is_set(name)), None)
    if given and len({choose(model.model, model.remote).provider.id for model in remote}) > 1:
        message = f"--{given.replace('_', '-')} would count for all providers"
        raise UsageError(message, "describe each in a file given with --config: [endpoints.NAME], and then `-m NAME`")


def local_plan(model: ModelSettings, names: Sequence[str], terminal: Terminal) -> ModelPlan:
    """A local model; equal settings are an equal model, so that a reload does not load it again."""
    from rerank_cli.models.templates import content_of
    from rerank_cli.scorers.fallback import PASSTHROUGH, PassthroughScorer
    from rerank_cli.server.models import ModelPlan

    if model.model == PASSTHROUGH:
        return ModelPlan(tuple(names), PASSTHROUGH, open_scorer=PassthroughScorer)
    identity = replace(model, remote=RemoteSettings())
    return ModelPlan(
        tuple(names), repr(identity) + content_of(model.template), open_scorer=partial(open_model, model, terminal)
    )


def remote_plan(
    model: ModelSettings, names: Sequence[str], cache: CacheSettings | None, budget: Budget, terminal: Terminal
) -> ModelPlan:
    """A remote model, which may be called by the provider's own name for it, too."""
    from rerank_cli.scorers.remote.target import choose
    from rerank_cli.server.models import ModelPlan

    own = choose(model.model, model.remote).model
    return ModelPlan(
        (*names, own) if own and names else tuple(names),
        open_gateway=partial(open_remote, model, cache, budget, terminal),
    )


def open_model(model: ModelSettings, terminal: Terminal) -> Scorer:
    """The scorer, and what is to be said of it. Raises ModelError or UsageError."""
    from rerank_cli.cli.rank import describe
    from rerank_cli.scorers.open_local import open_local
    from rerank_cli.server.log import LoggedReport

    scorer = open_local(model, LoggedReport(terminal))
    terminal.detail(describe(scorer.info))
    return scorer


def open_remote(model: ModelSettings, cache: CacheSettings | None, budget: Budget, terminal: Terminal) -> Gateway:
    """The gateway, and where texts will go. Raises UsageError or ConfigError."""
    from rerank_cli.scorers.registry import open_gateway
    from rerank_cli.server.log import LoggedReport

    gateway = open_gateway(model, terminal.env, LoggedReport(terminal), cache, budget)
    terminal.note(f"requests for {gateway.info.model} are sent to {gateway.info.reason}")
    return gateway
