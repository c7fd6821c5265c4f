"""From a model reference to an open scorer: the one place that decides who scores.

Local references go to a backend, `provider:model` and named endpoints to `remote`. It opens nothing by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli import cpu, models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.report import Report
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.settings import ModelSettings


def is_remote(settings: ModelSettings) -> bool:
    """Whether a reference names a provider (`cohere:…`) or a named endpoint of the configuration."""
    name = settings.model
    return not models.is_path(name) and (":" in name or name in settings.remote.endpoints)


def open_scorer(settings: ModelSettings, env: Mapping[str, str], report: Report) -> Scorer:
    """The scorer of `settings.model`, ready to score. Raises ModelError, UsageError or RemoteError with a hint."""
    if is_remote(settings):
        from rerank_cli.scorers.remote import open_remote

        return open_remote(settings.model, settings, env, report)
    from rerank_cli.scorers.open_local import open_local

    return open_local(settings, report)


def threads(settings: ModelSettings) -> int:
    """Threads of the engine: --threads, else what the container may use."""
    return settings.threads or cpu.available_threads()
