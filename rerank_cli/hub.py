"""Hugging Face repositories: where the hub's own cache keeps them, what is missing, and how to fetch it.

The only module that imports huggingface_hub, and only to download. A cached model is used without
checking for a newer one; `rerank models pull` checks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli import lookup, nesting
from rerank_cli.errors import ModelError, did_you_mean
from rerank_cli.files import replacing
from rerank_cli.inside import is_commit, is_relative, is_revision, joined
from rerank_cli.models import refusals
from rerank_cli.models.refusals import is_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TRUE = {"1", "true", "yes", "on"}
SMALL_FILES = re.compile(r"(.*/)?([^/]+\.json|[^/]+\.jinja|artifact\.metadata|README\.md|LICENSE[^/]*)")
GRAPHS = re.compile(r"(onnx/)?model\.onnx([._]data)?")
IR = re.compile(r"(openvino/)?openvino_model\.(xml|bin)")
SAFETENSORS = re.compile(r"(\d+_[A-Za-z]+/)?model(-\d+-of-\d+)?\.safetensors")
PICKLES = re.compile(r"(\d+_[A-Za-z]+/)?pytorch_model(-\d+-of-\d+)?\.bin")
SENTENCEPIECE = "spiece.model"  # many T5 have no other tokenizer
HEADS = re.compile(r"\d+_[A-Za-z]+/")  # module folders of sentence-transformers


class Snapshot(NamedTuple):
    """One revision of a repository in the cache."""

    repository: str
    commit: str
    folder: Path


@dataclass(frozen=True, slots=True)
class FileFilter:
    """Which files a run needs. `backend` is one of --backend, or `gpu`: torch weights if there are any."""

    backend: str = "auto"
    allow_pickle: bool = False
    code: bool = False  # *.py files, for models whose code the user trusts


def cache_folder() -> Path:
    """The hub's cache, from the same variables that huggingface_hub reads."""
    env = os.environ
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return Path(os.path.expandvars(env[name])).expanduser()
    if env.get("HF_HOME"):
        return Path(os.path.expandvars(env["HF_HOME"])).expanduser() / "hub"
    base = env.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "huggingface" / "hub"


def is_offline(asked: bool) -> bool:
    """Whether the network must not be used: --offline, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    env_value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return asked or env_value.lower() in TRUE


def repository_folder(repository: str) -> Path:
    """Where the cache keeps a repository: `models--owner--name`."""
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def cached(repository: str, revision: str | None) -> Snapshot | None:
    """The cached snapshot of a revision (a branch, tag or commit; default `main`), complete or not.

    A ref that does not hold a commit counts as not there.
    """
    home = repository_folder(repository)
    commit = revision or "main"
    if not is_commit(commit):
        if not is_revision(commit):
            return None
        try:
            with joined(home / "refs", commit, home).open("rb") as reference:
                commit = reference.read(41).decode("ascii", "replace").strip()
        except OSError:
            return None
    folder = home / "snapshots" / commit
    return Snapshot(repository, commit, folder) if is_commit(commit) and lookup.is_folder(folder) else None


def locate(repository: str, revision: str | None, file_filter: FileFilter, *, offline: bool) -> Snapshot:
    """The files of a repository, from the cache if it has all that is needed, else downloaded.

    Raises ModelError: not found, gated, offline with the missing files named, no usable weights.
    """
    snapshot = cached(repository, revision)
    missing = missing_files(snapshot.folder, file_filter) if snapshot else ["config.json"]
    if snapshot and not missing:
        return snapshot
    if is_offline(offline):
        pull = f"`rerank models pull {reference_of(repository, revision)}`"
        if snapshot:
            refusals.check_folder(snapshot.folder)
        what = f"{', '.join(missing)} of `{repository}`" if snapshot else f"`{repository}`"
        at = f" at `{revision}`" if revision and not snapshot else ""
        hint = _near(repository, revision, pull) or f"fetch it once with the network: {pull}"
        raise ModelError(f"{what}{at} is not in the cache at {cache_folder()}, and the network must not be used", hint)
    return download(repository, revision, file_filter)


def _near(repository: str, revision: str | None, pull: str) -> str | None:
    """The hint for a revision that is not in the cache: those of the repository that are, or a repository like it."""
    from rerank_cli.models import known

    names = cached_repositories()
    if repository not in names:
        return did_you_mean(repository, names) or known.refusal(repository)
    cached_names = [reference_of(repository, other) for other in cached_revisions(repository)]
    if cached(repository, revision) or not cached_names:
        return None
    return f"in the cache: {', '.join(f'`{name}`' for name in cached_names[:3])}; or fetch it with the network: {pull}"


def reference_of(repository: str, revision: str | None) -> str:
    """The reference: `owner/name`, with `@revision` if there is one."""
    return f"{repository}@{revision}" if revision else repository


def cached_repositories() -> list[str]:
    """Repositories in the cache, by name."""
    entries = cache_folder().glob("models--*")
    return sorted(entry.name[len("models--") :].replace("--", "/", 1) for entry in entries)


def cached_revisions(repository: str) -> list[str]:
    """Revisions of a repository in the cache: branches and tags, then the commits that have no such name."""
    home = repository_folder(repository)
    refs = [str(path.relative_to(home / "refs")) for path in (home / "refs").rglob("*") if path.is_file()]
    named = {name: found.commit for name in sorted(refs) if (found := cached(repository, name))}
    commits = sorted(path.name for path in (home / "snapshots").glob("*") if is_commit(path.name))
    return [*named, *(commit for commit in commits if commit not in named.values())]


def missing_files(folder: Path, file_filter: FileFilter) -> list[str]:
    """Names of needed files that a snapshot lacks, as far as its other files show."""
    modules = [module for module in _json(folder / "modules.json", []) if isinstance(module, dict)]
    names = [str(module.get("path", "")).strip("/") for module in modules]  # `models` refuses those that lead out
    places = [folder / name if is_relative(name) else folder for name in names]
    base = places[0] if places else folder
    config = _json(base / "config.json", {})
    other = SENTENCEPIECE if config.get("is_encoder_decoder") else "tokenizer.json"
    tokenizers = (base / other, folder / "tokenizer.json")
    needed = [base / "config.json", *([] if any(map(Path.is_file, tokenizers)) else [base / "tokenizer.json"])]
    graph = [folder / "onnx" / "model.onnx", folder / "model.onnx", folder / "openvino" / "openvino_model.xml"]
    usable = file_filter.backend != "torch" and is_classifier(config)
    if not usable or not any(path.is_file() for path in graph):
        needed += _weights(base, file_filter)
    for module, place in zip(modules[1:], places[1:], strict=True):
        if str(module.get("type", "")).endswith((".Dense", ".LayerNorm")):
            needed += [place / "config.json", *_weights(place, file_filter)]
    return [str(path.relative_to(folder)) for path in needed if not path.is_file()]


def _weights(folder: Path, file_filter: FileFilter) -> list[Path]:
    """The weight files that should lie in a folder: shards by their index, else one file."""
    for name in ("model.safetensors", *(["pytorch_model.bin"] if file_filter.allow_pickle else [])):
        index = _json(folder / f"{name}.index.json", {})
        if index:
            shards = index.get("weight_map")
            names = {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
            return [folder / shard for shard in sorted(filter(is_relative, names))]
        if (folder / name).is_file():
            return [folder / name]
    # `models.files` refuses pickles with its own message.
    return [] if (folder / "pytorch_model.bin").is_file() else [folder / "model.safetensors"]


def _json(path: Path, default: Any) -> Any:
    """A value of the default's type, or the default: `models` reports broken files."""
    try:
        value = nesting.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return default
    return value if isinstance(value, type(default)) else default


def choose(files: Iterable[str], file_filter: FileFilter, *, classifier: bool = True) -> list[str]:
    """The files of a repository to download: settings and tokenizer, and weights of one format.

    Graphs are of use only for a `classifier`. Raises ModelError if no weights are usable.
    """
    names = list(files)
    small = [name for name in names if SMALL_FILES.fullmatch(name) or (file_filter.code and name.endswith(".py"))]
    small += [SENTENCEPIECE] if SENTENCEPIECE in names and "tokenizer.json" not in names else []
    weights = {name: [n for n in names if pattern.fullmatch(n)] for name, pattern in
             (("graph", GRAPHS), ("ir", IR), ("torch", SAFETENSORS), ("pickle", PICKLES))}  # fmt: skip
    pickle = weights["pickle"] if file_filter.allow_pickle and not weights["torch"] else []
    order = {
        "torch": [weights["torch"], pickle],
        "gpu": [weights["torch"], pickle, weights["graph"], weights["ir"]],
        "onnx": [weights["graph"], weights["torch"], pickle],
        "openvino": [weights["ir"], weights["graph"], weights["torch"], pickle],
    }.get(file_filter.backend, [weights["graph"], weights["ir"], weights["torch"], pickle])
    if not classifier:
        order = [weights["torch"], pickle]
    chosen = next((files for files in order if files), [])
    if not chosen:
        raise refusals.no_weights(names, pickled=bool(weights["pickle"]))
    return sorted({*small, *chosen, *filter(HEADS.match, weights["torch"])})


def download(
    repository: str, revision: str | None, file_filter: FileFilter, progress: Callable[[int, int], None] | None = None
) -> Snapshot:
    """Fetch the needed files of a repository into the hub's cache; intact files are kept, the rest is fetched.

    `revision` is a branch, tag or commit; None is the default branch. `progress` gets (files done, files in all).
    Raises ModelError: not found, gated, no usable weights, or the hub did not answer.
    """
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_UPDATE_CHECK"):
        os.environ.setdefault(name, "1")
    from huggingface_hub import HfApi, hf_hub_download

    from rerank_cli.models.hub_errors import error_of

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        info = api.model_info(repository, revision=revision)
        commit = _commit_of(info.sha)  # every file of this one commit, even if the branch moves meanwhile
        where: dict[str, Any] = {"revision": commit, "cache_dir": str(cache_folder()), "endpoint": api.endpoint}
        folder = repository_folder(repository) / "snapshots" / commit
        # A mirror may name anything; what leaves the snapshot is not asked for.
        files = [name for file in info.siblings or [] if is_relative(name := str(file.rfilename))]

        def fetch(name: str) -> Path:
            return Path(hf_hub_download(repository, name, **where, force_download=_is_damaged(folder / name)))

        settings = {name: _json(fetch(name), {}) for name in ("config.json", refusals.ADAPTER) if name in files}
        on_torch = refusals.check_repository(repository, files, settings, info.card_data)
        names = _wanted(files, file_filter, settings.get("config.json", {}), on_torch=on_torch)
        for number, name in enumerate(names, start=1):
            fetch(name)
            if progress:
                progress(number, len(names))
    except ModelError:
        raise
    except Exception as error:  # the library raises its own errors, httpx2's and OS errors
        raise error_of(error, repository, revision, (cache_folder(), cached_repositories())) from error
    if revision != commit:
        _write_ref(repository, revision or "main", commit)
    return Snapshot(repository, commit, folder)


def _wanted(files: list[str], file_filter: FileFilter, config: dict[str, Any], *, on_torch: bool) -> list[str]:
    """The files of a repository that are fetched; `on_torch`: its torch weights can be run."""
    if not on_torch and file_filter.backend == "gpu":
        file_filter = replace(file_filter, backend="auto")
    return choose(files, file_filter, classifier=is_classifier(config))


def _commit_of(text: Any) -> str:
    """The commit that a hub names. Raises ModelError for anything else, which would become a part of a path."""
    if not isinstance(text, str) or not is_commit(text):
        raise ModelError(f"the hub names {str(text)[:80]!r} as the commit, which is not 40 hex digits")
    return text


def _is_damaged(path: Path) -> bool:
    """Whether a file of the cache has changed since its download; the hub's client checks its name only."""
    from rerank_cli.models.digests import problem_of

    return path.is_symlink() and path.is_file() and problem_of(path) is not None


def _write_ref(repository: str, revision: str, commit: str) -> None:
    """Write the cache's `refs` entry, as huggingface_hub does when it is given a branch or tag."""
    home = repository_folder(repository)
    path = joined(home / "refs", revision, home)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as write:
        write(commit.encode())
