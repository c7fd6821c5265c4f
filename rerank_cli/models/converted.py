"""Copies of models from `rerank models convert`: where they are, which source they belong to, what they contain.

A copy is a folder with graphs, tokenizer and `rerank.json`; it needs neither torch nor a template engine. It belongs to
one commit of a repository, or to the exact files of a folder: when those change it is not used.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rerank_cli import lookup
from rerank_cli.errors import ModelError
from rerank_cli.inside import check_inside, joined
from rerank_cli.models.facts import Chat, Encodings, Family, LocalModel, TextEncoding
from rerank_cli.models.files import BrokenFileError, Types, check_types, read_json
from rerank_cli.models.loaded import source_files
from rerank_cli.models.templates import content_of
from rerank_cli.owned import is_record

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST = "rerank.json"
FORMAT = 1
FIELDS = ("max_tokens", "window", "labels", "positive", "scale", "pad_id", "family", "instruction", "lower_case",
          "token_types")  # fmt: skip
MEMBERS: Types = {"name": str, "revision": str, "graphs": dict, "digests": dict, "chat": dict, "config": dict,
                  "max_tokens": int, "window": int, "labels": int, "positive": int, "scale": str, "pad_id": int,
                  "family": str, "instruction": str, "lower_case": bool, "token_types": bool}  # fmt: skip
OPTIONAL = {"revision", "chat", "window", "instruction"}  # may be null
CHAT: Types = {"kind": str, "text": str, "instructed": str, "structured": bool, "tokens": dict, "options": dict,
               "answers": list, "scale": str, "name": str}  # fmt: skip
ENCODING: Types = {"max_tokens": int, "prompt": str, "marker": str, "filler": str, "fill_to": int, "attends": bool,
                   "skipped": list}  # fmt: skip
FAMILIES = get_args(Family)
FORMS = {"fp32", "int8", "ir"}


def models_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Where converted copies and compiled models are kept: next to the score cache."""
    if folder := env.get("RERANK_CACHE_DIR"):
        return Path(folder).expanduser() / "models"
    from platformdirs import user_cache_path

    return user_cache_path("rerank", appauthor=False) / "models"


def key_of(model: LocalModel) -> str:
    """The key of a copy: the user's template, repository and commit, or a folder's files with their sizes and times."""
    digest = hashlib.sha256()
    digest.update(content_of(model.template).encode("utf-8", "surrogatepass"))  # a copy keeps it rendered
    if model.revision:
        digest.update(f"{model.name}@{model.revision}".encode())
        return digest.hexdigest()[:24]
    for path in source_files(model, None):
        stat = path.stat()
        line = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))  # a folder above may have a name that is not UTF-8
    return digest.hexdigest()[:24]


def folder_of(model: LocalModel) -> Path:
    """Where the copy of a model belongs."""
    return models_folder() / "converted" / key_of(model)


def is_converted(folder: Path) -> bool:
    """Whether a folder is a converted copy."""
    return lookup.is_file(folder / MANIFEST)


def with_converted(model: LocalModel) -> LocalModel:
    """The model with the graphs of its converted copy, if there is one; else the model itself.

    A copy that cannot be read is not used, with a note. The tokenizer stays the source's: the copy's is equal to it,
    and the source's files are the copy's key.
    """
    folder = folder_of(model)
    if not is_converted(folder):
        return model
    try:
        copy = read_converted(folder, model.name)
    except ModelError as error:
        command = f"rerank models convert {model.name}{' --as embedding' if model.family == 'embedding' else ''}"
        note = f"the converted copy is not used: {error.message}; `{command}` replaces it"
        return replace(model, notes=(*model.notes, note))
    taken = ("graphs", "chat", "instruction", "pad_id", "converted")
    return replace(model, **{name: getattr(copy, name) for name in taken})


def read_converted(folder: Path, name: str) -> LocalModel:
    """The facts of a converted copy. Raises ModelError for one of another format, malformed or with files missing."""
    manifest = read_manifest(folder)
    for path in folder.glob("*.j*"):  # all that decides the key of the copy, and of a copy's copy
        check_inside(path, folder)
    graphs = {form: joined(folder, file) for form, file in manifest["graphs"].items()}
    for path in (*graphs.values(), folder / "tokenizer.json"):
        if not path.is_file():
            raise ModelError(f"{path} is missing from the converted copy", "convert the model again")
    return LocalModel(
        name=name if name.startswith((".", "/", "~")) else manifest["name"],
        folder=folder,
        tokenizer=check_inside(folder / "tokenizer.json", folder),
        graphs=graphs,
        revision=manifest["revision"],
        config=manifest["config"],
        chat=_chat(manifest["chat"], folder / MANIFEST),
        encodings=_encodings(manifest.get("encodings"), folder / MANIFEST),
        converted=dict(manifest["digests"]),
        **{field: manifest[field] for field in FIELDS},
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a copy, its members checked. Raises ModelError for a file that is not such a manifest."""
    path = check_inside(folder / MANIFEST, folder)
    manifest: dict[str, Any] = read_json(path)
    if manifest.get("format") != FORMAT:
        message = f"{path.parent} was converted by another version of rerank (format {manifest.get('format')})"
        raise ModelError(message, "convert the model again: `rerank models convert`")
    for name in MEMBERS:
        if name not in manifest or (manifest[name] is None and name not in OPTIONAL):
            raise BrokenFileError(f"{path} has no `{name}`", "convert the model again: `rerank models convert`")
    check_types(manifest, MEMBERS, path)
    if not _is_sound(manifest):
        raise BrokenFileError(f"{path} is not a manifest that rerank wrote", "convert the model again")
    if not is_record(manifest.get("files", {})):  # copies of earlier versions have none
        raise BrokenFileError(f"{path}: `files` is not a list of files with digests", "convert the model again")
    return manifest


def _is_sound(manifest: dict[str, Any]) -> bool:
    """Whether the members of a manifest have values that a conversion writes."""
    texts = [*manifest["graphs"].values(), *manifest["digests"].values()]
    return (
        all(isinstance(text, str) for text in texts)
        and set(manifest["graphs"]) == set(manifest["digests"]) <= FORMS
        and manifest["family"] in FAMILIES
        and 0 <= manifest["positive"] < manifest["labels"] <= 2
        and manifest["max_tokens"] > 0
        and (manifest["window"] or 1) > 0
        and manifest["pad_id"] >= 0
    )


def _chat(record: dict[str, Any] | None, path: Path) -> Chat | None:
    try:
        check_types(record or {}, CHAT, path)
        return Chat(**{**record, "answers": tuple(record.get("answers") or ())}) if record else None
    except TypeError as error:
        raise BrokenFileError(f"{path} has a broken `chat`: {error}") from error


def _encodings(record: Any, path: Path) -> Encodings | None:
    """How texts are encoded, of a copy that has it: earlier versions wrote none."""
    if record is None:
        return None
    try:
        sides = [record["query"], record["document"]]
        for side in sides:
            check_types(side, ENCODING, path)
        query, document = (TextEncoding(**{**side, "skipped": tuple(map(str, side["skipped"]))}) for side in sides)
        return Encodings(query, document, str(record["similarity"]), bool(record["normalized"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise BrokenFileError(f"{path} has broken `encodings`: {error!r}", "convert the model again") from error


def manifest_of(
    model: LocalModel, graphs: dict[str, str], digests: dict[str, str], check: dict[str, Any], files: dict[str, str]
) -> dict[str, Any]:
    """The manifest of a copy; the model's chat template must be plain already.

    `graphs` maps a form to its file, `digests` to the SHA-256 of all that decides its scores; `check` is the comparison
    with the original; `files` records what was written (`rerank_cli.owned`).
    """
    from rerank_cli.version import __version__

    return {
        "format": FORMAT,
        "tool": f"rerank {__version__}",
        "name": model.name,
        "revision": model.revision,
        "graphs": graphs,
        "digests": digests,
        "check": check,
        "files": files,
        "chat": asdict(model.chat) if model.chat else None,
        "encodings": asdict(model.encodings) if model.encodings else None,
        "config": {name: model.config[name] for name in ("model_type", "architectures") if name in model.config},
        **{field: getattr(model, field) for field in FIELDS},
    }
