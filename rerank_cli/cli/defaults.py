"""Where an option's value comes from when no flag was given: environment, then config files, then the option itself.

The one place where the layers meet. It turns the option table into the `Key` records that `rerank_cli.config` checks
files with, and remembers for every value who said it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.option_rules import (
    CHOICES,
    ENV_PREFIX,
    EXCLUSIVE,
    GENERAL,
    JOINED,
    MAXIMUM,
    MINIMUM,
    NO_DEFAULT,
    PROJECT_GROUPS,
    RUNS_CODE,
    TABLES,
)
from rerank_cli.cli.values import environment_defaults
from rerank_cli.config.files import Role, find_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rerank_cli.config import Catalogue, ConfigFile, Key

NAMES_FILE = re.compile(r"\b(FILE|FOLDER|PATH|DIR|RUN)\b")
META = "rerank.resolved"  # where a command's context keeps what was resolved


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and who said it: a variable's name or a file."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """What environment and files say to one command."""

    settings: dict[str, Setting] = field(default_factory=dict)
    files: tuple[ConfigFile, ...] = ()
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    flags: dict[str, Any] = field(default_factory=dict)  # --config and --no-config, as the command line has them

    def default_map(self) -> dict[str, Any]:
        """Option name to value, as Click wants defaults."""
        return {name: setting.value for name, setting in self.settings.items()}


NOTHING = ResolvedConfig()


class Options:
    """The options of all commands as configuration keys; a command is imported when a file speaks of it.

    Args:
        root: the root command, which lists and loads the others.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, dict[str, Key]] = {}  # building a command costs a millisecond or two

    def commands(self) -> Collection[str]:
        """Names of commands, which are names of sections."""
        names: list[str] = self._root.list_commands(None)
        return names

    def of(self, command: str) -> Mapping[str, Key]:
        """The keys of one command."""
        if command not in self._known:
            self._known[command] = {param.name: key_of(param) for param in params_of(self._root, command)}
        return self._known[command]

    def everywhere(self) -> Mapping[str, list[Key]]:
        """The keys of all commands."""
        found: dict[str, list[Key]] = {}
        for command in self.commands():
            for name, key in self.of(command).items():
                found.setdefault(name, []).append(key)
        return found

    @staticmethod
    def check_endpoint(where: str, entry: Mapping[str, object]) -> None:
        """Raise ConfigError for a named endpoint that cannot be right, as with an unknown provider."""
        from rerank_cli.scorers.remote.target import check_named

        check_named(where, entry)


def params_of(root: Any, command: str) -> list[Any]:
    """The options of a command; a group has those of its sub-commands."""
    return [param for param in root.get_command(None, command).params if param.param_type_name == "option"]


def key_of(param: Any) -> Key:
    """What configuration must know of an option."""
    from rerank_cli.config import Key

    group, name = param.rich_help_panel or GENERAL, param.name
    return Key(
        name=name,
        flag=flag_of(param),
        kind=kind_of(param),
        group=group,
        many=bool(param.multiple),
        joined=name in JOINED,
        table=name in TABLES,
        choices=CHOICES.get(name),
        minimum=MINIMUM.get(name),
        maximum=MAXIMUM.get(name),
        harmless=group in PROJECT_GROUPS,
        allowed=name not in NO_DEFAULT,
    )


def flag_of(param: Any) -> str:
    """What an option is called on the command line, as a key: the long flag with `_` for `-`."""
    flag = next((flag for flag in param.opts if flag.startswith("--")), param.name)
    return str(flag).lstrip("-").replace("-", "_")


def kind_of(param: Any) -> type:
    """The type of an option's values: bool, int, float, str, or Path also for text that names a file or folder."""
    kind: type = param._runtime_param.kind  # noqa: SLF001 the Convert that our Command put there
    return Path if kind is str and NAMES_FILE.search(param.metavar or "") else kind


def resolve(
    command: str, params: Iterable[Any], env: Mapping[str, str], given: Mapping[str, Any], catalogue: Catalogue
) -> ResolvedConfig:
    """What environment and files say to a command.

    Args:
        command: its name, which is its section's.
        params: its options.
        env: the environment.
        given: what the command line says, raw, by option name; decides which files are read and which options of
            weaker layers end.
        catalogue: the options of all commands, of which a file may speak.

    Raises:
        ConfigError: a file or variable that cannot be taken as it is.
    """
    files = find_files(env, given.get("config"), none=bool(given.get("no_config")))
    variables = environment_defaults(list(params), env)
    layers = [{name: Setting(value, ENV_PREFIX + name.upper()) for name, value in variables.items()}]
    endpoints: dict[str, dict[str, object]] = {}
    prices: dict[str, float] = {}
    for file in files:
        from rerank_cli.config import check_file

        checked = check_file(file, command, catalogue)
        layers.append({name: Setting(value, file.shown) for name, value in checked.values.items()})
        endpoints = checked.endpoints | endpoints
        prices = checked.prices | prices
    flags = {name: given[name] for name in ("config", "no_config") if name in given}
    return ResolvedConfig(merge(layers, given), tuple(files), endpoints, prices, flags)


def merge(layers: Iterable[Mapping[str, Setting]], given: Collection[str]) -> dict[str, Setting]:
    """One setting an option, strongest layer first; of two that exclude each other the stronger layer's stays."""
    merged: dict[str, Setting] = {}
    for layer in layers:
        taken = set(given) | set(merged)
        ended = {other for pair in EXCLUSIVE for name in pair if name in taken for other in pair if other not in taken}
        merged = {name: setting for name, setting in layer.items() if name not in ended} | merged
    return drop_inherited_trust(merged)


def drop_inherited_trust(settings: dict[str, Setting]) -> dict[str, Setting]:
    """Settings where trust given for the user's own models does not pass to a model that a project file chose.

    `trust_remote_code` and `allow_pickle` of the environment or a user file then do not count: only flags do.
    """
    model = settings.get("model")
    if model is None or not model.source.startswith(Role.PROJECT.value):
        return settings
    return {name: setting for name, setting in settings.items() if name not in RUNS_CODE}


def section_of(ctx: Any) -> str:
    """The top-level command that a context belongs to: `models` for `rerank models pull`."""
    while ctx.parent is not None and ctx.parent.parent is not None:
        ctx = ctx.parent
    return str(ctx.info_name)


def resolved_for(ctx: Any) -> ResolvedConfig:
    """What was resolved for a running command, with the tables that only trusted files may set."""
    found: ResolvedConfig = ctx.meta.get(META, NOTHING)
    return found
