"""Where the value of an option comes from: the command line, then RERANK_* variables, then configuration files.

The one place where these meet. It knows options and not what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from rerank_cli.cli.params import from_variable, typed_values
from rerank_cli.config.files import Role, find_files
from rerank_cli.options import ENV_PREFIX, fill

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from rerank_cli.config import Catalogue, Checked, ConfigFile
    from rerank_cli.options import Option
    from rerank_cli.terminal import Terminal

T = TypeVar("T")
Layer = tuple[str, dict[str, Any]]  # who sets the values ("": each its own variable), and the values

COMMAND_LINE, DEFAULT = "command line", "default"
# Options that let a model run code: set for the user's own models, they do not reach one that a project file chose.
RUNS_CODE = frozenset({"trust_remote_code", "allow_pickle"})


@dataclass(frozen=True, slots=True)
class Call:
    """One command line, read: the value of every option of the command, and who set it."""

    terminal: Terminal
    values: dict[str, Any]
    sources: dict[str, str]  # COMMAND_LINE, a variable, or a file; none for a default
    files: tuple[ConfigFile, ...] = ()
    endpoints: dict[str, dict[str, object]] = field(default_factory=dict)  # of trusted files
    prices: dict[str, float] = field(default_factory=dict)

    def settings(self, record: type[T]) -> T:
        """A settings record, filled with the values of its options."""
        return fill(record, self.values)

    def is_set(self, name: str) -> bool:
        """Whether any source set the option."""
        return name in self.sources

    def is_typed(self, name: str) -> bool:
        """Whether the command line has the option."""
        return self.sources.get(name) == COMMAND_LINE


class Options:
    """The options of all commands for the check of configuration files; a command is imported when a file names it.

    Args:
        root: the root command, which lists and loads the others.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, dict[str, Option]] = {}

    def commands(self) -> Collection[str]:
        """Names of commands, which are names of sections."""
        names: list[str] = self._root.list_commands(None)
        return names

    def of(self, command: str) -> Mapping[str, Option]:
        """The options of one command by name."""
        if command not in self._known:
            options = self._root.get_command(None, command).options
            self._known[command] = {option.name: option for option in options if not option.is_argument}
        return self._known[command]

    def everywhere(self) -> Mapping[str, list[Option]]:
        """The options of all commands by name."""
        found: dict[str, list[Option]] = {}
        for command in self.commands():
            for name, option in self.of(command).items():
                found.setdefault(name, []).append(option)
        return found

    @staticmethod
    def check_endpoint(where: str, entry: Mapping[str, object]) -> None:
        """Raise ConfigError for a named endpoint that cannot be right, as with an unknown provider."""
        from rerank_cli.scorers.remote.target import check_named

        check_named(where, entry)


def read(command: str, options: Iterable[Option], texts: Mapping[str, Any], terminal: Terminal, root: Any) -> Call:
    """The values of a command's options.

    Args:
        command: its name, which is its section's.
        options: its options.
        texts: what the command line has, as Typer parsed it, by option name.
        terminal: whose environment counts.
        root: the root command, for the options of other commands, which files may set too.

    Raises:
        UsageError: a value of the command line that is not right.
        ConfigError: a file or variable that is not right.
    """
    by_name = {option.name: option for option in options}
    files = find_files(terminal.env, texts.get("config"), none=bool(texts.get("no_config")))
    catalogue = Options(root)
    checked = [_checked(file, command, catalogue) for file in files]
    layers = [  # strongest first
        (COMMAND_LINE, typed_values(texts, by_name)),
        ("", _variables(by_name.values(), terminal.env)),
        *((file.shown, typed_values(one.values, by_name)) for file, one in zip(files, checked, strict=True)),
    ]
    values = {name: option.default for name, option in by_name.items()}
    sources: dict[str, str] = {}
    for name, (source, layer) in _strongest(layers, by_name).items():
        values[name] = layer[name]
        sources[name] = source or by_name[name].variable
    endpoints: dict[str, dict[str, object]] = {}
    prices: dict[str, float] = {}
    for one in reversed(checked):
        endpoints, prices = endpoints | one.endpoints, prices | one.prices
    return Call(terminal, values, sources, tuple(files), endpoints, prices)


def _checked(file: ConfigFile, command: str, catalogue: Catalogue) -> Checked:
    from rerank_cli.config import check_file

    return check_file(file, command, catalogue)


def _variables(options: Iterable[Option], env: Mapping[str, str]) -> dict[str, Any]:
    """Values of RERANK_<OPTION> variables; an empty variable counts as unset."""
    return {
        option.name: from_variable(text, option)
        for option in options
        if option.configurable and (text := env.get(ENV_PREFIX + option.name.upper()))
    }


def _strongest(layers: list[Layer], options: Mapping[str, Option]) -> dict[str, Layer]:
    """Option name to the layer that sets it: the strongest, unless a stronger one sets an option that overrides it."""
    chosen: dict[str, Layer] = {}
    for layer in layers:
        on = [name for name, (_, values) in chosen.items() if values[name] is not False]
        overridden = {other for name in on for other in options[name].overrides}
        chosen |= {name: layer for name in layer[1] if name not in chosen and name not in overridden}
    return _drop_inherited_trust(chosen)


def _drop_inherited_trust(chosen: dict[str, Layer]) -> dict[str, Layer]:
    """Without trust that the environment or a user file gives, if a project file chose the model."""
    if "model" not in chosen or not chosen["model"][0].startswith(Role.PROJECT.value):
        return chosen
    return {name: layer for name, layer in chosen.items() if name not in RUNS_CODE or layer[0] == COMMAND_LINE}
