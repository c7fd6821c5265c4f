"""What configuration must know of the program that it configures: the options of its commands, and named endpoints.

Records and a protocol; where they are filled from is the command line's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


@dataclass(frozen=True, slots=True)
class Key:
    """An option as configuration sees it."""

    name: str
    flag: str  # its long flag with `_` for `-`: `format`, where the name is `batch_format`
    kind: type  # bool, int, float, str or Path
    group: str
    many: bool = False  # a list of `kind`
    joined: bool = False  # a string that is a comma-separated list: TOML may say a list
    table: bool = False  # a string of JSON: TOML may say a table
    choices: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    harmless: bool = False  # a project file may set it
    allowed: bool = True  # False: only the command line may say it


class Catalogue(Protocol):
    """The options of every command; commands are loaded only when a file speaks of them."""

    def commands(self) -> Collection[str]:
        """Names that may be sections."""

    def of(self, command: str) -> Mapping[str, Key]:
        """The options of one command."""

    def everywhere(self) -> Mapping[str, list[Key]]:
        """The options of all commands, by name."""

    def check_endpoint(self, where: str, entry: Mapping[str, object]) -> None:
        """Raise ConfigError for a named endpoint that cannot be right, as with an unknown provider."""
