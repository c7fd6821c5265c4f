"""Models on this machine: the list, the facts of one, and whether its files are intact.

It returns plain dictionaries for `rerank models` to print; it opens configuration files only, and never the network.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rerank_cli import hub
from rerank_cli.errors import ModelError, RerankError, UsageError
from rerank_cli.files import sha256
from rerank_cli.inside import is_hub_name
from rerank_cli.models.converted import folder_of, is_converted, models_folder, read_converted
from rerank_cli.models.digests import problem_of
from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER, Encodings, LoadPolicy, LocalModel
from rerank_cli.models.files import BrokenFileError, read_json
from rerank_cli.models.reference import is_path, resolve
from rerank_cli.models.refusals import check_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CACHED = LoadPolicy(offline=True)
FRONT_MATTER = re.compile(r"^license: *[\"']?([\w.-]+)", re.MULTILINE)


def listed() -> list[dict[str, Any]]:
    """The built-in, the rerankers in the hub's cache, and converted copies; one dictionary each.

    A model with a broken file is listed with its `problem` and without facts.
    """
    rows = [_row(resolve(BUILTIN), "built in")]
    for repository in hub.cached_repositories():
        snapshot = hub.cached(repository, None) or _any_snapshot(repository)
        if snapshot is None:
            continue
        try:
            model = resolve(f"{repository}@{snapshot.commit}", CACHED)
        except BrokenFileError as error:
            rows.append(_unreadable(repository, snapshot.commit, "hub cache", error))
            continue
        except RerankError:
            continue  # embedding models and others share the cache; `models show` says why one is not a reranker
        rows.append(_row(model, "hub cache"))
    for place in sorted((models_folder() / "converted").glob("*/rerank.json")):
        where = {"folder": str(place.parent)}
        try:
            copy = read_converted(place.parent, str(place.parent))
        except ModelError as error:
            rows.append(_unreadable(str(place.parent), None, "converted", error) | where)
        else:
            rows.append(_row(copy, "converted") | where | {"name": read_json(place)["name"]})
    return rows


def _any_snapshot(repository: str) -> hub.Snapshot | None:
    """The newest snapshot of a repository that was only fetched by commit."""
    folders = sorted((hub.repository_folder(repository) / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime)
    return hub.Snapshot(repository, folders[-1].name, folders[-1]) if folders else None


def _row(model: LocalModel, where: str) -> dict[str, Any]:
    return {
        "name": model.name,
        "revision": model.revision,
        "where": where,
        "family": model.family,
        "graphs": sorted(model.graphs),
        "max_tokens": model.max_tokens,
        "bytes": size_of(model),
        "problem": None,
    }


def _unreadable(name: str, revision: str | None, where: str, error: RerankError) -> dict[str, Any]:
    unknown: dict[str, Any] = {"family": None, "graphs": [], "max_tokens": None, "bytes": None}
    return {"name": name, "revision": revision, "where": where, **unknown, "problem": error.message}


def size_of(model: LocalModel) -> int:
    """Bytes of the model's files."""
    folder = model.folder
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def described(model: LocalModel) -> dict[str, Any]:
    """All facts of one model."""
    copy = folder_of(model)
    card = card_of(model.folder)
    return {
        "name": model.name,
        "revision": model.revision,
        "folder": str(model.folder),
        "family": model.family,
        "architecture": ", ".join(map(str, model.config.get("architectures") or [model.config.get("model_type", "")])),
        "license": licence(model.folder),
        "logits": None if model.encodings else model.labels,
        "positive": _positive(model),
        "scale": model.scale,
        "max_tokens": model.max_tokens,
        "window": model.window,
        "prompt": "chat template" if model.chat else "texts apart" if model.encodings else "pair template",
        "template": model.template or (model.chat.name if model.chat else "") or None,
        "instruction": model.instruction,
        **({"encodings": _encodings(model.encodings)} if model.encodings else {}),
        "modules": [module.kind for module in model.modules],
        "graphs": {form: str(path) for form, path in model.graphs.items()},
        "weights": [str(path) for path in model.weights],
        "converted": str(copy) if model.converted and is_converted(copy) else None,
        "bytes": size_of(model),
        "card": str(card) if card else None,
    }


def _encodings(encodings: Encodings) -> dict[str, Any]:
    """How texts are encoded, without what is not set."""
    sides = {name: asdict(getattr(encodings, name)) for name in ("query", "document")}
    for side in sides.values():
        side["skipped"] = list(side["skipped"])
    kept = {name: {key: value for key, value in side.items() if value} for name, side in sides.items()}
    return {**kept, "similarity": encodings.similarity, "normalized": encodings.normalized}


def _positive(model: LocalModel) -> str | None:
    """The label that counts as relevant, by name."""
    if model.labels != 2:
        return None
    labels = model.config.get("id2label") or {}
    return str(labels.get(str(model.positive), model.positive))


def card_of(folder: Path) -> Path | None:
    """The model card, if there is one."""
    return next((folder / name for name in ("README.md", "MODEL_CARD.md") if (folder / name).is_file()), None)


def licence(folder: Path) -> str | None:
    """The licence in the model card or the config."""
    card = card_of(folder)
    if card and (match := FRONT_MATTER.search(card.read_text("utf-8", "replace")[:4000])):
        return match[1]
    config = folder / "config.json"
    name = read_json(config).get("license") if config.is_file() else None
    return str(name) if name else None


def verified(reference: str, needed: hub.FileFilter) -> dict[str, Any]:
    """Compare every file of a model with its recorded digest, without the network; find what is needed and missing.

    Returns name, folder, number of files, and `problems`: one line per file that differs or is missing.
    Raises ModelError if the model is not in the cache or does not run here, UsageError for a bare folder, which has no
    recorded digests.
    """
    if reference == BUILTIN:
        checks, folder = _builtin_checks(), BUILTIN_FOLDER
    elif is_hub_name(reference):
        repository, _, revision = reference.partition("@")
        snapshot = hub.cached(repository, revision or None)
        if snapshot is None:
            hint = "`rerank models pull` fetches it"
            raise ModelError(f"`{reference}` is not in the cache at {hub.cache_folder()}", hint)
        check_folder(snapshot.folder)
        checks, folder = _hub_checks(snapshot.folder, needed), snapshot.folder
    else:
        raise UsageError(
            f"`{reference}` is a folder: its files have no recorded digests"
            if is_path(reference)
            else f"unknown model `{reference}`",
            "verify a Hugging Face name or `builtin`",
        )
    results = list(checks)
    return {
        "name": reference,
        "folder": str(folder),
        "files": len(results),
        "problems": [problem for problem in results if problem],
    }


def _builtin_checks() -> Iterator[str | None]:
    for name, digest in read_json(BUILTIN_FOLDER / "digests.json")["files"].items():
        path = BUILTIN_FOLDER / name
        if not path.is_file():
            yield f"{name} is missing"
        else:
            yield None if sha256(path) == digest else f"{name} differs from its digest"


def _hub_checks(folder: Path, needed: hub.FileFilter) -> Iterator[str | None]:
    """Every file of a snapshot, then those that are needed and missing."""
    files = sorted(entry for entry in folder.rglob("*") if not entry.is_dir())
    for path in files:
        problem = problem_of(path)
        yield f"{path.relative_to(folder)} {problem}" if problem else None
    for name in hub.missing_files(folder, needed):
        if folder / name not in files:
            yield f"{name} is missing"
