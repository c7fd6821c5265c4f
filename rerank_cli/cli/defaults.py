"""Where an option's default comes from when no flag was given: environment, then config files, then the option itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import environment_defaults

if TYPE_CHECKING:
    from rerank_cli.terminal import Terminal


def defaults_for(command: Any, args: list[str], terminal: Terminal) -> dict[str, Any]:  # noqa: ARG001 --config is in args
    """Click's default map for a command: option name to value."""
    return environment_defaults(command.params, terminal.env)
