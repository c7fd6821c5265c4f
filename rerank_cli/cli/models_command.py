"""`rerank models list|show|pull|verify|convert`: the models on this machine. Nothing is ranked here."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from rerank_cli.cli import model_options as m
from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import Command
from rerank_cli.cli.group import Group
from rerank_cli.cli.main import configure
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.facts import BUILTIN
from rerank_cli.settings import Backend, ModelSettings

if TYPE_CHECKING:
    from rerank_cli.convert.model import Converted
    from rerank_cli.models.facts import LocalModel
    from rerank_cli.terminal import Terminal

FORMS = {"fp32": "fp32", "int8": "int8", "openvino": "ir"}
app = typer.Typer(
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    help="""Show, fetch, check and convert models.

    examples:
      rerank models list
      rerank models show cross-encoder/ms-marco-MiniLM-L6-v2
      rerank models pull BAAI/bge-reranker-v2-m3@main
      rerank models verify BAAI/bge-reranker-v2-m3 --json
      rerank models convert BAAI/bge-reranker-v2-m3 --form fp32 --form openvino
    """,
)


@app.command("list", cls=Command)
def list_models(ctx: typer.Context, json: o.AsJson = False, verbose: o.Verbose = 0, quiet: o.Quiet = False) -> int:
    """List the embedded model, the rerankers in the Hugging Face cache and the converted copies.

    examples:
      rerank models list
      rerank models list --json | jq -r '.[].name'
    """
    from rerank_cli.models import inventory

    terminal = configure(ctx.obj, verbose=verbose, quiet=quiet)
    rows = inventory.listed()
    for row in rows:
        if row["problem"]:
            terminal.warn(f"{row['name']} cannot be used: {row['problem']}")
    _print(rows, terminal, as_json=json)
    return 0


@app.command(cls=Command)
def show(
    ctx: typer.Context,
    name: m.ModelName,
    backend: so.Backend = "auto",
    offline: so.Offline = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Show one model: family, licence, limits, files, and the backend that would run it.

    examples:
      rerank models show builtin
      rerank models show cross-encoder/ms-marco-MiniLM-L6-v2 --json
    """
    from rerank_cli.models import LoadPolicy, inventory, resolve
    from rerank_cli.scorers import selection

    terminal = configure(ctx.obj, verbose=verbose, quiet=quiet)
    settings = ModelSettings(
        name, cast("Backend", backend), offline=offline, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle
    )
    model = resolve(name, LoadPolicy.of(settings))
    for note in model.notes:
        terminal.note(note)
    facts = inventory.described(model)
    try:
        choice = selection.choose(model, settings)
        facts |= {"backend": choice.backend, "dtype": choice.dtype, "reason": choice.reason}
    except ModelError as error:
        facts |= {"backend": None, "dtype": None, "reason": error.message}
    _print(facts, terminal, as_json=json)
    return 0


@app.command(cls=Command)
def pull(
    ctx: typer.Context,
    name: m.ModelName,
    backend: so.Backend = "auto",
    offline: so.Offline = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Download a model from the Hugging Face hub, or check for a newer revision.

    examples:
      rerank models pull BAAI/bge-reranker-v2-m3
      rerank models pull BAAI/bge-reranker-v2-m3@main --backend onnx
    """
    from rerank_cli import hub
    from rerank_cli.models.reference import is_hub_name

    terminal = configure(ctx.obj, verbose=verbose, quiet=quiet)
    if not is_hub_name(name):
        raise UsageError(f"`{name}` is no Hugging Face name", "write it as owner/name, with @revision if you like")
    repository, _, revision = name.partition("@")
    if hub.is_offline(offline):
        raise UsageError(
            "`models pull` needs the network, and it is switched off", "leave out --offline and HF_HUB_OFFLINE"
        )
    want = hub.FileFilter(backend, allow_pickle=allow_pickle, code=trust_remote_code)
    with terminal.progress(f"fetching {name}") as advance:
        snapshot = hub.download(repository, revision or None, want, lambda _done, _all: advance(1))
    facts = {"name": repository, "revision": snapshot.commit, "folder": str(snapshot.folder)}
    _print(facts, terminal, as_json=json)
    return 0


@app.command(cls=Command)
def verify(
    ctx: typer.Context,
    name: m.ModelName,
    backend: so.Backend = "auto",
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Compare the files of a model with their digests; exit 4 if one differs or is missing.

    examples:
      rerank models verify builtin
      rerank models verify BAAI/bge-reranker-v2-m3 --json
    """
    from rerank_cli.hub import FileFilter
    from rerank_cli.models import inventory

    terminal = configure(ctx.obj, verbose=verbose, quiet=quiet)
    facts = inventory.verified(name, FileFilter(backend, allow_pickle=allow_pickle))
    _print(facts, terminal, as_json=json)
    if facts["problems"]:
        raise ModelError(
            f"{name}: {len(facts['problems'])} of its files are missing or not what they were",
            "install rerank-cli again" if name == BUILTIN else f"`rerank models pull {name}` fetches them again",
        )
    return 0


@app.command(cls=Command)
def convert(
    ctx: typer.Context,
    name: m.ModelName,
    form: m.Form = None,
    output: m.CopyFolder = None,
    threads: so.Threads = None,
    offline: so.Offline = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
) -> int:
    """Convert a torch checkpoint to ONNX or OpenVINO.

    examples:
      rerank models convert BAAI/bge-reranker-v2-m3 --form fp32 --form int8
      rerank models convert ./my-model --form openvino -o ./my-copy
    """
    from rerank_cli import cpu
    from rerank_cli.convert.model import convert as convert_model
    from rerank_cli.models import LoadPolicy, resolve
    from rerank_cli.models.converted import folder_of, with_converted

    terminal = configure(ctx.obj, verbose=verbose, quiet=quiet)
    forms = [FORMS[each] for each in form or ["fp32"]]
    settings = ModelSettings(
        model=name, backend="torch", offline=offline, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle
    )
    model = resolve(name, replace(LoadPolicy.of(settings), converted=False))
    if output is None:
        held = with_converted(model).converted
        forms += [each for each in FORMS.values() if each in held]  # a second conversion adds to the copy
    target = output or folder_of(model)
    made = convert_model(model, list(dict.fromkeys(forms)), target, threads or cpu.available_threads(), terminal.detail)
    _print(record_of(model, made), terminal, as_json=json)
    return 0


def record_of(model: LocalModel, made: Converted) -> dict[str, Any]:
    """A conversion as JSON has it."""
    return {
        "name": model.name,
        "revision": model.revision,
        "folder": str(made.folder),
        "forms": [asdict(comparison) for comparison in made.comparisons],
    }


def _print(found: Any, terminal: Terminal, *, as_json: bool) -> None:
    """JSON, or text: a table for lists, `name: value` lines for one thing."""
    from rerank_cli.writers.sections import Section, json_text, text, write_report

    if as_json:
        shown = json_text(found)
    elif isinstance(found, list):
        headers = ("name", "revision", "where", "family", "graphs", "MB")
        rows = [[*_cells(row), "–" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"] for row in found]
        shown = text([Section("", headers, rows, names=5)])
    else:
        shown = "".join(f"{name}: {_plain(value)}\n" for name, value in found.items() if value not in (None, [], {}))
        if found.get("name") == BUILTIN and found.get("card"):
            shown += "\n" + Path(found["card"]).read_text("utf-8")
    write_report(shown, None, terminal, as_json=as_json)


def _cells(row: dict[str, Any]) -> list[str]:
    family = row["family"] or "unreadable"
    return [row["name"], (row["revision"] or "–")[:12], row["where"], family, ", ".join(row["graphs"]) or "–"]


def _plain(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(_plain(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)
