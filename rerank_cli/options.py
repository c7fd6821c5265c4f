"""What makes a field of a settings record an option: its flags, help, bounds, and where it may be set.

    top_n: int | None = option("--top-n -n", "Print only the N best.", metavar="N", kind=int, minimum=1, group=RANKING)

Parsing, configuration files, help, completions, the man page and the reference all come from these records. Nothing is
parsed here, and nothing is known of Typer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

GROUPS = (  # in the order of help
    "Input", "Ranking", "Stages", "Evaluation", "Output", "Server", "Long documents", "Model", "Remote endpoints",
    "Score cache", "General",
)  # fmt: skip
INPUT, RANKING, STAGES, EVALUATION, OUTPUT, SERVER, LONG, MODEL, REMOTE, CACHE, GENERAL = GROUPS
# Groups that a project's rerank.toml may set; `model` besides, by hub name (rerank_cli.config.trust).
PROJECT_GROUPS = frozenset({INPUT, RANKING, STAGES, EVALUATION, OUTPUT, LONG})
ENV_PREFIX = "RERANK_"
MOST_NUMBER = 10**12  # of any option, positive or negative: larger ones overflow somewhere
_FILE = re.compile(r"\b(FILE|FOLDER|PATH|DIR|RUN)\b")  # in a metavar


@dataclass(frozen=True, slots=True)
class Option:
    """One option, or a positional argument where it has no flags."""

    name: str  # of its variable RERANK_<NAME>, and in configuration files
    flags: tuple[str, ...]  # none: it is positional
    help: str
    group: str
    kind: type = str  # bool, int, float, str or Path
    default: Any = None
    metavar: str = ""
    negation: str = ""  # `--no-documents`
    many: bool = False  # repeatable: a tuple of `kind`
    count: bool = False  # a flag that is counted, as in -vv
    choices: tuple[str, ...] = ()
    minimum: float | None = None  # inclusive
    maximum: float | None = None
    in_short_help: bool = False
    configurable: bool = True  # False: command line only
    comma_separated: bool = False  # one text that is a list: files may write a list
    bare: str = ""  # what the flag alone means; a word after it is its value only if it fits `values`
    values: str = ""  # a regular expression, with `bare`
    json_text: bool = False  # one text of JSON: files may write a table
    by_model: bool = False  # a number, or one for each model: `builtin=0.3,cohere=0.1`, in files a table
    overrides: tuple[str, ...] = ()  # where it is set (a flag: switched on), weaker sources do not set these
    required: bool = False

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value."""
        return self.kind is bool or self.count

    @property
    def key(self) -> str:
        """Its long flag as a key, which files may use in a command's section: `format` for `batch_format`."""
        long = next((flag for flag in self.flags if flag.startswith("--")), self.name)
        return long.lstrip("-").replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENV_PREFIX + self.name.upper()

    @property
    def names_path(self) -> bool:
        """Whether its value names a file or folder."""
        return self.kind is Path or (self.kind is str and bool(_FILE.search(self.metavar)))


def option(flags: str, help: str, *, default: Any = None, unset: Any = None, name: str = "", **more: Any) -> Any:  # noqa: A002 argparse's and Typer's word
    """A field that is an option; `more` are further members of `Option`.

    `flags` are separated by blanks, `--on/--off` for a flag that can be switched off; a positional argument has none.
    `help` is one sentence for the command line. `default` is the value without any source, shown in help; `unset` is
    what the field holds where nothing is set and `default` is None. `name` is the option's where it is not the field's.
    """
    names, _, negation = flags.partition("/")
    if default is not None and not isinstance(default, tuple):
        more.setdefault("kind", type(default))
    if more.get("many"):
        unset = ()
    if not names:  # a positional argument
        more["configurable"] = False
    found = Option(name, tuple(names.split()), help, default=default, negation=negation, **more)
    return field(default=unset if default is None else default, metadata={"option": found})


def nested(record: type) -> Any:
    """A field that holds settings of its own, whose options belong to the command too."""
    return field(default_factory=record, metadata={"settings": record})


def same(record: type, name: str) -> Any:
    """The option `name` of another record."""
    declared = next(each for each in fields(record) if each.name == name)
    found = declared.metadata["option"]
    return field(default=declared.default, metadata={"option": replace(found, name=found.name or name)})


@cache
def options_of(record: type) -> tuple[Option, ...]:
    """The options of a settings record and of those that are nested in it, in the order of its fields."""
    found: list[Option] = []
    for declared in fields(record):
        if "settings" in declared.metadata:
            found += options_of(declared.metadata["settings"])
        elif option := declared.metadata.get("option"):
            found.append(replace(option, name=option.name or declared.name))
    return tuple(found)
