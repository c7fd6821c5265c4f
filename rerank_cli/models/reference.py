"""What `-m` names: the built-in, a folder, or a repository of the model hub.

It decides which of them a reference is and hands on; where hub files lie is `hub`'s knowledge.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError, UsageError, did_you_mean
from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER, LocalModel
from rerank_cli.models.files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rerank_cli.settings import ModelSettings

PATH_PREFIXES = ("./", "../", "/", "~", ".\\", "..\\")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """How a model may be reached, and what its files may do."""

    offline: bool = False
    require_revision: bool = False
    trust_remote_code: bool = False
    allow_pickle: bool = False
    backend: str = "auto"
    endpoints: tuple[str, ...] = ()  # names that are no models, for the hint about a misspelt one
    converted: bool = True  # take the graphs of a converted copy

    @staticmethod
    def of(settings: ModelSettings) -> LoadPolicy:
        """The part of the settings that concerns files."""
        return LoadPolicy(
            offline=settings.offline,
            require_revision=settings.require_revision,
            trust_remote_code=settings.trust_remote_code,
            allow_pickle=settings.allow_pickle,
            backend=settings.backend,
            endpoints=tuple(settings.remote.endpoints),
        )


def is_path(reference: str) -> bool:
    """Whether a reference is written as a path."""
    return reference.startswith(PATH_PREFIXES) or reference in {".", ".."}


def is_hub_name(reference: str) -> bool:
    """Whether a reference is written as a hub repository: `owner/name`, perhaps with `@revision`."""
    return not is_path(reference) and HUB_NAME.fullmatch(reference) is not None


def require_known(reference: str, endpoints: Iterable[str] = ()) -> None:
    """Raise UsageError if a reference is written as nothing local: neither built-in, nor path, nor hub name."""
    if reference == BUILTIN or is_path(reference) or is_hub_name(reference):
        return
    folder = f"a folder is written with a leading `./`: `-m ./{reference}`" if Path(reference).is_dir() else None
    near = folder or did_you_mean(reference, [BUILTIN, *endpoints])
    raise UsageError(
        f"unknown model `{reference}`", near or "use `builtin`, a folder (`./path`) or a Hugging Face name"
    )


def resolve(reference: str, access: LoadPolicy = LoadPolicy()) -> LocalModel:
    """The local model of a reference. Raises ModelError or UsageError with a hint; may download a hub repository."""
    require_known(reference, access.endpoints)
    if reference == BUILTIN:
        return builtin()
    if is_path(reference):
        return _folder(reference, access)
    return _repository(reference, access)


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


def _folder(reference: str, access: LoadPolicy) -> LocalModel:
    from rerank_cli.models.converted import is_converted, read_converted, with_converted
    from rerank_cli.models.folder import Trust, read_folder

    folder = Path(reference).expanduser()
    if is_converted(folder):
        return read_converted(folder, reference)
    model = read_folder(folder, reference, Trust(access.trust_remote_code, access.allow_pickle))
    return with_converted(model) if access.converted else model


def _repository(reference: str, access: LoadPolicy) -> LocalModel:
    from rerank_cli import hub
    from rerank_cli.models.converted import with_converted
    from rerank_cli.models.folder import Trust, read_folder

    repository, _, revision = reference.partition("@")
    pinned = COMMIT.fullmatch(revision) is not None
    if access.require_revision and not pinned:
        raise UsageError(
            f"`{reference}` is not pinned, and --require-revision asks for a full commit",
            f"write it as `{repository}@<40 hex digits>`; `rerank models show {repository}` tells the cached one",
        )
    if access.trust_remote_code and not pinned:
        raise UsageError(
            f"--trust-remote-code needs a pinned revision, and `{reference}` has none",
            f"read the code, then write `{repository}@<40 hex digits>`",
        )
    if Path(repository).is_dir() and not hub.is_cached(repository, revision or None):
        hint = f"the folder is written with a leading `./`: `-m ./{repository}`"
    else:
        hint = None
    want = hub.FileFilter(access.backend, allow_pickle=access.allow_pickle, code=access.trust_remote_code)
    try:
        snapshot = hub.locate(repository, revision or None, want, offline=access.offline)
    except ModelError as error:
        raise ModelError(error.message, hint or error.hint) from error
    trust = Trust(access.trust_remote_code, access.allow_pickle)
    model = replace(read_folder(snapshot.folder, repository, trust), revision=snapshot.commit)
    return with_converted(model) if access.converted else model
