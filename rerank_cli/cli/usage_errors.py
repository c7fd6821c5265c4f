"""Mistakes on the command line and what was meant: unknown options, misplaced commands, a query without its flag."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.app import COMMANDS, DEFAULT, options_of
from rerank_cli.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


def usage_error(error: Any) -> UsageError:
    """An error that Typer found, in our words."""
    message = error.format_message().strip().rstrip(".")
    option = getattr(error, "option_name", None)
    if option and type(error).__name__ == "NoSuchOption":
        return UsageError(f"unknown option `{option}`", option_hint(option, error))
    if option:
        message = f"{option} needs a value" if "requires an argument" in message else message
        return UsageError(message, f"see `{command_of(error)} --help`")
    missing = re.search(r"Missing (?:option|argument) '([^']+)'", message)
    if missing:
        message = f"`{missing[1].split(' / ')[0]}` is missing"
    return UsageError(message[:1].lower() + message[1:], f"see `{command_of(error)} --help`")


def option_hint(option: str, error: Any) -> str:
    """The command that has the option, or the option that was meant, from the command's own list."""
    if any(option in one.flags for one in options_of(DEFAULT)):  # then not of this command
        return f"it is an option of `rerank {DEFAULT}`, not of `{command_of(error)}`"
    known = [flag for one in error.ctx.command.options for flag in (*one.flags, one.negation) if flag]
    return did_you_mean(option, [*known, "--help", "--version"]) or f"see `{command_of(error)} --help`"


def command_of(error: Any) -> str:
    """The command that refused its arguments: `rerank models show`."""
    return str(getattr(getattr(error, "ctx", None), "command_path", "rerank"))


def check_files(files: Sequence[str], query: Sequence[str]) -> None:
    """Find the mistakes that look like missing files before anything is read.

    A command's name that is misspelt or follows an option, and a query given without `--query`.
    """
    for path in files:
        if path == "-" or os.path.exists(path):  # noqa: PTH110 unlike Path.exists it never raises
            continue
        if path in COMMANDS:
            raise UsageError(f"`{path}` comes after options", f"options go after the command: `rerank {path} …`")
        close = get_close_matches(path, COMMANDS, n=1, cutoff=0.7)
        if close:
            raise InputError(f"no such file or command: {path}", f"did you mean `rerank {close[0]}`?")
        if not query and " " in path.strip():
            raise UsageError(f"no such file: {path!r}", f'is it the query? `rerank --query "{path}"`')
