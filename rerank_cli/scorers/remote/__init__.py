"""Remote rerank endpoints: every provider is a row of `providers.json`, one client serves them all.

    table      the rows            target    reference + settings -> URL, headers, constants
    keys       secrets             wire      requests and replies as JSON
    split      batches             pace      rate limits           retries   trying again
    client     one HTTP exchange   judge     what a reply means    workers   threads
    cost       estimates           scorer    all of it as a `Scorer`

Importing this package costs nothing: httpx2 and stamina are loaded late. Nothing here needs numpy or tokenizers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rerank_cli.records import Pair
    from rerank_cli.report import Report
    from rerank_cli.scorers.remote.cost import Estimate
    from rerank_cli.scorers.remote.scorer import RemoteScorer
    from rerank_cli.settings import Limits, ModelSettings

__all__ = ["estimate", "open_remote"]


def open_remote(
    reference: str, settings: ModelSettings, terminal_env: Mapping[str, str], report: Report
) -> RemoteScorer:
    """A scorer for `provider:model` or a named endpoint; connects at the first `score`.

    Args:
        reference: `provider:model` (first colon splits) or the name of an endpoint of a trusted config file.
        settings: `settings.remote` holds the flags; `settings.instruction` travels where the provider takes one.
        terminal_env: the environment: keys, proxies, authorities.
        report: receives warnings and notes.

    Raises:
        UsageError: an unknown provider (with a did-you-mean), a missing endpoint, or something that must not be sent.
        ConfigError: a missing key, a malformed named endpoint, unreadable authorities.
    """
    from rerank_cli.scorers.remote.client import Client
    from rerank_cli.scorers.remote.scorer import RemoteScorer
    from rerank_cli.scorers.remote.target import open_target

    target = open_target(reference, settings, terminal_env)
    if settings.remote.insecure:
        report.warn(f"--insecure: the identity of {target.shown_url} is not checked")
    return RemoteScorer(target, settings.remote, Client(target, settings.remote, terminal_env), report)


def estimate(reference: str, pairs: Sequence[Pair], settings: ModelSettings, limits: Limits | None = None) -> Estimate:
    """What scoring these pairs would send and cost; sends and prints nothing, needs no key (for `--dry-run`)."""
    from rerank_cli.scorers.remote.cost import estimate as estimate_cost

    return estimate_cost(reference, pairs, settings, limits)
