"""What is digested is what is loaded: the files that one form of a model reads, and a digest of their contents.

A graph names its weights itself, and may call them anything. It knows files, not engines or scores.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError
from rerank_cli.files import sha256
from rerank_cli.inside import check_inside
from rerank_cli.models.onnx_files import external_files

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.models.facts import LocalModel

WHOLE = 256 << 20  # bytes; larger files by size, samples, and blob or times: hashing gigabytes takes seconds
SAMPLE = 1 << 20
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")  # of the hub's cache


def graph_files(graph: Path, home: Path) -> list[Path]:
    """A graph and the files that it reads its weights from, all inside `home`. Raises ModelError if one is not."""
    if graph.suffix == ".xml":  # OpenVINO's own format: the weights have the graph's name
        weights = graph.with_suffix(".bin")
        return [check_inside(graph, home), *([check_inside(weights, home)] if weights.is_file() else [])]
    return [check_inside(graph, home), *external_files(graph, home)]


def source_files(model: LocalModel, graph: Path | None) -> list[Path]:
    """The files that decide a model's scores: settings, templates, code, tokenizer, and the weights that are read.

    `graph` is the one that runs; None: torch reads the model's own weights.
    """
    base = model.transformer or model.folder
    files = {*base.glob("*.json"), *base.glob("*.jinja"), *model.folder.glob("*.json"), *model.folder.glob("*/*.json")}
    files |= set(base.glob("additional_chat_templates/*.jinja"))
    files |= {model.tokenizer, *model.folder.glob("artifact.metadata")}
    files |= {module.weights for module in model.modules if module.weights}
    files |= set(graph_files(graph, model.folder) if graph else model.weights)
    if model.remote_code:
        files |= set(model.folder.rglob("*.py"))
    return sorted(files, key=str)


def home_of(model: LocalModel, form: str, graph: Path) -> Path:
    """The folder that a graph's files may not leave: the model's, or that of its converted copy."""
    return graph.parent if form in model.converted else model.folder


def digest_model(model: LocalModel, form: str, graph: Path | None) -> str:
    """A digest of all files that a form loads, and of the facts that a converted copy keeps in its manifest.

    Raises ModelError for a file that leaves the model's folder or is gone.
    """
    parts = [f"{model.name}@{model.revision}" if model.revision else ""]
    if graph is not None and form in model.converted:
        parts += [_content(path, graph.parent) for path in graph_files(graph, graph.parent)]
        parts += [_content(model.tokenizer, model.tokenizer.parent), facts_of(model)]
    else:
        parts += [_content(path, model.folder) for path in source_files(model, graph)]
        if model.answers:  # found by name, not in a file
            parts.append(f"{model.chat} {model.answers}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def facts_of(model: LocalModel) -> str:
    """The facts of a converted copy that can change a score, as text."""
    names = ("max_tokens", "window", "labels", "positive", "scale", "pad_id", "family", "instruction", "lower_case",
             "token_types", "chat")  # fmt: skip
    encodings = [model.encodings] if model.encodings else []  # others keep the digests that they had
    return repr([*(getattr(model, name) for name in names), *encodings])


def _content(path: Path, folder: Path) -> str:
    """A file's place and content, for a digest. A link into the hub's cache names its blob by the blob's digest."""
    name = os.path.relpath(path, folder)
    try:
        stat = path.stat()
        if stat.st_size <= WHOLE:
            return f"{name} {sha256(path)}"
        with path.open("rb") as file:
            head = file.read(SAMPLE)
            file.seek(-SAMPLE, os.SEEK_END)
            sample = hashlib.sha256(head + file.read(SAMPLE)).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    known = path.is_symlink() and _BLOB.fullmatch(path.readlink().name)
    return f"{name} {stat.st_size} {known[0] if known else (stat.st_mtime_ns, stat.st_ctime_ns)} {sample}"
