"""What `-m` names: the built-in, a folder, or a repository of the model hub.

It decides which of them a reference is; `hub` knows where hub files are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli import lookup
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.inside import is_commit, is_hub_name
from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER, LoadPolicy, LocalModel
from rerank_cli.models.files import read_json
from rerank_cli.models.known import suggestion
from rerank_cli.models.templates import takes_pairs
from rerank_cli.text import has_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATH_PREFIXES = ("./", "../", "/", "~", ".\\", "..\\")
DEFAULT_POLICY = LoadPolicy()


def is_path(reference: str) -> bool:
    """Whether a reference is written as a path."""
    return reference.startswith(PATH_PREFIXES) or reference in {".", ".."}


def require_known(
    reference: str, endpoints: Iterable[str] = (), elsewhere: Callable[[str], str | None] | None = None
) -> None:
    """Raise UsageError for a reference that is neither the built-in, nor a path, nor a hub name.

    `elsewhere`: the hint for a name that belongs to a provider, None for any other.
    """
    if reference == BUILTIN or is_path(reference) or is_hub_name(reference):
        return
    folder = (
        f"a folder is written with a leading `./`: `-m ./{reference}`" if lookup.is_folder(Path(reference)) else None
    )
    hint = folder or suggestion(reference, [BUILTIN, *endpoints], elsewhere)
    hint = (
        hint
        or "use `builtin`, a folder (`./path`), a Hugging Face name, or `PROVIDER:MODEL` (`rerank models providers`)"
    )
    raise UsageError(f"unknown model `{reference}`", hint)


def resolve(reference: str, policy: LoadPolicy = DEFAULT_POLICY) -> LocalModel:
    """The local model of a reference. Raises ModelError or UsageError with a hint; may download a hub repository."""
    if reference == BUILTIN:
        if policy.template:
            raise takes_pairs(BUILTIN)
        if policy.load_as != "auto":
            raise UsageError(f"--as {policy.load_as}: `builtin` is a reranker", "leave `--as` out, or name a model")
        return builtin()
    require_known(reference, policy.endpoints)
    if is_path(reference):
        return _folder(reference, policy)
    return _repository(reference, policy)


def builtin() -> LocalModel:
    """The embedded cross-encoder."""
    config = read_json(BUILTIN_FOLDER / "config.json")
    digests = read_json(BUILTIN_FOLDER / "digests.json")
    return LocalModel(
        name=BUILTIN,
        folder=BUILTIN_FOLDER,
        tokenizer=BUILTIN_FOLDER / "tokenizer.json",
        graphs={form: BUILTIN_FOLDER / spec["file"] for form, spec in config["graphs"].items()},
        max_tokens=int(config["max_tokens"]),
        window=int(config["window"]),
        revision=hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:12],
        english_only=True,
        config=config,
    )


def _folder(reference: str, policy: LoadPolicy) -> LocalModel:
    from rerank_cli.models.converted import is_converted, read_converted, with_converted
    from rerank_cli.models.folder import read_folder

    folder = Path(reference).expanduser()
    if has_surrogates(str(folder)):
        raise ModelError(f"the name of {folder} is not UTF-8, and engines open no such file", "rename the folder")
    if is_converted(folder):
        if policy.template:
            message = f"--template: {reference} is a converted copy, which keeps the template it was made with"
            raise UsageError(message, "convert the model again with the other template")
        return _of_kind(read_converted(folder, reference), policy)
    # Trust is for code of a pinned revision, and a folder has none: whoever can write to it could change the code.
    model = read_folder(folder, reference, replace(policy, trust_remote_code=False))
    return with_converted(model) if policy.converted else model


def _of_kind(copy: LocalModel, policy: LoadPolicy) -> LocalModel:
    """A converted copy. Raises ModelError if it is not of the kind that was asked for."""
    embedding = copy.family == "embedding"
    if embedding != (policy.load_as == "embedding"):
        hint = "`--as embedding` ranks by the cosine of its vectors" if embedding else "leave `--as` out"
        raise ModelError(f"{copy.folder} is {'' if embedding else 'not '}a copy of an embedding model", hint)
    return copy


def _repository(reference: str, policy: LoadPolicy) -> LocalModel:
    from rerank_cli import hub
    from rerank_cli.models.converted import with_converted
    from rerank_cli.models.folder import read_folder

    repository, _, revision = reference.partition("@")
    pinned = is_commit(revision)
    if policy.require_revision and not pinned:
        hint = f"write it as `{repository}@<40 hex digits>`; `rerank models show {repository}` shows the cached one"
        raise UsageError(f"`{reference}` is not pinned, and --require-revision asks for a full commit", hint)
    if policy.trust_remote_code and not pinned:
        hint = f"read the code, then write `{repository}@<40 hex digits>`"
        raise UsageError(f"--trust-remote-code needs a pinned revision, and `{reference}` has none", hint)
    files = hub.FileFilter(policy.backend, allow_pickle=policy.allow_pickle, code=policy.trust_remote_code)
    try:
        snapshot = hub.locate(repository, revision or None, files, offline=policy.offline)
    except ModelError as error:
        if lookup.is_folder(Path(repository)) and hub.cached(repository, revision or None) is None:
            error.hint = f"the folder is written with a leading `./`: `-m ./{repository}`"
        raise
    model = replace(read_folder(snapshot.folder, repository, policy), revision=snapshot.commit)
    return with_converted(model) if policy.converted else model
