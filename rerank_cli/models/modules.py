"""sentence-transformers repositories: modules.json and the settings of each module, old and new type names alike.

Type names are data: a table lists the known ones, nothing is imported by name, and all others are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.inside import check_inside, joined
from rerank_cli.models.chat import TemplateForm
from rerank_cli.models.facts import Module
from rerank_cli.models.files import BrokenFileError, Types, check_types, find_weights, optional_json, read_json
from rerank_cli.models.heads import activation
from rerank_cli.models.known import OTHERS

if TYPE_CHECKING:
    from pathlib import Path

# Where versions 1 to 6 of sentence-transformers, and PyLate, keep modules; new ones add the file: `….dense.Dense`.
PLACES = (
    "sentence_transformers.models",
    "sentence_transformers.base.modules",
    "sentence_transformers.sentence_transformer.modules",
    "sentence_transformers.cross_encoder.modules",
    "sentence_transformers.multi_vector_encoder.modules",
    "pylate.models",
)
WITH_WEIGHTS = {"Dense", "LayerNorm"}
KINDS = {"Transformer", "Pooling", "Dense", "LayerNorm", "Normalize", "Dropout", "LogitScore", "MultiVectorMask"}
POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
# Before version 5.3 a pooling was a set of flags; several are concatenated in this order.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
TRANSFORMER_FILES = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
                     "sentence_camembert_config.json", "sentence_albert_config.json",
                     "sentence_xlm-roberta_config.json", "sentence_xlnet_config.json")  # fmt: skip
SETTINGS: Types = {"modality_config": dict, "processing_kwargs": dict, "query_expansion": dict, "query_length": int,
                   "document_length": int}  # fmt: skip
PROCESSING: Types = {"chat_template": dict, "text": dict}
MODULE: Types = {"in_features": int, "out_features": int, "dimension": int, "true_token_id": int, "false_token_id": int,
                 "activation_function": str, "module_output_name": str, "skiplist_words": list,
                 "skiplist_tasks": list}  # fmt: skip
NEEDED = {"Dense": ("in_features", "out_features"), "LayerNorm": ("dimension",), "LogitScore": ("true_token_id",)}
SIZE_OPTIONS = {"padding", "truncation", "max_length", "return_tensors", "restore_suffix"}


@dataclass(frozen=True, slots=True)
class Steps:
    """A module repository: its transformer's folder and settings, then the modules after it."""

    transformer: Path
    settings: dict[str, Any]  # sentence_bert_config.json
    modules: tuple[Module, ...]
    pylate: bool = False  # made by PyLate: a late-interaction model

    @property
    def task(self) -> str:
        """What the transformer is for; versions before 5.3 saved embedding transformers only."""
        return str(self.settings.get("transformer_task") or "feature-extraction")

    @property
    def uses_chat(self) -> bool:
        """Whether pairs go through the chat template; repositories without this setting use plain pairs."""
        return "message" in (self.settings.get("modality_config") or {})

    def chat_options(self, where: Path) -> dict[str, Any]:
        """What the repository passes to its template. Raises ModelError for other options."""
        processing = self.settings.get("processing_kwargs") or {}
        other = set(processing) - {"chat_template", "text"} or set(processing.get("text") or {}) - {"max_length"}
        if other:
            raise ModelError(f"{where} sets unsupported processing options: {', '.join(sorted(other))}", OTHERS)
        options: dict[str, Any] = processing.get("chat_template") or {}
        return {name: value for name, value in options.items() if name not in SIZE_OPTIONS | {"chat_template"}}

    @property
    def template_form(self) -> TemplateForm:
        """Which of its chat templates the repository uses, and the shape of the messages."""
        options = (self.settings.get("processing_kwargs") or {}).get("chat_template") or {}
        message = (self.settings.get("modality_config") or {}).get("message")
        shape = message.get("format") if isinstance(message, dict) else None
        return TemplateForm(str(options.get("chat_template") or "default"), str(shape or "auto"))

    def limits(self) -> list[int]:
        """Input lengths that the repository sets."""
        text = (self.settings.get("processing_kwargs") or {}).get("text") or {}
        limits = (self.settings.get("max_seq_length"), text.get("max_length"))
        return [int(limit) for limit in limits if isinstance(limit, int) and limit > 0]


def read_steps(folder: Path, *, allow_pickle: bool) -> Steps | None:
    """The modules of a repository; None if it has no modules.json. Raises ModelError naming what is not supported."""
    if not (folder / "modules.json").is_file():
        return None
    entries = read_json(check_inside(folder / "modules.json", folder), kind=object)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries) or not entries:
        raise BrokenFileError(f"{folder / 'modules.json'} is not a list of modules")
    kinds = [_kind(str(entry.get("type")), folder) for entry in entries]
    if kinds[0] != "Transformer" or "Transformer" in kinds[1:]:
        raise ModelError(f"{folder} is {' + '.join(kinds)}: a reranker starts with its only transformer", OTHERS)
    places = [_place(folder, str(entry.get("path", ""))) for entry in entries]
    settings: dict[str, Any] = {}
    for name in TRANSFORMER_FILES:
        if not settings:
            settings = optional_json(places[0] / name, SETTINGS)
            check_types(settings.get("processing_kwargs") or {}, PROCESSING, places[0] / name)
    modules = [_module(kind, place, folder, allow_pickle) for kind, place in zip(kinds[1:], places[1:], strict=True)]
    pylate = any(str(entry.get("type")).startswith("pylate.") for entry in entries)
    return Steps(places[0], settings, tuple(modules), pylate)


def _kind(name: str, folder: Path) -> str:
    kind = name.rpartition(".")[2]
    known = any(name.startswith(place + ".") for place in PLACES)
    if not known or kind not in KINDS:
        hint = f"supported modules of sentence-transformers: {', '.join(sorted(KINDS))}"
        raise ModelError(f"{folder} has a module of the unsupported type `{name}`", hint)
    return kind


def _place(folder: Path, path: str) -> Path:
    return folder if path in {"", "."} else joined(folder, path.rstrip("/") or path)


def _module(kind: str, place: Path, folder: Path, allow_pickle: bool) -> Module:
    optional = kind in {"Normalize", "Dropout"}
    config = (optional_json if optional else read_json)(place / "config.json", MODULE)
    for name in NEEDED.get(kind, ()):
        if config.get(name) is None:
            raise BrokenFileError(f"{place / 'config.json'} has no `{name}`")
    weights = None
    if kind in WITH_WEIGHTS:
        files = find_weights(place, allow_pickle=allow_pickle, home=folder)
        if not files:
            raise ModelError(f"{place} has no weights for its {kind} module", "download the model again")
        weights = check_inside(files[0], folder)
    if kind == "Pooling":
        config = {**config, "modes": pooling_modes(config, place)}
    if kind == "Dense":
        config = {**config, "activation": activation(config.get("activation_function"), "Tanh", place)}
    return Module(kind, config, weights)


def pooling_modes(config: dict[str, Any], where: Path) -> list[str]:
    """The poolings that are concatenated, from either way of saving them. Raises ModelError for an unknown one."""
    saved = config.get("pooling_mode")
    modes = list(saved) if isinstance(saved, list) else [str(saved)] if saved else []
    modes = modes or [mode for flag, mode in POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown:
        raise ModelError(f"{where} uses the unsupported pooling `{unknown[0]}`", f"supported: {', '.join(POOLINGS)}")
    return modes


def output_labels(modules: tuple[Module, ...], where: Path) -> int:
    """Columns of `scores` from the last Dense. Raises ModelError if there are none: an embedding model."""
    current = "token_embeddings"
    labels = 0
    for module in modules:
        if module.kind == "Pooling":
            current = "sentence_embedding"
        elif module.kind == "Dense" and (module.config.get("module_output_name") or current) == "scores":
            labels = int(module.config["out_features"])
    if not labels:
        kinds = ", ".join(module.kind for module in modules) or "only a transformer"
        hint = "a reranker ends in a Dense module with the output `scores`, or in LogitScore"
        hint += "; `--as embedding` ranks by the cosine of its vectors"
        raise ModelError(f"{where} is an embedding model ({kinds}): nothing in it gives a score for a pair", hint)
    return labels
