"""`rerank serve`: options to a running server. What the server does is `rerank_cli.server`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from rerank_cli.cli.command import Command
from rerank_cli.errors import InputError, UsageError
from rerank_cli.server.settings import ServeSettings
from rerank_cli.settings import CacheSettings, ModelSettings

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.cli.sources import Call
    from rerank_cli.scorers.remote.budget import Spent
    from rerank_cli.server.app import App
    from rerank_cli.server.models import Configured
    from rerank_cli.terminal import Terminal


def serve(call: Call) -> int:
    """Answer Cohere, Jina and TEI clients over HTTP, with local models or as a gateway to a provider.

    examples:
      rerank serve
      rerank serve -m builtin -m BAAI/bge-reranker-v2-m3 --port 9000
      rerank serve -m cohere:rerank-v3.5 --max-units 1000
      rerank serve --host 0.0.0.0 --keys-file keys.txt
      CO_API_URL=http://127.0.0.1:8080 python my_cohere_program.py
    """
    from rerank_cli.cli.main import debugging
    from rerank_cli.scorers.remote.budget import Spent
    from rerank_cli.server import run as server
    from rerank_cli.server.log import Log

    terminal = call.terminal
    server.check_extra()
    spent = Spent()  # in the life of the process, whatever a reload changes
    configured = configure(call, spent)
    settings, _ = configured
    bound = server.listen(settings.host, settings.port)
    url = server.url_of(bound)
    tracebacks = call.values["debug"] or debugging((), terminal)
    log = Log(terminal, access=settings.access_log, tracebacks=tracebacks)
    try:
        server.serve(configured, lambda: configure(reread(call), spent), bound, log, partial(announce, url, terminal))
    finally:
        bound.close()
    return 0


def announce(url: str, terminal: Terminal, app: App) -> None:
    """Say what is served and where, and warn of a server without keys."""
    from rerank_cli.net import is_loopback

    first, *others = dict.fromkeys(model.info.model for model in app.models.by_name.values())
    page = "; to try it, open it in a browser" if app.settings.playground else ""
    terminal.note(f"serving {first} on {url} (clients' base URL; {url}/docs describes it){page}")
    if others:
        terminal.note(f"also serving {', '.join(others)}: the `model` of a request chooses")
    if app.models.fallbacks:
        terminal.note(f"if a model fails: {', '.join(model.info.model for model in app.models.fallbacks)}")
    if not app.settings.keys and not is_loopback(app.settings.host):
        terminal.warn("everybody who can reach this address can use it: give --keys-file or --keys-env")


COMMAND = Command(
    serve,
    (ServeSettings, ModelSettings, CacheSettings),
    without=frozenset({"dry_run"}),
    changed={
        "model": {
            "help": "builtin, a Hugging Face name (owner/name[@revision]), a folder (./path), provider:model "
            "(cohere:rerank-v3.5) or a named endpoint; repeatable: the `model` of a request chooses.",
            "many": True,
        },
        # The client tries again: if both did, a provider in trouble would get a multiple of the requests.
        "retries": {"default": 0, "help": "Attempts after the first (default: none; clients try again)."},
        "max_wait": {"default": 0.0, "help": "Longest wait for a rate limit or a retry; a longer one is a 429."},
        "max_units": {"help": "Refuse (402) to bill more search units in the life of the process."},
        "max_cost": {"help": "Refuse (402) to spend more in the life of the process, by [prices]."},
        "cache": {"default": True, "help": "Scores of providers are kept and looked up first; not with --no-cache."},
    },
)


def reread(call: Call) -> Call:
    """The call with what configuration files say by now. Raises ConfigError."""
    return replace(call.reread(), terminal=call.terminal) if call.reread else call


def configure(call: Call, spent: Spent) -> Configured:
    """What the server is to be. Raises UsageError or InputError."""
    from rerank_cli.cli.serve_models import plans_of
    from rerank_cli.scorers.remote.budget import Budget
    from rerank_cli.server.web_pages import check_origins

    settings = call.settings(ServeSettings)
    keys = keys_of(settings.keys_file, settings.keys_env, call.terminal)
    plans = plans_of(call, settings.names, Budget(call.values["max_units"], spent))
    origins = check_origins(settings.cors_origins, with_keys=bool(keys))
    return replace(settings, keys=keys, cors_origins=origins), plans


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
