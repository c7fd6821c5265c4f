"""`rerank serve`: options to a running server. What the server does is `rerank_cli.server`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import Command
from rerank_cli.cli.rules import LOCAL_ONLY, local_model_of
from rerank_cli.errors import InputError, UsageError
from rerank_cli.server.settings import ServeSettings
from rerank_cli.settings import ModelSettings

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.cli.sources import Call
    from rerank_cli.scorers.base import Scorer
    from rerank_cli.terminal import Terminal


def serve(call: Call) -> int:
    """Answer Cohere, Jina and TEI clients over HTTP with one local model.

    examples:
      rerank serve
      rerank serve -m BAAI/bge-reranker-v2-m3 --port 9000
      rerank serve --host 0.0.0.0 --keys-file keys.txt
      CO_API_URL=http://127.0.0.1:8080 python my_cohere_program.py
    """
    from rerank_cli.cli.main import debugging
    from rerank_cli.server import run as server
    from rerank_cli.server.log import Log
    from rerank_cli.server.web_pages import check_origins

    terminal = call.terminal
    server.check_extra()
    settings = call.settings(ServeSettings)
    keys = keys_of(settings.keys_file, settings.keys_env, terminal)
    settings = replace(settings, keys=keys, names=(call.values["model"], *settings.names))
    settings = replace(settings, cors_origins=check_origins(settings.cors_origins, with_keys=bool(keys)))
    what = "serve runs a local model, and `{model}` is a remote one"
    # Threads that spin between batches would burn a core while the server waits for requests.
    model = replace(local_model_of(call, what, "clients can call it directly"), spinning=False)
    bound = server.listen(settings.host, settings.port)
    url = server.url_of(bound)

    def listening(app: Any) -> None:
        from rerank_cli.net import is_loopback

        page = "; to try it, open it in a browser" if settings.playground else ""
        terminal.note(f"serving {app.info.model} on {url} (clients' base URL; {url}/docs describes it){page}")
        if not settings.keys and not is_loopback(settings.host):
            terminal.warn("everybody who can reach this address can use it: give --keys-file or --keys-env")

    tracebacks = call.values["debug"] or debugging((), terminal)
    log = Log(terminal, access=settings.access_log, tracebacks=tracebacks)
    try:
        server.serve(settings, bound, lambda: open_model(model, terminal), log, listening)
    finally:
        bound.close()
    return 0


COMMAND = Command(serve, (ServeSettings, ModelSettings), **LOCAL_ONLY)


def open_model(model: ModelSettings, terminal: Terminal) -> Scorer:
    """The scorer, and what is to be said of it. Raises ModelError or UsageError."""
    from rerank_cli.cli.rank import describe, print_warnings
    from rerank_cli.report import Report
    from rerank_cli.scorers.open_local import open_local

    report = Report()
    scorer = open_local(model, report)
    print_warnings(report, terminal)
    terminal.detail(describe(scorer.info))
    return scorer


def keys_of(file: Path | None, variable: str | None, terminal: Terminal) -> tuple[str, ...]:
    """All keys of file and variable. Raises InputError or UsageError if one is named and holds none, or is not safe."""
    from rerank_cli.key_files import check_rights
    from rerank_cli.net import is_variable

    keys: list[str] = []
    if file is not None:
        keys += keys_in(file)
        if warning := check_rights(file):
            terminal.warn(warning)
    if variable is not None:
        if not is_variable(variable):
            hint = "keys themselves do not belong here: put them in a variable and name that"
            raise UsageError("--keys-env: this is not the name of an environment variable", hint)
        found = terminal.env.get(variable, "").replace(",", " ").split()
        if not found:
            raise UsageError(f"--keys-env: the variable {variable} has no key", f"export {variable}=…")
        keys += found
    return tuple(dict.fromkeys(keys))


def keys_in(file: Path) -> list[str]:
    """The keys of a file; blank lines and those that start with `#` do not count."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"cannot read the keys: {reason}", "write one key per line, as UTF-8", str(file)) from None
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise InputError("the file has no key", "write one key per line", str(file))
    return keys
