"""The process: from argv to an exit code. The only place where errors are printed and signals become codes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ExitCode, InputError, RerankError, is_failure, traceback_of
from rerank_cli.files import reason_of
from rerank_cli.terminal import Terminal
from rerank_cli.text import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Terminated(BaseException):
    """SIGTERM arrived; a BaseException so that nothing on the way mistakes it for a failure to handle."""


def run() -> None:
    """The console script."""
    # records hold no cycles, and looking for some among a million doubles the time of a run; serve turns it on
    gc.disable()
    terminal = Terminal.of_process()
    with signals() as arrived:
        try:
            code = main(sys.argv[1:], terminal)
        except KeyboardInterrupt:  # while Typer was loading, or while an error was printed
            code = ExitCode.INTERRUPTED
        except Terminated:
            code = ExitCode.TERMINATED
    code = ExitCode.TERMINATED if arrived else code
    with contextlib.suppress(OSError, ValueError):
        terminal.stderr.flush()
    # Interpreter shutdown with big sessions and pools costs tens of milliseconds and can block; output is flushed by
    # now.
    os._exit(code)


def main(argv: Sequence[str], terminal: Terminal) -> int:
    """Run one command line and return its exit code; prints errors and hints, never raises."""
    from typer.exceptions import Exit, TyperException

    from rerank_cli.cli.app import root
    from rerank_cli.cli.help import HelpRequested
    from rerank_cli.cli.root_help import NothingAsked
    from rerank_cli.writers.output import ClosedPipe

    try:
        return int(root().main(args=list(argv), prog_name="rerank", standalone_mode=False, obj=terminal) or 0)
    except Exit as done:
        return done.exit_code
    except NothingAsked as asked:
        terminal.say(asked.text.rstrip("\n"))
        return ExitCode.USAGE
    except HelpRequested as asked:
        return print_help(asked.text, argv, terminal)
    except ClosedPipe:
        return ExitCode.OK
    except RerankError as error:
        return failed(error, argv, terminal)
    except TyperException as error:
        from rerank_cli.cli.usage_errors import usage_error

        return failed(usage_error(error), argv, terminal)
    except KeyboardInterrupt:
        terminal.say("")
        return ExitCode.INTERRUPTED
    except Terminated:
        return ExitCode.TERMINATED
    except OSError as error:
        if error.filename is None:
            return internal(error, argv, terminal)
        return failed(refused_file(error), argv, terminal)
    except BaseException as error:  # the last resort: no traceback for users
        if not is_failure(error):
            raise
        return internal(error, argv, terminal)


def failed(error: RerankError, argv: Sequence[str], terminal: Terminal) -> int:
    """Print an error of ours and return its code; --debug adds where it came from."""
    if debugging(argv, terminal):
        terminal.say(traceback_of(error))
    terminal.error(error.message, error.hint)
    return int(error.code)


def refused_file(error: OSError) -> RerankError:
    """A name that the system refuses wherever it is first looked up: too long, or in a folder that may not be read."""
    name = shortened(str(error.filename), 80)
    return InputError(reason_of(error), "check the name, and the permissions of its folder", name)


def internal(error: BaseException, argv: Sequence[str], terminal: Terminal) -> int:
    """A bug of ours: one line, and the traceback only for those who ask."""
    if debugging(argv, terminal):
        terminal.say(traceback_of(error))
    terminal.error(
        f"internal error: {type(error).__name__}: {error}", "run again with `--debug` and report it with that output"
    )
    return ExitCode.INTERNAL


def debugging(argv: Sequence[str], terminal: Terminal) -> bool:
    """Whether tracebacks are wanted."""
    from rerank_cli.config.files import said

    return "--debug" in argv or said(terminal.env, "RERANK_DEBUG")


def print_help(text: str, argv: Sequence[str], terminal: Terminal) -> int:
    """Help and version go to stdout; `rerank --help | head` is fine, a full disk is not."""
    from rerank_cli.writers.output import ClosedPipe, open_output

    try:
        with open_output(None, terminal) as write:
            write(text.encode())
    except ClosedPipe:
        return ExitCode.OK
    except RerankError as error:
        return failed(error, argv, terminal)
    return ExitCode.OK


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """SIGTERM unwinds like Ctrl-C, so that temporary files go; a closed pipe is an error we handle, not a death.

    The list holds each SIGTERM: where it arrives during an import, what it raises may be lost there.
    """
    arrived: list[int] = []

    def stop(number: int, _frame: Any) -> None:
        arrived.append(number)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield arrived
    finally:
        signal.signal(signal.SIGTERM, before)
