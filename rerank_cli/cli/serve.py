"""`rerank serve`: options to a running server. What the server does is `rerank_cli.server`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli import server_options as s
from rerank_cli.cli.command import collect
from rerank_cli.errors import InputError, UsageError
from rerank_cli.server.settings import ServeSettings
from rerank_cli.settings import DEFAULT_MAX_TOKENS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rerank_cli.scorers.base import Scorer
    from rerank_cli.settings import ModelSettings
    from rerank_cli.terminal import Terminal

DEFAULTS = ServeSettings()


def serve(
    ctx: typer.Context,
    host: s.Host = DEFAULTS.host,
    port: s.Port = DEFAULTS.port,
    keys_file: s.KeysFile = None,
    keys_env: s.KeysEnv = None,
    strict: s.Strict = False,
    served_name: s.ServedName = None,
    max_body: s.MaxBody = DEFAULTS.max_body,
    max_documents: s.MaxDocuments = DEFAULTS.max_documents,
    max_query: s.MaxQuery = DEFAULTS.max_query,
    max_document: s.MaxDocument = DEFAULTS.max_document,
    max_queue: s.MaxQueue = DEFAULTS.max_queue,
    request_timeout: s.RequestTimeout = DEFAULTS.timeout_s,
    access_log: s.AccessLog = True,
    max_tokens_per_doc: o.MaxTokensPerDoc = DEFAULT_MAX_TOKENS,
    long_documents: o.LongDocuments = "chunk",
    max_chunks_per_doc: o.MaxChunksPerDoc = None,
    model: so.LocalModel = "builtin",
    backend: so.Backend = "auto",
    device: so.Device = "auto",
    dtype: so.Dtype = "auto",
    threads: so.Threads = None,
    instruction: so.Instruction = None,
    offline: so.Offline = False,
    require_revision: so.RequireRevision = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Answer Cohere, Jina and TEI clients over HTTP with one local model.

    examples:
      rerank serve
      rerank serve -m BAAI/bge-reranker-v2-m3 --port 9000
      rerank serve --host 0.0.0.0 --keys-file keys.txt
      CO_API_URL=http://127.0.0.1:8080 python my_cohere_program.py
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Load the model, listen, serve until a signal."""
    from rerank_cli.cli.main import configure, debugging
    from rerank_cli.server import run as server
    from rerank_cli.server.log import Log

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    server.check_extra()
    settings = settings_of(options, terminal.env)
    model = model_of(options)
    bound = server.listen(settings.host, settings.port)
    url = server.url_of(bound)

    def listening(app: Any) -> None:
        from rerank_cli.net import is_loopback

        terminal.note(f"serving {app.info.model} on {url} (clients' base URL; {url}/docs describes it)")
        if not settings.keys and not is_loopback(settings.host):
            terminal.warn("everybody who can reach this address can use it: give --keys-file or --keys-env")

    tracebacks = debugging(["--debug"] if options["debug"] else [], terminal)
    log = Log(terminal, access=settings.access_log, tracebacks=tracebacks)
    try:
        server.serve(settings, bound, lambda: open_model(model, terminal), log, listening)
    finally:
        bound.close()
    return 0


def open_model(model: ModelSettings, terminal: Terminal) -> Scorer:
    """The scorer, and what is to be said of it. Raises ModelError or UsageError."""
    from rerank_cli.cli.rank import describe, tell_words
    from rerank_cli.report import Report
    from rerank_cli.scorers.registry import open_scorer

    report = Report()
    scorer = open_scorer(model, terminal.env, report)
    tell_words(report, terminal)
    terminal.detail(describe(scorer.info))
    return scorer


def settings_of(options: dict[str, Any], env: Mapping[str, str]) -> ServeSettings:
    """The server's settings. Raises UsageError or InputError for what cannot be."""
    if not 0 <= options["port"] <= 65535:
        raise UsageError(f"--port: {options['port']} is no port", "give 1 to 65535, or 0 for a free one")
    return ServeSettings(
        host=options["host"],
        port=options["port"],
        keys=keys_of(options["keys_file"], options["keys_env"], env),
        strict=options["strict"],
        names=(options["model"], *(options["served_name"] or ())),
        max_body=options["max_body"],
        max_documents=options["max_documents"],
        max_query=options["max_query"],
        max_document=options["max_document"],
        max_queue=options["max_queue"],
        timeout_s=options["request_timeout"],
        access_log=options["access_log"],
        limits=Limits(options["max_tokens_per_doc"], options["long_documents"], options["max_chunks_per_doc"]),
    )


def model_of(options: dict[str, Any]) -> ModelSettings:
    """The local model. Raises UsageError for a remote one: clients can call that themselves."""
    from rerank_cli.cli.translate import local_model_of

    what = "serve runs a local model, and `{model}` is a remote one"
    # Threads that spin between batches would burn a core while the server waits for requests.
    return replace(local_model_of(options, what, "clients can call it directly"), spinning=False)


def keys_of(file: Path | None, variable: str | None, env: Mapping[str, str]) -> tuple[str, ...]:
    """All keys of file and variable. Raises InputError or UsageError if one is named and holds none."""
    from rerank_cli.net import is_variable

    keys: list[str] = []
    if file is not None:
        keys += keys_in(file)
    if variable is not None:
        if not is_variable(variable):
            raise UsageError(
                "--keys-env: this is not the name of an environment variable",
                "keys themselves do not belong here: put them in a variable and name that",
            )
        found = env.get(variable, "").replace(",", " ").split()
        if not found:
            raise UsageError(f"--keys-env: the variable {variable} holds no key", f"export {variable}=…")
        keys += found
    return tuple(dict.fromkeys(keys))


def keys_in(file: Path) -> list[str]:
    """The keys of a file; blank lines and those that start with `#` do not count."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # Windows editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"cannot read the keys: {reason}", where=str(file)) from None
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise InputError("the file holds no key", "write one key a line", str(file))
    return keys
