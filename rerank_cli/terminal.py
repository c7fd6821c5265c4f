"""The outside world as a value: streams, which of them are terminals, environment, verbosity, colour.

Nothing else in the package touches `sys.stdin`, `sys.stdout` or `sys.stderr`, and what is read of the environment
elsewhere is about libraries, the hub and caches; tests build a Terminal of their own. It knows nothing of documents,
scores or commands. Rich is imported only when something is really drawn.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from rerank_cli.text import escape_line

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping

MOST_COLUMNS = 10_000
PROGRESS_AFTER_S = 0.5
ColorChoice = Literal["auto", "always", "never"]


@dataclass
class Progress:
    """How far a run is: call it with n more done, and tell it a total that became known or better estimated."""

    rate: str | None = None  # what is counted per second, if that is shown
    total: int | None = None
    done: int = 0
    bar: Any = None  # Rich's, once one is drawn
    task: Any = None

    def __call__(self, n: int) -> None:
        """N more are done."""
        self.done += n
        if (bar := self.bar) is not None:
            bar.update(self.task, completed=self.done)
            if self.rate and (speed := bar.tasks[0].speed):
                bar.update(self.task, speed=f"{speed:,.0f} {self.rate}/s")

    def expect(self, total: int) -> None:
        """The total, as far as it is known by now."""
        self.total = max(total, self.done)
        if (bar := self.bar) is not None:
            bar.update(self.task, total=self.total)

    def show(self, bar: Any, what: str) -> None:
        """Draw it from now on, with what was done before."""
        self.task = bar.add_task(escape_line(what), total=self.total, completed=self.done, speed="")
        self.bar = bar


@dataclass(frozen=True)
class Terminal:
    """Streams and their nature. `verbosity`: -1 quiet, 0 normal, 1 and more verbose."""

    stdin: BinaryIO
    stdout: BinaryIO
    stderr: TextIO
    env: Mapping[str, str] = field(default_factory=dict)
    stdin_tty: bool = False
    stdout_tty: bool = False
    stderr_tty: bool = False
    verbosity: int = 0
    color: ColorChoice = "auto"
    columns: int | None = None  # None: ask the system
    above: list[Callable[[str], None]] = field(default_factory=list, repr=False)  # prints above the bar, if one is up

    @staticmethod
    def of_process() -> Terminal:
        """The terminal of this process; a closed stream becomes the null device, where nothing can be written."""
        stdin = sys.stdin.buffer if sys.stdin else open(os.devnull, "rb")  # noqa: SIM115, PTH123 lives as long as the process
        stdout = sys.stdout.buffer if sys.stdout else open(os.devnull, "rb")  # noqa: SIM115, PTH123
        stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
        if hasattr(stderr, "reconfigure"):
            stderr.reconfigure(errors="backslashreplace")
        return Terminal(stdin, stdout, stderr, os.environ, stdin.isatty(), stdout.isatty(), stderr.isatty())

    def width(self) -> int:
        """Columns to draw in: COLUMNS, else the terminal's, else 80."""
        if self.columns:
            return self.columns
        columns = self.env.get("COLUMNS", "")
        if columns.isascii() and columns.isdecimal() and len(columns) < 10 and int(columns) > 0:
            return min(int(columns), MOST_COLUMNS)
        return max(1, min(shutil.get_terminal_size((80, 24)).columns, MOST_COLUMNS))

    def colored(self, stream: Literal["stdout", "stderr"]) -> bool:
        """Whether to colour: --color, then NO_COLOR, FORCE_COLOR (non-empty), TERM=dumb, then: is it a terminal."""
        if self.color != "auto":
            return self.color == "always"
        if self.env.get("NO_COLOR"):
            return False
        if self.env.get("FORCE_COLOR"):
            return True
        return self.env.get("TERM") != "dumb" and (self.stdout_tty if stream == "stdout" else self.stderr_tty)

    def unicode(self) -> bool:
        """Whether bars and marks beyond ASCII can be shown: the locale says UTF-8."""
        locale = self.env.get("LC_ALL") or self.env.get("LC_CTYPE") or self.env.get("LANG") or ""
        return "utf-8" in locale.lower() or "utf8" in locale.lower() or self.env.get("PYTHONUTF8") == "1"

    def say(self, text: str) -> None:
        """One line on stderr; a stderr that is gone is not a reason to fail."""
        with contextlib.suppress(OSError, ValueError):
            if self.above:
                self.above[-1](text)
                return
            self.stderr.write(text + "\n")
            self.stderr.flush()

    def error(self, message: str, hint: str | None = None) -> None:
        """What failed and what to do, always shown."""
        self.say(f"rerank: error: {escape_line(message)}")
        if hint:
            self.say(f"hint: {escape_line(hint)}")

    def warn(self, message: str) -> None:
        """Something that may surprise in the results; shown unless --quiet."""
        if self.verbosity >= 0:
            self.say(f"rerank: warning: {escape_line(message)}")

    def note(self, message: str) -> None:
        """Something good to know; shown unless --quiet."""
        if self.verbosity >= 0:
            self.say(f"rerank: note: {escape_line(message)}")

    def detail(self, message: str) -> None:
        """Device, backend, timings: shown with -v."""
        if self.verbosity >= 1:
            self.say(f"rerank: {escape_line(message)}")

    def animated(self) -> bool:
        """Whether progress is drawn: stderr is a terminal that can, and not quiet."""
        return self.stderr_tty and self.verbosity >= 0 and self.env.get("TERM") != "dumb"

    @contextlib.contextmanager
    def progress(self, what: str, total: int | None = None, rate: str | None = None) -> Iterator[Progress]:
        """A bar on stderr while it is a terminal and not quiet, gone at the end; `rate` names what is counted a second.

        A run of less than PROGRESS_AFTER_S shows none. What is said meanwhile appears above the bar.
        """
        progress = Progress(rate, total)
        if not self.animated():
            yield progress
            return
        import threading

        ended = threading.Event()
        drawing = threading.Thread(target=self._draw, args=(progress, what, ended), daemon=True)
        drawing.start()
        try:
            yield progress
        finally:
            ended.set()
            drawing.join()

    def _draw(self, progress: Progress, what: str, ended: threading.Event) -> None:
        """Draw a bar until the run has ended, unless that is soon."""
        if ended.wait(PROGRESS_AFTER_S):
            return
        from rich import progress as rich
        from rich.console import Console
        from rich.text import Text

        colored = self.colored("stderr")
        width = self.width()
        # A height, else Rich reads LINES.
        console = Console(file=self.stderr, force_terminal=True, no_color=not colored, width=width, height=24)
        columns: list[Any] = [
            rich.TextColumn("{task.description}", markup=False),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
        ]
        if progress.rate:
            columns.append(rich.TextColumn("{task.fields[speed]}"))
        with rich.Progress(*columns, rich.TimeRemainingColumn(), console=console, transient=True) as bar:
            progress.show(bar, what)
            self.above.append(lambda text: console.print(Text(text), soft_wrap=True))
            ended.wait()
            self.above.pop()
            progress.bar = None
