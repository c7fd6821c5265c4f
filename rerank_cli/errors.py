"""Exit codes and the one exception tree: what happened, what to do about it, and the code the process ends with.

Deep code raises these; only `rerank_cli.cli.main` prints them. This module knows nothing of terminals or commands.

    RerankError            1  internal
    ├── UsageError         2  arguments
    │   └── ConfigError    2  a configuration file or environment variable (MissingKeyError: the key of an endpoint)
    ├── FileError          3  what is read or written
    │   ├── InputError     3  input missing, unreadable or of bad content
    │   └── OutputError    3  output that cannot be written
    ├── ModelError         4  model or backend unavailable
    │   └── NonFiniteError 4  a score that is not a number
    ├── RemoteError        5  a remote endpoint failed or timed out
    ├── RowsFailed         6  a batch finished, some rows failed
    └── AssertionFailed    7  a check of the user's was not met
"""

from __future__ import annotations

from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rerank_cli.records import Pair


# Values and names of files that a message repeats cannot begin a line of their own.
_ONE_LINE = {ord(sign): ascii(sign)[1:-1] for sign in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"}
PANIC = "PanicException"


class ExitCode(IntEnum):
    """What the process returns; all below 126 (shells keep the rest) except signals. Each has its one-line meaning."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Self:
        """An int with its meaning beside it, so that help, man page and README are generated from here."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    OK = 0, "success (also when a closed pipe ended the output early)"
    INTERNAL = 1, "internal error: please report it"
    USAGE = 2, "wrong arguments or configuration"
    INPUT = 3, "input missing, unreadable or malformed, or output that cannot be written"
    MODEL = 4, "model or backend unavailable, or it gave a non-finite score"
    REMOTE = 5, "remote endpoint failed or timed out"
    ROWS = 6, "batch finished, but some rows failed"
    ASSERTION = 7, "an assertion failed (--expect, --fail-if-empty, --fail-under …)"
    INTERRUPTED = 130, "interrupted (Ctrl-C)"
    TERMINATED = 143, "terminated (SIGTERM)"


class RerankError(Exception):
    """Base of everything reported to the user: `message` says what and where, `hint` what to do next."""

    code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RerankError):
    """The command line asks for something that cannot be."""

    code = ExitCode.USAGE


class ConfigError(UsageError):
    """A configuration file or environment variable has a bad key, type or value."""


class MissingKeyError(ConfigError):
    """The key of an endpoint is not set, so the endpoint cannot be used."""


class FileError(RerankError):
    """Something about what is read or written; `where` is `file:line` if known."""

    code = ExitCode.INPUT

    def __init__(self, message: str, hint: str | None = None, where: str | None = None) -> None:
        message = f"{where}: {message}" if where else message
        super().__init__(message.translate(_ONE_LINE), hint.translate(_ONE_LINE) if hint else hint)
        self.where = where


class InputError(FileError):
    """Input that is missing, unreadable or malformed."""


class OutputError(FileError):
    """Output that cannot be written (full disk, read-only folder)."""


class ModelError(RerankError):
    """A model or backend that is unavailable or unfit, or that gave a score which is not a number."""

    code = ExitCode.MODEL

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint or "choose another model: `rerank models list` shows those on this machine")


class NonFiniteError(ModelError):
    """A score that is not a number, of one pair: the model may do well with others."""


class ProviderReply(NamedTuple):
    """What a remote endpoint answered instead of scores."""

    status: int  # of HTTP; 504 where no reply came in time
    message: str = ""  # its own words, without secrets
    wait_s: float | None = None  # how long it asks to wait, in seconds


class RemoteError(RerankError):
    """A remote endpoint refused, failed or timed out; the message carries the provider's words, never a key.

    `pair` is the one that the failure is about, if it is about one. `refused`: the request itself was refused, so
    another query or other documents may do well. `reply`: what the endpoint answered, None if nothing that counts.
    """

    code = ExitCode.REMOTE

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        pair: Pair | None = None,
        *,
        refused: bool = False,
        reply: ProviderReply | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.pair, self.refused, self.reply = pair, refused, reply


class RowsFailed(RerankError):
    """A batch finished with failed rows; the results of the others were written."""

    code = ExitCode.ROWS


class AssertionFailed(RerankError):
    """A check the user asked for was not met; the results were written."""

    code = ExitCode.ASSERTION


def is_failure(error: BaseException) -> bool:
    """Whether something went wrong: not Ctrl-C and the end of a run.

    A panic of a library in Rust is a BaseException, and has no class that could be named before it happens.
    """
    return isinstance(error, Exception) or type(error).__name__ == PANIC


@contextmanager
def library_errors(make: Callable[[str], Exception]) -> Iterator[None]:
    """What a library raises becomes our error, made from its first line; ours pass, and so does Ctrl-C."""
    try:
        yield
    except RerankError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise make((str(error).strip().splitlines() or [type(error).__name__])[0]) from error


def traceback_of(error: BaseException) -> str:
    """The traceback without locals: they may hold keys."""
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The hint for a misspelt name, or None if nothing known is close."""
    matches = get_close_matches(word, [name for name in known if name != word], n=1, cutoff=0.6)
    return f"did you mean `{matches[0]}`?" if matches else None
