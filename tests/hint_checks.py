"""What every error of the suite must keep: a second line, and hints that name options which get further.

`conftest.run` collects the errors of a test, and checks them when the test is over.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from tools.generate.facts import commands

CODE = re.compile(r"`([^`]+)`")
WITH_HINTS = {2, 3, 6}  # exit codes: arguments, inputs, rows of a batch
# The option is one of another command, another run, or what is to be given instead of the file.
PROVIDER = " answered 4"  # what a provider says of its refusal is all that we know
ELSEWHERE = ("--query ", "--documents", "--resume", "--help", "--engine", "--run FILE", "--queries FILE")


class Failure(NamedTuple):
    """A command line that failed, its input, and what it wrote to stderr."""

    argv: tuple[str, ...]
    stdin: bytes
    env: dict[str, str] | None
    err: str


@cache
def all_options() -> dict[str, tuple[str, ...]]:
    """Every flag of every command, with the values that it takes (none: any)."""
    every = [each for command in commands() for each in (command, *command.children)]
    listed = [option for command in every for options in command.by_group().values() for option in options]
    choices: dict[str, tuple[str, ...]] = {}
    for option in listed:
        for flag in (*option.flags, *option.negations):
            choices[flag] = (*choices.get(flag, ()), *option.choices)
    return choices


def errors_of(err: str) -> dict[str, str]:
    """The errors on stderr with their hints (empty without one): that of the run, and those of a batch's rows."""
    found = re.findall(r"^(?:rerank: error: (.*)|(\S+:\d+: .*))(?:\nhint: (.*))?$", err, re.MULTILINE)
    return {error or row: hint for error, row, hint in found}


def steps(hint: str) -> list[list[str]]:
    """The commands and options that a hint names."""
    return [shlex.split(code) for code in CODE.findall(hint) if re.match(r"--[a-z]|iconv |jq |tr ", code)]


def options_of(hint: str) -> Iterator[list[str]]:
    """The options with values that a hint proposes to add to the command line."""
    for code in CODE.findall(hint):
        words = shlex.split(code) if code.startswith("--") else []
        if len(words) == 2 and words[0] in all_options() and not code.startswith(ELSEWHERE) and "…" not in code:
            choices = all_options()[words[0]]
            if (not choices or words[1] in choices) and not words[1].isupper() and not words[1].startswith("<"):
                yield words


def without(argv: tuple[str, ...], flag: str) -> list[str]:
    """A command line without an option and its value."""
    words = list(argv)
    while flag in words:
        at = words.index(flag)
        del words[at : at + 2]
    return words


def check(failure: Failure, run: Callable[..., Any]) -> None:
    """Each error has a hint, and with each option that a hint proposes the same error does not come again."""
    for error, hint in errors_of(failure.err).items():
        assert hint or PROVIDER in error, f"an error without a hint: {failure.err}"
        for words in options_of(hint):
            again = run(*without(failure.argv, words[0]), *words, stdin=failure.stdin, env=failure.env)
            assert error not in errors_of(again.err), f"{' '.join(words)} does not help: {failure.err}"
