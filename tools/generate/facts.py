"""The option table as plain facts: every command, its options and arguments, in the order in which help shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import cleandoc
from pathlib import Path
from typing import Any

from rerank_cli.cli import command as declared
from rerank_cli.cli.help import default_of
from rerank_cli.options import GROUPS
from rerank_cli.options import Option as Declared

# Variables beside RERANK_<OPTION>; a test finds each of them in the sources.
ENVIRONMENT: tuple[tuple[str, str], ...] = (
    ("RERANK_CONFIG", "a configuration file, as `--config`"),
    ("RERANK_NO_CONFIG", "`1`: read no configuration file, as `--no-config`"),
    ("RERANK_DEBUG", "`1`: tracebacks for errors, as `--debug`"),
    ("NO_COLOR", "not empty: no colour"),
    ("FORCE_COLOR", "not empty: colour even without a terminal"),
    ("TERM", "`dumb`: no colour, no progress"),
    ("COLUMNS", "the width of tables"),
    ("LC_ALL, LC_CTYPE, LANG", "if they do not name UTF-8, tables are plain ASCII, unless `PYTHONUTF8` is `1`"),
    ("HOME", "the `~` of paths and of the defaults below; `USERPROFILE` on Windows"),
    ("XDG_CONFIG_HOME", "folder of the user's configuration (default: `~/.config`)"),
    ("XDG_CACHE_HOME", "folder of caches on Linux (default: `~/.cache`)"),
    ("RERANK_CACHE_DIR", "folder of the score cache and of converted and compiled models"),
    ("HF_HOME", "folder of Hugging Face files; models are in `hub` below it (default: `~/.cache/huggingface`)"),
    ("HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE", "folder of downloaded models; wins over `HF_HOME`"),
    ("HF_TOKEN", "token for gated and private models"),
    ("HF_ENDPOINT", "URL of a mirror of the hub"),
    ("HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE", "`1`: no downloads from the hub"),
    ("CUDA_VISIBLE_DEVICES", "the GPUs that may be used; empty or `-1`: none"),
    ("TMPDIR", "folder of temporary files: large Parquet files from stdin, `--prefilter`, corpora (default: `/tmp`)"),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY", "proxy for providers and hub downloads; lower-case names work too"),
    ("NO_PROXY", "hosts, domains and networks that are reached without a proxy, separated by commas"),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "certificate authorities in PEM form (default: the system's)"),
)
DIRECTORIES = {"DIR", "FOLDER"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option as generators need it."""

    name: str
    key: str  # its name in the section of its command
    flags: tuple[str, ...]  # short first
    negations: tuple[str, ...]
    metavar: str | None  # None: takes no value
    help: str
    group: str
    choices: tuple[str, ...]
    default: str | None
    default_value: Any
    many: bool
    kind: type
    allowed: bool  # as a variable and in files
    remote: bool = field(compare=False)  # the command takes endpoints; the option is the same without them

    @property
    def takes(self) -> str:
        """What follows the flag: nothing, choice, file, folder, model or text."""
        if self.metavar is None:
            return "nothing"
        if self.choices:
            return "choice"
        if self.name in {"model", "fallback"}:
            return "model"
        if self.metavar in DIRECTORIES or self.name.endswith("_dir"):
            return "folder"
        return "file" if self.kind is Path else "text"

    @property
    def models(self) -> tuple[str, ...]:
        """What `-m` can begin with: the built-in and, where endpoints are taken, the providers of the table."""
        return models() if self.remote else models()[:1]

    @property
    def variable(self) -> str | None:
        """Its environment variable."""
        return f"RERANK_{self.name.upper()}" if self.allowed else None


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument."""

    metavar: str
    help: str
    files: bool
    words: tuple[str, ...] = ()  # what it may be


@dataclass(frozen=True, slots=True)
class Command:
    """A command or sub-command: `rank`, `models pull`."""

    name: str
    summary: str  # one sentence
    examples: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    children: tuple[Command, ...] = ()

    @property
    def usage(self) -> str:
        """`rerank rank [OPTIONS] [FILE]...`."""
        if self.children:
            return f"rerank {self.name} COMMAND [OPTIONS] ..."
        return " ".join(["rerank", self.name, "[OPTIONS]", *(argument.metavar for argument in self.arguments)])

    @property
    def words(self) -> tuple[str, ...]:
        """Names of its sub-commands."""
        return tuple(child.name.split()[-1] for child in self.children)

    def by_group(self) -> dict[str, list[Option]]:
        """Options under their headings, in help's order."""
        found: dict[str, list[Option]] = {}
        for option in self.options:
            found.setdefault(option.group, []).append(option)
        order = [*GROUPS, *sorted(set(found) - set(GROUPS))]
        return {group: found[group] for group in order if group in found}


def commands() -> tuple[Command, ...]:
    """All commands, in the order of the root's help."""
    from rerank_cli.cli.app import COMMANDS, load

    return tuple(command_of(name, load(name)) for name in COMMANDS)


def command_of(name: str, command: declared.Command | declared.Group) -> Command:
    """The facts of one command."""
    summary, _, rest = cleandoc(command.help).partition("\n\n")
    examples = [text.strip() for text in rest.splitlines() if text.strip() and text.strip() != "examples:"]
    children = command.commands if isinstance(command, declared.Group) else {}
    own = () if children else command.options
    remote = any(option.name == "endpoint" for option in own)
    return Command(
        name=name,
        summary=" ".join(summary.split()),
        examples=tuple(examples),
        options=tuple(option_of(option, remote=remote) for option in own if option.flags),
        arguments=tuple(argument_of(option) for option in own if not option.flags),
        children=tuple(command_of(f"{name} {word}", child) for word, child in children.items()),
    )


def option_of(option: Declared, *, remote: bool) -> Option:
    """The facts of one option."""
    return Option(
        name=option.name,
        key=option.key,
        flags=tuple(sorted(option.flags, key=len)),
        negations=(option.negation,) if option.negation else (),
        metavar=None if option.is_flag else option.metavar,
        help=option.help,
        group=option.group,
        choices=option.choices,
        default=default_of(option),
        default_value=option.default,
        many=option.many or option.count,
        kind=Path if option.names_path else option.kind,
        allowed=option.configurable,
        remote=remote,
    )


def argument_of(option: Declared) -> Argument:
    """The facts of one positional argument."""
    from rerank_cli.cli.app import COMMANDS
    from rerank_cli.scorers.remote.providers import load_table

    words = {"command": tuple(COMMANDS), "provider": tuple(load_table().names())}
    return Argument(
        metavar=option.metavar,
        help=option.help,
        files=any(word in option.metavar for word in ("FILE", "RUN", "PATH", "FOLDER")),
        words=words.get(option.name, option.choices),
    )


def models() -> tuple[str, ...]:
    """What -m can begin with: the built-in, the providers of the table, and known rerankers that run here."""
    from rerank_cli.models.known import known
    from rerank_cli.scorers.remote.providers import load_table

    repositories = (row.name for row in known() if row.status != "refused" and row.name != "builtin")
    return ("builtin", *(f"{name}:" for name in load_table().names()), *repositories)


def leaves(table: tuple[Command, ...]) -> list[Command]:
    """Commands that do something: sub-commands in place of their parents."""
    return [leaf for command in table for leaf in (command.children or (command,))]
