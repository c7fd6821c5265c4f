"""`rerank models list|show|pull|verify|convert`: the models on this machine. Nothing is ranked here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rerank_cli.cli import model_options as m
from rerank_cli.cli import options as o
from rerank_cli.cli import scorer_options as so
from rerank_cli.cli.command import collect
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.facts import BUILTIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from rerank_cli.terminal import Terminal

FORMS = {"fp32": "fp32", "int8": "int8", "openvino": "ir"}


def models(
    ctx: typer.Context,
    models_action: m.ModelsAction,
    name: m.ModelName = None,
    form: m.Form = None,
    output: m.CopyFolder = None,
    backend: so.Backend = "auto",
    threads: so.Threads = None,
    offline: so.Offline = False,
    trust_remote_code: so.TrustRemoteCode = False,
    allow_pickle: so.AllowPickle = False,
    json: o.AsJson = False,
    config: o.Config = None,
    no_config: o.NoConfig = False,
    verbose: o.Verbose = 0,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> int:
    """Show, fetch, check and convert models.

    examples:
      rerank models list
      rerank models show cross-encoder/ms-marco-MiniLM-L6-v2
      rerank models pull BAAI/bge-reranker-v2-m3@main
      rerank models verify BAAI/bge-reranker-v2-m3 --json
      rerank models convert BAAI/bge-reranker-v2-m3 --form fp32 --form openvino
    """
    return run(collect(ctx, locals()), ctx.obj)


def run(options: dict[str, Any], terminal: Terminal) -> int:
    """Do it and print what was found. Raises ModelError if files differ from their digests."""
    from rerank_cli.cli.main import configure

    terminal = configure(terminal, verbose=options["verbose"], quiet=options["quiet"])
    action, name = options["models_action"], options["name"]
    if action == "list" and name:
        raise UsageError("`models list` takes no model", f"`rerank models show {name}` tells of one")
    if action != "list" and not name:
        raise UsageError(f"`models {action}` needs a model", f"for example `rerank models {action} builtin`")
    found = DO[action](options, terminal)
    _print(found, options, terminal)
    if action == "verify" and found["problems"]:
        raise ModelError(
            f"{name}: {len(found['problems'])} of its files are missing or not what they were",
            "install rerank-cli again" if name == BUILTIN else f"`rerank models pull {name}` fetches them again",
        )
    return 0


def _list(_options: dict[str, Any], terminal: Terminal) -> list[dict[str, Any]]:
    from rerank_cli.models import inventory

    found = inventory.listed()
    for row in found:
        if row["problem"]:
            terminal.warn(f"{row['name']} cannot be used: {row['problem']}")
    return found


def _show(options: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    from rerank_cli.models import inventory
    from rerank_cli.models.reference import Access, resolve
    from rerank_cli.scorers import selection

    settings = _settings(options)
    model = resolve(settings.model, Access.of(settings))
    for note in model.notes:
        terminal.note(note)
    found = inventory.described(model)
    try:
        choice = selection.choose(model, settings)
        found |= {"backend": choice.backend, "dtype": choice.dtype, "reason": choice.reason}
    except ModelError as error:
        found |= {"backend": None, "dtype": None, "reason": error.message}
    return found


def _pull(options: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    from rerank_cli import hub
    from rerank_cli.models.reference import is_hub_name

    name = options["name"]
    if not is_hub_name(name):
        raise UsageError(f"`{name}` is no Hugging Face name", "write it as owner/name, with @revision if you like")
    repository, _, revision = name.partition("@")
    if hub.is_offline(options["offline"]):
        raise UsageError(
            "`models pull` needs the network, and it is switched off", "leave out --offline and HF_HUB_OFFLINE"
        )
    want = hub.Want(options["backend"], allow_pickle=options["allow_pickle"], code=options["trust_remote_code"])
    with terminal.progress(f"fetching {name}") as advance:
        snapshot = hub.download(repository, revision or None, want, lambda _done, _all: advance(1))
    return {"name": repository, "revision": snapshot.commit, "folder": str(snapshot.folder)}


def _verify(options: dict[str, Any], _terminal: Terminal) -> dict[str, Any]:
    from rerank_cli.hub import Want
    from rerank_cli.models import inventory

    return inventory.verified(options["name"], Want(options["backend"], allow_pickle=options["allow_pickle"]))


def _convert(options: dict[str, Any], terminal: Terminal) -> dict[str, Any]:
    from dataclasses import asdict, replace

    from rerank_cli import cpu
    from rerank_cli.convert.model import convert
    from rerank_cli.models.converted import folder_of, with_converted
    from rerank_cli.models.reference import Access, resolve

    forms = [FORMS[form] for form in options["form"] or ["fp32"]]
    access = replace(Access.of(_settings(options)), backend="torch", converted=False)
    model = resolve(options["name"], access)
    if options["output"] is None:
        held = with_converted(model).converted
        forms += [form for form in FORMS.values() if form in held]  # a second conversion adds to the copy
    target = options["output"] or folder_of(model)
    threads = options["threads"] or cpu.available_threads()
    made = convert(model, list(dict.fromkeys(forms)), target, threads, terminal.detail)
    return {
        "name": model.name,
        "revision": model.revision,
        "folder": str(made.folder),
        "forms": [asdict(comparison) for comparison in made.comparisons],
    }


DO: dict[str, Callable[[dict[str, Any], Terminal], Any]] = {
    "list": _list,
    "show": _show,
    "pull": _pull,
    "verify": _verify,
    "convert": _convert,
}


def _settings(options: dict[str, Any]) -> Any:
    from rerank_cli.settings import ModelSettings

    same = ("backend", "offline", "trust_remote_code", "allow_pickle", "threads")
    return ModelSettings(model=options["name"], **{name: options[name] for name in same})


def _print(found: Any, options: dict[str, Any], terminal: Terminal) -> None:
    """JSON, or text: a table for lists, `name: value` lines for one thing."""
    from rerank_cli.writers.sections import Section, json_text, text, write_report

    if options["json"]:
        shown = json_text(found)
    elif isinstance(found, list):
        headers = ("name", "revision", "where", "family", "graphs", "MB")
        rows = [[*_cells(row), "–" if row["bytes"] is None else f"{row['bytes'] / 1e6:.1f}"] for row in found]
        shown = text([Section("", headers, rows, names=5)])
    else:
        shown = "".join(f"{name}: {_plain(value)}\n" for name, value in found.items() if value not in (None, [], {}))
        if found.get("name") == BUILTIN and found.get("card"):
            shown += "\n" + Path(found["card"]).read_text("utf-8")
    write_report(shown, None, terminal, as_json=options["json"])


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
