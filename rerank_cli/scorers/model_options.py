"""Which kind of model an option is for: one that no model of a run takes would be ignored, so it is refused.

Permissions (`--allow-pickle`, `--allow-split`) and guards (`--offline`, `--require-revision`) are for any model: where
there is nothing to permit or refuse, they hold. It knows no command line and opens nothing.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import UsageError
from rerank_cli.options import options_of
from rerank_cli.scorers.fallback import PASSTHROUGH
from rerank_cli.scorers.registry import is_remote
from rerank_cli.settings import ModelSettings, RemoteSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# What says where an endpoint is and who asks: no fallback gets it (`registry.chain_of`).
OF_ENDPOINT = frozenset(
    {"endpoint", "api_key_env", "api_key_file", "auth_header", "client_name", "header", "extra", "insecure"}
)
OF_PROVIDER = frozenset(one.name for one in options_of(RemoteSettings)) - OF_ENDPOINT - {"dry_run"}


class Kind(NamedTuple):
    """Options, and the models that take them: `fits` says so of one, `what` and `other` name it and another one."""

    options: frozenset[str]
    fits: Callable[[ModelSettings], bool]
    what: str
    other: str
    hint: str
    for_fallbacks: bool = True


def check_reach(
    given: Mapping[str, str], models: Sequence[ModelSettings], fallbacks: Sequence[ModelSettings] = ()
) -> None:
    """Raise UsageError for an option that reaches none of the models; `given`: options by name, as they were written.

    Raises what `target.choose` raises for a model that is no provider's, where it has to be known.
    """
    for kind in KINDS:
        name = next((name for name in given if name in kind.options), None)
        reached = (*models, *fallbacks) if kind.for_fallbacks else models
        if name is not None and not any(map(kind.fits, reached)):
            message = f"{given[name]} belongs to {kind.what}, and `{models[0].model}` is {kind.other}"
            raise UsageError(message, kind.hint)


def keywords_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Keyword options of the Python API that differ from their defaults: option names to keywords."""
    declared = [one for record in (ModelSettings, RemoteSettings) for one in fields(record) if one.name in options]
    differing = [one for one in declared if options[one.name] != one.default and "option" in one.metadata]
    return {one.metadata["option"].name or one.name: one.name for one in differing}


def with_reach(options: Mapping[str, Any], model: ModelSettings, fallbacks: Sequence[ModelSettings]) -> dict[str, Any]:
    """Keyword options of the Python API without those that reach none of the models."""
    lost = set()
    for name, keyword in keywords_of(options).items():
        try:
            check_reach({name: keyword}, [model], fallbacks)
        except UsageError:
            lost.add(keyword)
    return {keyword: value for keyword, value in options.items() if keyword not in lost}


def _is_local(settings: ModelSettings) -> bool:
    return not is_remote(settings) and settings.model != PASSTHROUGH


def _is_chat(settings: ModelSettings) -> bool:
    from rerank_cli.scorers.remote.target import choose

    return is_remote(settings) and choose(settings.model, settings.remote).provider.kind == "order"


def _is_scoring(settings: ModelSettings) -> bool:
    return is_remote(settings) and not _is_chat(settings)


def _chooses_fields(settings: ModelSettings) -> bool:
    from rerank_cli.scorers.remote.target import choose

    return is_remote(settings) and bool(choose(settings.model, settings.remote).provider.rank_fields)


_NAME_PROVIDER = "leave it out, or name the model of a provider, such as `tei:` or `cohere:rerank-v3.5`"
_REMOTE = ("a remote endpoint", "a local model", _NAME_PROVIDER)
KINDS = (  # the first that an option is of says the most
    Kind(
        frozenset({"window_size", "window_step", "passes"}), _is_chat, "a chat model", "not a chat model",
        "leave it out, or name a chat model: `chat:MODEL`",
    ),
    Kind(OF_ENDPOINT, is_remote, *_REMOTE, for_fallbacks=False),
    Kind(OF_PROVIDER, is_remote, *_REMOTE),
    Kind(
        frozenset({"batch_docs"}), _is_scoring, "a provider that scores documents", "a chat model",
        "`--window-size` says how many documents a chat model orders at a time",
    ),
    Kind(
        frozenset({"native_rank_fields"}), _chooses_fields, "a provider that chooses fields", "of one that does not",
        "leave it out: the fields are rendered here",
    ),
    Kind(
        frozenset({"backend", "device", "dtype", "threads"}), _is_local, "a local model", "not one",
        "leave it out, or name a local model, such as `builtin`",
    ),
)  # fmt: skip
