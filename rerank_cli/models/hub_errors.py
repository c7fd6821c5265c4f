"""Errors of the hub's client as ours, with a hint.

It does not know what was asked for, nor how: `hub` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rerank_cli.errors import ModelError
from rerank_cli.models.known import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def error_of(error: Exception, repository: str, revision: str | None, cache: tuple[Path, Iterable[str]]) -> ModelError:
    """The hub's error as ours; it never contains a token. `cache` is the hub's cache folder and what is in it."""
    from huggingface_hub import errors

    folder, cached = cache
    reference = f"{repository}@{revision}" if revision else repository
    if isinstance(error, errors.GatedRepoError):
        hint = f"ask for access at https://huggingface.co/{repository}, then log in (`hf auth login`) or set HF_TOKEN"
        return ModelError(f"`{repository}` is gated: its owner must grant access", hint)
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelError(f"`{repository}` has no revision `{revision}`", "give a branch, a tag or a full commit")
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        hint = "check the name; for a private model log in (`hf auth login`) or set HF_TOKEN"
        hint = suggestion(repository, cached) or hint
        return ModelError(f"no model `{reference}` on the hub, or it is private and no valid token was found", hint)
    from_afar = errors.HfHubHTTPError | errors.LocalEntryNotFoundError | ConnectionError
    if isinstance(error, OSError) and not isinstance(error, from_afar):
        return ModelError(f"cannot store `{reference}` in {folder}: {error}", "check the disk, or set HF_HOME")
    return ModelError(
        f"cannot download `{reference}`: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        "check the network, or use what is cached with `--offline`",
    )
