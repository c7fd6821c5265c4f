"""Remote rerank endpoints: every provider is a provider of `providers.json`, one client serves them all.

    providers  the table           target          reference + settings -> URL, headers, constants
    url        its placeholders    signers         credentials of clouds instead of a key
    keys       secrets             wire            requests and replies as JSON
    split      batches             rate_limiter    requests and tokens per minute
    client     one HTTP exchange   parse_response  a reply to scores or an error
    retries    trying again        workers         threads
    cost       estimates, budget   shared          of all requests
    channel    one request with all of it           order  a chat model's windows, prompt, replies
    scorer     all of it as a `Scorer`              chat   the same for a chat model

Importing this package costs nothing: httpx2 and stamina are loaded late. Nothing here needs numpy or tokenizers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.report import Report
    from rerank_cli.scorers.remote.budget import Budget
    from rerank_cli.scorers.remote.chat import ChatScorer
    from rerank_cli.scorers.remote.scorer import RemoteScorer
    from rerank_cli.settings import ModelSettings


def open_remote(
    reference: str, settings: ModelSettings, env: Mapping[str, str], report: Report, budget: Budget | None = None
) -> RemoteScorer | ChatScorer:
    """A scorer for `provider:model` (first colon splits) or a named endpoint; connects at the first `score`.

    `env` has keys, proxies and authorities; `settings.instruction` travels where the provider takes one. `budget`: of
    several models together; else `--max-units` is this one's.

    Raises UsageError: an unknown provider (with a did-you-mean), a missing endpoint, something that must not be sent,
    --batch-docs and --max-units that the provider does not take, or --max-cost without a price; ConfigError: a missing
    key, a malformed named endpoint, unreadable authorities.
    """
    from rerank_cli.key_files import check_rights
    from rerank_cli.scorers.remote.channel import Channel
    from rerank_cli.scorers.remote.client import Client
    from rerank_cli.scorers.remote.scorer import RemoteScorer
    from rerank_cli.scorers.remote.shared import Shared
    from rerank_cli.scorers.remote.split import find_bounds
    from rerank_cli.scorers.remote.target import open_target

    _check_limits(reference, settings, budget)
    target = open_target(reference, settings, env)
    find_bounds(target.provider, settings.remote, None)
    if budget and target.signer:
        target.signer.find()  # a server says at its start that it has none, not in answer to a request
    file = settings.remote.api_key_file
    if file and not settings.remote.api_key_env and (warning := check_rights(file.expanduser())):
        report.note(warning)
    if settings.remote.insecure:
        report.warn(f"--insecure: the identity of {target.shown_url} is not checked")
    shared = Shared(target.provider, settings.remote, budget)
    channel = Channel(target, settings.remote, Client(target, settings.remote, env), report, shared)
    if target.provider.kind == "order":
        from rerank_cli.scorers.remote.chat import ChatScorer, check_windows

        check_windows(settings.remote)
        return ChatScorer(channel)
    return RemoteScorer(channel)


def _check_limits(reference: str, settings: ModelSettings, budget: Budget | None) -> None:
    """Raise UsageError for --max-units where something else is billed, and for --max-cost without a price."""
    from rerank_cli.scorers.remote.budget import check_cost, check_unit
    from rerank_cli.scorers.remote.cost import estimate
    from rerank_cli.scorers.remote.target import choose

    if settings.remote.max_units is not None or (budget and budget.most is not None):
        check_unit(choose(reference, settings.remote))
    if settings.remote.max_cost is not None:
        check_cost(estimate(reference, (), settings), 0, settings.remote.max_cost)
