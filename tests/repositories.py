"""Repositories of the hub's cache with real file names and settings, and weights that hold names only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import into_hub_cache


def safetensors(path: Path, names: list[str]) -> None:
    """A safetensors file of empty tensors with these names."""
    header = {name: {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]} for name in names}
    data = json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data)


def folder_of(place: Path, files: dict[str, Any], tensors: dict[str, list[str]] | None = None) -> Path:
    """A model folder: `files` as JSON or as text by name, `tensors` as names by file."""
    place.mkdir(parents=True)
    for name, content in {**files, **(tensors or {})}.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if tensors and name in tensors and name.endswith(".safetensors"):
            safetensors(path, content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
    return place


def cached(tmp_path: Path, name: str, files: dict[str, Any], tensors: dict[str, list[str]] | None = None) -> str:
    """Put such a folder into the hub's cache of a test (`own_caches`) under the name of its repository."""
    into_hub_cache(folder_of(tmp_path / "source" / name, files, tensors), tmp_path / "hf", name)
    return name
