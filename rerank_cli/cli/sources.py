"""Where the value of an option comes from: the command line, then RERANK_* variables, then configuration files.

The one place where these meet. It knows options and not what they are for.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rerank_cli.cli.params import from_variable, typed_values
from rerank_cli.config.files import Role, find_files
from rerank_cli.options import ENV_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from rerank_cli.config import Checked, ConfigFile
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
    ignored: tuple[Path, ...] = ()  # project files of other users
    reread: Callable[[], Call] | None = None  # with what files say by now

    def settings(self, record: type[T]) -> T:
        """A settings record with the values of its options; what is None or missing keeps the field's default."""
        members: dict[str, Any] = {}
        for declared in fields(record):  # type: ignore[arg-type]  # settings are dataclasses
            if "settings" in declared.metadata:
                members[declared.name] = self.settings(declared.metadata["settings"])
            elif option := declared.metadata.get("option"):
                members[declared.name] = self.values.get(option.name or declared.name)
        return record(**{name: value for name, value in members.items() if value is not None})

    def is_set(self, name: str) -> bool:
        """Whether any source set the option."""
        return name in self.sources

    def is_typed(self, name: str) -> bool:
        """Whether the command line has the option."""
        return self.sources.get(name) == COMMAND_LINE


class Options:
    """The options of all commands for the check of configuration files; a command is imported when a file names it."""

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
            self._known[command] = {option.name: option for option in options if option.flags}
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


def read(command: str, options: Sequence[Option], texts: Mapping[str, Any], terminal: Terminal, root: Any) -> Call:
    """The values of a command's options; `texts` is what the command line has, by option name, as Typer parsed it.

    Files may set options of other commands too, which `root` lists. Raises UsageError for a value of the command line
    that is not right, ConfigError for one of a file or variable.
    """
    by_name = {option.name: option for option in options}
    none, ignored = bool(texts.get("no_config")), list[Path]()
    files = find_files(terminal.env, texts.get("config"), none=none, ignored=ignored.append)
    checked = _check_files(files, command, root) if files else []
    variables = {one.name: terminal.env.get(ENV_PREFIX + one.name.upper()) for one in options if one.configurable}
    layers = [  # strongest first; an empty variable counts as unset
        (COMMAND_LINE, typed_values(texts, by_name)),
        ("", {name: from_variable(text, by_name[name]) for name, text in variables.items() if text}),
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
    return Call(terminal, values, sources, tuple(files), endpoints, prices, tuple(ignored))


def _check_files(files: list[ConfigFile], command: str, root: Any) -> list[Checked]:
    from rerank_cli.config import check_file

    catalogue = Options(root)
    return [check_file(file, command, catalogue) for file in files]


def _strongest(layers: list[Layer], options: Mapping[str, Option]) -> dict[str, Layer]:
    """Option name to the layer that sets it: the strongest, unless a stronger one sets an option that overrides it.

    If a project file chose the model, trust that the environment or a user file gives does not count.
    """
    chosen: dict[str, Layer] = {}
    for layer in layers:
        on = [name for name, (_, values) in chosen.items() if values[name] is not False]
        overridden = {other for name in on for other in options[name].overrides}
        chosen |= {name: layer for name in layer[1] if name not in chosen and name not in overridden}
    if "model" not in chosen or not chosen["model"][0].startswith(Role.PROJECT.value):
        return chosen
    return {name: layer for name, layer in chosen.items() if name not in RUNS_CODE or layer[0] == COMMAND_LINE}
