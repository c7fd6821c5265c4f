"""What configuration must know of the program that it configures: the options of its commands, and named endpoints.

A protocol; where it is filled from is the command line's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rerank_cli.options import Option


class Catalogue(Protocol):
    """The options of every command; commands are loaded only when a file speaks of them."""

    def commands(self) -> Collection[str]:
        """Names that may be sections."""

    def of(self, command: str) -> Mapping[str, Option]:
        """The options of one command."""

    def everywhere(self) -> Mapping[str, list[Option]]:
        """The options of all commands, by name."""

    def check_endpoint(self, where: str, entry: Mapping[str, object]) -> None:
        """Raise ConfigError for a named endpoint that cannot be right, as with an unknown provider."""
