"""`rerank mcp`: options to a running server for agents. What the server does is `rerank_cli.mcp_server`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli.command import Command
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.options import INPUT, option
from rerank_cli.settings import Limits, ModelSettings

if TYPE_CHECKING:
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
    from rerank_cli.mcp_server import Tools, make_server
    from rerank_cli.scorers.registry import is_remote

    settings = call.settings(McpSettings)
    if not settings.root.is_dir():
        raise UsageError(f"--root: {settings.root} is not a folder", "name the folder whose files may be read")
    model = call.settings(ModelSettings)
    model = replace(model, remote=replace(model.remote, endpoints=call.endpoints, prices=call.prices))
    with closing(
        Reranker(model.model, fallback=model.fallback, **options_of(model, call.settings(Limits)))
    ) as reranker:
        call.terminal.note(f"{reranker.scorer.info.model} for agents, over stdin and stdout; files of {settings.root}")
        tools = Tools(reranker, settings.root, settings.max_documents, call.terminal)
        make_server(tools, local=not is_remote(model)).run("stdio")
    return 0


COMMAND = Command(mcp, (McpSettings, ModelSettings, Limits), without=frozenset({"dry_run"}))


def options_of(model: ModelSettings, limits: Limits) -> dict[str, Any]:
    """The settings as keyword options of `Reranker`."""
    parts = (model, model.remote, limits)
    values = {field.name: getattr(part, field.name) for part in parts for field in fields(part)}
    return {name: value for name, value in values.items() if name not in {"model", "fallback", "remote"}}
