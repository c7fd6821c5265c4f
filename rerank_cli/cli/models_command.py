"""`rerank models list|show|pull|verify|convert|known|providers`: the models on this machine. Nothing is ranked here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.cli import providers_command
from rerank_cli.cli.command import AsJson, Command, Group
from rerank_cli.cli.known_models import list_known
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.models.facts import BUILTIN
from rerank_cli.options import MODEL, OUTPUT, option, same
from rerank_cli.settings import Backend, LoadAs, ModelSettings
from rerank_cli.text import escape_line

if TYPE_CHECKING:
    from rerank_cli.cli.sources import Call

FORMS = {"fp32": "fp32", "int8": "int8", "openvino": "ir"}


@dataclass(frozen=True, slots=True)
class Named:
    """Which model."""

    name: str = option(
        "", "builtin, a Hugging Face name or a folder (./path).", metavar="MODEL", required=True, group=MODEL
    )


@dataclass(frozen=True, slots=True)
class Loading:
    """What a model may need in order to be read."""

    backend: Backend = same(ModelSettings, "backend")
    offline: bool = same(ModelSettings, "offline")
    trust_remote_code: bool = same(ModelSettings, "trust_remote_code")
    allow_pickle: bool = same(ModelSettings, "allow_pickle")
    template: str | None = same(ModelSettings, "template")


@dataclass(frozen=True, slots=True)
class Kind:
    """As what a model is looked at."""

    load_as: LoadAs = same(ModelSettings, "load_as")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a checkpoint becomes, and where."""

    form: tuple[str, ...] = option(
        "--form",
        "fp32 (ONNX), int8 (ONNX, 8-bit products per token) or openvino; repeatable (default: fp32).",
        metavar="FORM",
        many=True,
        choices=("fp32", "int8", "openvino"),
        configurable=False,
        group=MODEL,
    )
    output: Path | None = option(
        "--output -o",
        "Where the copy goes (default: our cache, where `-m` finds it by itself).",
        metavar="FOLDER",
        kind=Path,
        configurable=False,
        in_short_help=True,
        group=OUTPUT,
    )
    threads: int | None = same(ModelSettings, "threads")


def list_models(call: Call) -> int:
    """List the embedded model, the rerankers in the Hugging Face cache and the converted copies.

    examples:
      rerank models list
      rerank models list --json | jq -r '.[].name'
    """
    from rerank_cli.models import inventory

    rows = inventory.listed()
    for row in rows:
        if row["problem"]:
            call.terminal.warn(f"{row['name']} cannot be used: {row['problem']}")
    _print(rows, call)
    return 0


def show(call: Call) -> int:
    """Show one model: family, licence, limits, files, the prompt of a sample pair, and the backend that would run it.

    examples:
      rerank models show builtin
      rerank models show cross-encoder/ms-marco-MiniLM-L6-v2 --json
      rerank models show ./my-decoder --template qwen3-reranker
    """
    from rerank_cli.models import LoadPolicy, inventory, resolve
    from rerank_cli.scorers import answers, selection

    name = call.values["name"]
    settings = replace(call.settings(ModelSettings), model=name)
    model = resolve(name, LoadPolicy.of(settings))
    for note in model.notes:
        call.terminal.note(note)
    facts = inventory.described(model)
    try:
        facts |= answers.sample(model)
    except (ModelError, UsageError) as error:
        call.terminal.warn(error.message + (f" ({error.hint})" if error.hint else ""))
    try:
        choice = selection.choose(model, settings)
        facts |= {"backend": choice.backend, "dtype": choice.dtype, "reason": choice.reason}
    except ModelError as error:
        facts |= {"backend": None, "dtype": None, "reason": error.message}
    _print(facts, call)
    return 0


def pull(call: Call) -> int:
    """Download a model from the Hugging Face hub, or check for a newer revision.

    examples:
      rerank models pull BAAI/bge-reranker-v2-m3
      rerank models pull BAAI/bge-reranker-v2-m3@main --backend onnx
    """
    from rerank_cli import hub
    from rerank_cli.inside import is_hub_name

    name, loading = call.values["name"], call.settings(Loading)
    if not is_hub_name(name):
        raise UsageError(f"`{name}` is not a Hugging Face name", "write it as owner/name, with @revision if you like")
    repository, _, revision = name.partition("@")
    if hub.is_offline(loading.offline):
        hint = "leave out --offline and HF_HUB_OFFLINE"
        raise UsageError("`models pull` needs the network, and it is switched off", hint)
    want = hub.FileFilter(loading.backend, allow_pickle=loading.allow_pickle, code=loading.trust_remote_code)
    with call.terminal.progress(f"fetching {name}") as advance:
        snapshot = hub.download(repository, revision or None, want, lambda _done, _all: advance(1))
    facts = {"name": repository, "revision": snapshot.commit, "folder": str(snapshot.folder)}
    _print(facts, call)
    return 0


def verify(call: Call) -> int:
    """Compare the files of a model with their digests; exit 4 if one differs or is missing.

    examples:
      rerank models verify builtin
      rerank models verify BAAI/bge-reranker-v2-m3 --json
    """
    from rerank_cli.hub import FileFilter
    from rerank_cli.models import inventory

    name, loading = call.values["name"], call.settings(Loading)
    facts = inventory.verified(name, FileFilter(loading.backend, allow_pickle=loading.allow_pickle))
    _print(facts, call)
    if facts["problems"]:
        hint = "install rerank-cli again" if name == BUILTIN else f"`rerank models pull {name}` fetches them again"
        raise ModelError(f"{name}: {len(facts['problems'])} of its files are missing or not what they were", hint)
    return 0


def convert(call: Call) -> int:
    """Convert a torch checkpoint to ONNX or OpenVINO.

    examples:
      rerank models convert BAAI/bge-reranker-v2-m3 --form fp32 --form int8
      rerank models convert ./my-model --form openvino -o ./my-copy
    """
    from rerank_cli import cpu
    from rerank_cli.convert.model import convert as convert_model
    from rerank_cli.models import LoadPolicy, resolve
    from rerank_cli.models.converted import folder_of, with_converted

    name = call.values["name"]
    conversion = call.settings(Conversion)
    forms = [FORMS[each] for each in conversion.form or ["fp32"]]
    settings = replace(call.settings(ModelSettings), model=name, backend="torch")
    model = resolve(name, replace(LoadPolicy.of(settings), converted=False))
    if conversion.output is None:
        held = with_converted(model).converted
        forms += [each for each in FORMS.values() if each in held]  # a second conversion adds to the copy
    target = conversion.output or folder_of(model)
    threads = cpu.threads_of(conversion.threads)
    made = convert_model(model, list(dict.fromkeys(forms)), target, threads, call.terminal.detail)
    compared = [asdict(comparison) for comparison in made.comparisons]
    facts = {"name": model.name, "revision": model.revision, "folder": str(made.folder), "forms": compared}
    _print(facts, call)
    return 0


COMMAND = Group(
    """Show, fetch, check and convert models; list the remote providers.

    examples:
      rerank models list
      rerank models show cross-encoder/ms-marco-MiniLM-L6-v2
      rerank models pull BAAI/bge-reranker-v2-m3@main
      rerank models verify BAAI/bge-reranker-v2-m3 --json
      rerank models convert BAAI/bge-reranker-v2-m3 --form fp32 --form openvino
      rerank models known
      rerank models providers cohere
    """,
    {
        "list": Command(list_models, (AsJson,)),
        "show": Command(show, (Named, Loading, Kind, AsJson)),
        "pull": Command(pull, (Named, Loading, AsJson), without=frozenset({"template"})),
        "verify": Command(
            verify, (Named, Loading, AsJson), without=frozenset({"offline", "trust_remote_code", "template"})
        ),
        "convert": Command(convert, (Named, Conversion, Loading, Kind, AsJson), without=frozenset({"backend"})),
        "known": Command(list_known, (AsJson,)),
        "providers": providers_command.COMMAND,
    },
)


def _print(found: Any, call: Call) -> None:
    """JSON, or text: a table for lists, `name: value` lines for one thing."""
    from rerank_cli.writers.sections import Section, json_text, text, write_report

    as_json = call.settings(AsJson).json
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
    write_report(shown, None, call.terminal, as_json=as_json)


def _cells(row: dict[str, Any]) -> list[str]:
    family = row["family"] or "unreadable"
    return [row["name"], (row["revision"] or "–")[:12], row["where"], family, ", ".join(row["graphs"]) or "–"]


def _plain(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "; ".join(_plain(part) for part in value)
    return f"{value:.3g}" if isinstance(value, float) else escape_line(str(value))
