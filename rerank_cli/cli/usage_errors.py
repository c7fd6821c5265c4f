"""Mistakes on the command line and what was meant: unknown options, misplaced commands, a query without its flag."""

from __future__ import annotations

import os
import re
import shlex
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.app import COMMANDS, DEFAULT, options_of
from rerank_cli.errors import InputError, UsageError
from rerank_cli.readers.input_stream import similar_file

if TYPE_CHECKING:
    from collections.abc import Sequence


CLOSE = 0.75  # a slip of the fingers is closer; other words are in SYNONYMS
# An option -> what others call it, without dashes; of several that the command has, the first one is meant.
SYNONYMS = {
    "--min-score": "threshold score-threshold min-relevance cutoff-score",
    "--top-n": "limit count top top-k topk k num-results max-results",
    "--text-field": "field column content-field",
    "--rank-fields": "fields columns",
    "-f csv": "csv",
    "-f tsv": "tsv",
    "-f json": "json",
    "-f jsonl": "jsonl ndjson",
    "-f markdown": "markdown md",
    "--format": "output-format",
    "--output": "out outfile output-file",
    "--delimiter": "sep separator",
    "--keys-file": "api-key api-keys key",
    "--api-key-env": "api-key key token",
    "--endpoint": "url base-url api-base",
}


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
    options, word, other = error.ctx.command.options, option.lstrip("-"), f"see `{command_of(error)} --help`"
    if word in {"V", "version"}:
        return "`rerank --version` prints the version"
    synonyms = [meant for meant, words in SYNONYMS.items() if word in words.split()]
    for meant in synonyms:
        flag, _, value = meant.partition(" ")
        if any(flag in one.flags and (not value or value in one.choices) for one in options):
            return f"did you mean `{meant}`?"
    # Without the dashes, which all options share.
    flags = [flag for one in options for flag in (*one.flags, one.negation)]
    long = {flag[2:]: flag for flag in (*flags, "--help") if flag.startswith("--")}
    close = [] if synonyms else get_close_matches(word, long, n=1, cutoff=CLOSE)
    return f"did you mean `{long[close[0]]}`?" if close else other


def command_of(error: Any) -> str:
    """The command that refused its arguments: `rerank models show`."""
    return str(getattr(getattr(error, "ctx", None), "command_path", "rerank"))


def check_files(files: Sequence[str], *, asked: bool) -> None:
    """Find the mistakes that look like missing files before anything is read.

    A command's name that is misspelt or follows an option, and a query given without `--query`, as grep takes it.
    """
    for number, path in enumerate(files):
        if path == "-" or os.path.exists(path):  # noqa: PTH110 unlike Path.exists it never raises
            continue
        if path in COMMANDS:
            raise UsageError(f"`{path}` comes after options", f"options go after the command: `rerank {path} …`")
        if path in {"help", "version"} and not asked and not number:
            raise InputError(f"no such file or command: {path}", f"did you mean `rerank --{path}`?")
        close = get_close_matches(path, COMMANDS, n=1, cutoff=0.7)
        if close:
            raise InputError(f"no such file or command: {path}", f"did you mean `rerank {close[0]}`?")
        if not asked and " " in path.strip():
            raise UsageError(f"no such file: {path!r}", f'is it the query? `rerank --query "{path}"`')
        if not asked and path and not number and not similar_file(path):
            rest = " …" if files[1:] else ""
            raise InputError("no such file", f"is it the query? `rerank --query {shlex.quote(path)}{rest}`", path)
