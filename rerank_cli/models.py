"""Model references to files and facts: what `-m` names, where its files lie, how its head is to be read.

It opens configuration files only; weights are the engines' business. No numerical library is imported.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rerank_cli.errors import ModelError, UsageError, did_you_mean

BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent / "builtin"
PATH_PREFIXES = ("./", "../", "/", "~", ".\\", "..\\")
POSITIVE_LABELS = ("relevant", "yes", "true", "positive", "label_1", "1")
# RoBERTa-like position ids start after the padding id, so the table holds fewer tokens than its size says.
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"}


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on disk: everything the scorer must know, nothing of how to run it."""

    name: str
    folder: Path
    tokenizer: Path
    graphs: dict[str, Path]  # form -> ONNX or IR file; empty: torch weights only
    max_tokens: int  # of a whole input: specials, query and document
    window: int | None = None  # document tokens of a window; None: all that fit
    labels: int = 1
    positive: int = 0  # index of the relevant label when there are two
    scale: str = "log-odds"
    pad_id: int = 0
    revision: str | None = None
    english_only: bool = False
    config: dict[str, Any] = field(default_factory=dict)


def is_path(reference: str) -> bool:
    """Whether a reference is written as a path."""
    return reference.startswith(PATH_PREFIXES) or reference in {".", ".."}


def resolve(reference: str) -> LocalModel:
    """The local model of a reference: `builtin` or a folder. Raises ModelError or UsageError with a hint."""
    if reference == BUILTIN:
        return _builtin()
    if is_path(reference):
        return read_folder(Path(reference).expanduser(), reference)
    folder = Path(reference)
    hint = f"a folder is written with a leading `./`: `-m ./{reference}`" if folder.is_dir() else None
    raise UsageError(
        f"unknown model `{reference}`",
        hint or did_you_mean(reference, [BUILTIN]) or "use `builtin`, a folder (`./path`) or a Hugging Face name",
    )


def _builtin() -> LocalModel:
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


def read_folder(folder: Path, name: str, revision: str | None = None) -> LocalModel:
    """The facts of a Hugging Face style folder (config.json, tokenizer.json, weights)."""
    if not folder.is_dir():
        raise ModelError(f"no model folder at {folder}", "give a folder with config.json, tokenizer.json and weights")
    config = read_json(folder / "config.json")
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json",
            "save a fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)",
        )
    labels, positive = head(config, folder)
    return LocalModel(
        name=name,
        folder=folder,
        tokenizer=tokenizer,
        graphs=find_graphs(folder),
        max_tokens=max_tokens(config, folder),
        labels=labels,
        positive=positive,
        pad_id=int(config.get("pad_token_id") or 0),
        revision=revision,
        config=config,
    )


def find_graphs(folder: Path) -> dict[str, Path]:
    """ONNX files of a folder by precision, where exporters put them."""
    for place in (folder, folder / "onnx"):
        if (place / "model.onnx").is_file():
            return {"fp32": place / "model.onnx"}
    return {}


def head(config: dict[str, Any], folder: Path) -> tuple[int, int]:
    """Number of logits (1 or 2) and which of two means relevant (id2label, else the second, as trained heads have it)."""
    labels = config.get("id2label") or {}
    count = len(labels) or int(config.get("num_labels", 0)) or _count_by_architecture(config, folder)
    if count > 2:
        raise ModelError(
            f"{folder} has {count} labels: a reranker has one logit, or two (irrelevant, relevant)",
            "this looks like a classifier of another task",
        )
    if count == 1:
        return 1, 0
    named = {int(key): str(label).lower() for key, label in labels.items()}
    for wanted in POSITIVE_LABELS:
        for key, label in named.items():
            if label == wanted:
                return 2, key
    return 2, 1


def _count_by_architecture(config: dict[str, Any], folder: Path) -> int:
    """Labels when the config names none: two is transformers' default for a classification head."""
    architectures = config.get("architectures") or []
    if any("SequenceClassification" in name for name in architectures):
        return 2
    raise ModelError(
        f"{folder} is no reranker: its architecture is {', '.join(architectures) or 'not named'}",
        "a cross-encoder has a sequence classification head; an embedding model has none",
    )


def max_tokens(config: dict[str, Any], folder: Path) -> int:
    """Tokens a whole input may have: the position table, less RoBERTa's offset, and the tokenizer's own limit."""
    limit = int(config.get("max_position_embeddings") or 512)
    if config.get("model_type") in OFFSET_POSITIONS:
        limit -= int(config.get("pad_token_id") or 0) + 1
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        told = read_json(settings).get("model_max_length")
        if isinstance(told, int | float) and 0 < told < 1_000_000:  # transformers writes 1e30 for "unknown"
            limit = min(limit, int(told))
    return limit


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model's file; anything else is a ModelError naming the file."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path} is missing", "is this a model folder, and was it downloaded whole?") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object")
    return value
