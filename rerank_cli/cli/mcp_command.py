"""`rerank mcp`: options to a running server for agents. What the server does is `rerank_cli.mcp_server`."""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli import lookup
from rerank_cli.cli.command import Command
from rerank_cli.cli.rules import refuse_without_reach
from rerank_cli.errors import ModelError, OutputError, UsageError
from rerank_cli.files import reason_of
from rerank_cli.options import INPUT, option
from rerank_cli.settings import Limits, ModelSettings
from rerank_cli.writers.output import ClosedPipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rerank_cli.cli.sources import Call


@dataclass(frozen=True, slots=True)
class McpSettings:
    """What agents may ask for."""

    root: Path = option(
        "--root",
        "Only files inside this folder are read (default: the current one).",
        metavar="FOLDER",
        kind=Path,
        default=Path(),
        configurable=False,
        in_short_help=True,
        group=INPUT,
    )
    max_documents: int = option(
        "--max-documents",
        "Most documents of one call.",
        metavar="N",
        default=10_000,
        minimum=1,
        configurable=False,
        group=INPUT,
    )


def mcp(call: Call) -> int:
    """Offer ranking to agents, as tools of the Model Context Protocol over stdin and stdout.

    examples:
      rerank mcp
      rerank mcp --root ~/notes -m BAAI/bge-reranker-v2-m3
      claude mcp add rerank -- rerank mcp --root .
    """
    if find_spec("mcp") is None:
        raise ModelError("`rerank mcp` needs the package `mcp`", "pip install 'rerank-cli[mcp]'")
    from rerank_cli.api import Reranker
    from rerank_cli.mcp_input import repair_stdin
    from rerank_cli.mcp_server import Tools, make_server
    from rerank_cli.scorers.model_options import with_reach
    from rerank_cli.scorers.registry import chain_of, is_remote

    if sys.stdin is None or sys.stdout is None:
        raise UsageError("stdin or stdout is closed", "an agent's program starts `rerank mcp` and speaks over both")
    settings = call.settings(McpSettings)
    if not lookup.is_folder(settings.root):
        raise UsageError(f"--root: {settings.root} is not a folder", "name the folder whose files may be read")
    model = call.settings(ModelSettings)
    model = replace(model, remote=replace(model.remote, endpoints=call.endpoints, prices=call.prices))
    refuse_without_reach(call, [model])
    options = with_reach(options_of(model, call.settings(Limits)), model, chain_of(model)[1:])
    with closing(Reranker(model.model, fallback=model.fallback, **options)) as reranker:
        name, root = reranker.scorer.info.model, settings.root
        call.terminal.note(f"serving {name} to an agent over stdin and stdout; it may read files in {root}")
        tools = Tools(reranker, settings.root, settings.max_documents, call.terminal)
        repair_stdin()
        serve(make_server(tools, local=not is_remote(model)))
    return 0


def serve(server: Any) -> None:
    """Answer until stdin ends. Raises OutputError where stdout cannot be written, ClosedPipe where nobody reads it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)  # asyncio's own handler would wait for the end of stdin
    try:
        server.run("stdio")
    except ExceptionGroup as group:
        first = next(iter(leaves(group)))
        if isinstance(first, BrokenPipeError):
            raise ClosedPipe from None
        if isinstance(first, OSError):
            raise OutputError(f"cannot write to stdout: {reason_of(first)}", "an agent's program reads it") from None
        raise first from None


def interrupt(_number: int, _frame: object) -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """The exceptions of a group and of those in it."""
    for error in group.exceptions:
        yield from leaves(error) if isinstance(error, BaseExceptionGroup) else (error,)


COMMAND = Command(mcp, (McpSettings, ModelSettings, Limits), without=frozenset({"dry_run"}))


def options_of(model: ModelSettings, limits: Limits) -> dict[str, Any]:
    """The settings as keyword options of `Reranker`."""
    parts = (model, model.remote, limits)
    values = {field.name: getattr(part, field.name) for part in parts for field in fields(part)}
    return {name: value for name, value in values.items() if name not in {"model", "fallback", "remote"}}
