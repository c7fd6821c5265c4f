"""The files of a model folder: JSON read with names in errors, weights found and checked, nothing outside the folder.

Nothing in a folder is trusted: links out of it, pickles and broken headers are refused before an engine reads them.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from rerank_cli import nesting
from rerank_cli.errors import ModelError
from rerank_cli.files import sha256
from rerank_cli.inside import check_inside, joined
from rerank_cli.text import has_surrogates, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MAX_HEADER = 100_000_000  # bytes; the format's own limit
LFS_POINTER = b"version "  # how the small file begins that a clone without Git LFS has in place of a large one
MOST_NUMBER = 1 << 31
SURROGATE_SIGNS = (b"\\u", b"\xed")  # an escape, and the first byte of half a pair
Types = dict[str, type]
WORDS = {int: "a whole number", bool: "true or false", str: "text", list: "a list", dict: "an object"}


class BrokenFileError(ModelError):
    """A file of a model that is broken, for any kind of model."""

    def __init__(self, message: str, hint: str = "download or save the model again") -> None:
        super().__init__(message, hint)


def read_json(path: Path, types: Types | None = None, kind: type = dict) -> Any:
    """A JSON object (or another `kind` of value) from a model's file.

    `types` are those of members, where they are present and not null. Raises ModelError for a file that is missing,
    BrokenFileError for anything else; both name the file.
    """
    try:
        value = json.loads(data := path.read_bytes())
        if len(data) > 2 * nesting.MAX_NESTING:
            nesting.require_shallow(value)
        if any(sign in data for sign in SURROGATE_SIGNS):
            _require_encodable(value)
    except FileNotFoundError:
        raise ModelError(f"{path} is missing", "is this a model folder, and is its download complete?") from None
    except RecursionError:
        raise BrokenFileError(f"cannot read {path}: its brackets are nested too deeply") from None
    except (OSError, ValueError) as error:
        raise BrokenFileError(f"cannot read {path}: {error}") from error
    if not isinstance(value, kind):
        raise BrokenFileError(f"{path} is not a JSON object")
    if types and isinstance(value, dict):
        check_types(value, types, path)
    return value


def _require_encodable(value: Any) -> None:
    """Texts become keys, digests and messages. Raises ValueError for one that UTF-8 cannot encode."""
    if has_surrogates(json.dumps(value, ensure_ascii=False)):
        raise ValueError("a text in it holds half of a surrogate pair")


def check_types(value: Mapping[str, Any], types: Types, path: Path) -> None:
    """Raise BrokenFileError for the first member of another type."""
    for name, expected in types.items():
        member = value.get(name)
        if member is not None and not isinstance(member, expected):
            raise BrokenFileError(f"{path}: `{name}` is {shortened(json.dumps(member), 40)}, not {WORDS[expected]}")
        if isinstance(member, int) and abs(member) >= MOST_NUMBER:
            raise BrokenFileError(f"{path}: `{name}` is {shortened(str(member), 40)}, which is too large")


def optional_json(path: Path, types: Types | None = None) -> dict[str, Any]:
    """A JSON object, or an empty one if there is no such file."""
    value: dict[str, Any] = read_json(path, types) if path.is_file() else {}
    return value


def find_weights(folder: Path, *, allow_pickle: bool, home: Path | None = None) -> tuple[Path, ...]:
    """The torch weights of a folder, all shards, headers checked; empty if there are none.

    `home` is the folder of the whole model if this is one of its modules: a snapshot keeps all files in one place.
    Raises ModelError for pickled weights unless they are allowed, for a missing shard and for a broken header.
    """
    weights = _by_index(folder, "model.safetensors", home or folder)
    for path in weights:
        safetensors_header(path)
    if weights:
        return weights
    pickled = _by_index(folder, "pytorch_model.bin", home or folder)
    if pickled and not allow_pickle:
        raise ModelError(
            f"{folder} has only pickled weights ({pickled[0].name}), and a pickle can run any code when it is read",
            "use a revision with model.safetensors, or `--allow-pickle` if you trust its source",
        )
    return pickled


def _by_index(folder: Path, name: str, home: Path) -> tuple[Path, ...]:
    """One file, or the shards that its index names."""
    if (folder / name).is_file():
        return (check_inside(folder / name, home),)
    index = folder / f"{name}.index.json"
    if not index.is_file():
        return ()
    shards = sorted({str(shard) for shard in (read_json(index, {"weight_map": dict}).get("weight_map") or {}).values()})
    paths = tuple(joined(folder, shard, home) for shard in shards)
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is missing, and {index.name} needs it", "download the model again")
    return paths


def safetensors_header(path: Path) -> dict[str, Any]:
    """Names, types and shapes of a safetensors file, without its `__metadata__`. Raises ModelError if it is broken.

    The format: https://github.com/huggingface/safetensors#format (8 bytes of length, JSON, data).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(start := file.read(8), "little")
        if start == LFS_POINTER:
            raise ModelError(f"{path} is a pointer of Git LFS, not the file", "fetch it: `git lfs pull`")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            what = f"{path} is not a safetensors file, or is truncated: its header has {length} bytes"
            raise ModelError(what, "download or copy it again")
        text = file.read(length)
    try:
        header = nesting.loads(text)
        _require_encodable(header)
        header.pop("__metadata__", None)
        end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise BrokenFileError(f"{path} has a broken safetensors header: {error!r}") from error
    if 8 + length + end != size:
        hint = "download or copy it again"
        raise ModelError(f"{path} has {size} bytes, but its header describes {8 + length + end}", hint)
    tensors: dict[str, Any] = header
    return tensors


def fingerprint(paths: Iterable[Path]) -> str:
    """One SHA-256 over the names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(set(paths), key=str):
        digest.update(f"{path.name} {sha256(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
