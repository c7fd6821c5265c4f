"""Late-interaction models by their configuration, in three layouts.

They are those of ColBERT (`artifact.metadata`), of PyLate 1.6 and of sentence-transformers' `MultiVectorEncoder` (6.2).
It reads settings, runs nothing, and does not know the tokenizer.
"""

from __future__ import annotations

import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError
from rerank_cli.inside import check_inside
from rerank_cli.models.facts import Encodings, Module, TextEncoding
from rerank_cli.models.files import Types, check_types, find_weights, optional_json, safetensors_header

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.models.facts import LoadPolicy
    from rerank_cli.models.modules import Steps

# What PyLate saves in config_sentence_transformers.json.
SAVED: Types = {"query_prefix": str, "document_prefix": str, "query_length": int, "document_length": int,
                "skiplist_words": list, "do_query_expansion": bool, "attend_to_expansion_tokens": bool,
                "model_type": str, "similarity_fn_name": str}  # fmt: skip
METADATA: Types = {"query_token_id": str, "doc_token_id": str, "query_maxlen": int, "doc_maxlen": int, "dim": int,
                   "mask_punctuation": bool, "attend_to_mask_tokens": bool}  # fmt: skip
EXPANSION: Types = {"strategy": str, "token": str, "attend": bool, "length": int}  # of sentence-transformers
PUNCTUATION = tuple(string.punctuation)
QUERY_TOKENS, DOCUMENT_TOKENS = 32, 180  # PyLate's where nothing is said
DOCUMENT_PROMPTS = ("document", "passage", "corpus")  # the first of these names that a repository has
ON_TOKENS = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
# The mask token of tokenizers whose settings do not name it, by the beginning of their class.
MASKS = {"[MASK]": ("Bert", "DistilBert", "Electra", "Deberta"), "<mask>": ("Roberta", "XLMRoberta", "Camembert")}


class Settings(NamedTuple):
    """What was read of a model folder that decides how its texts are encoded."""

    folder: Path
    policy: LoadPolicy
    config: dict[str, Any]
    steps: Steps | None
    saved: dict[str, Any]  # config_sentence_transformers.json
    tokenizer: dict[str, Any]  # tokenizer_config.json
    longest: int  # tokens of an input, by all settings
    table: int  # by the positions of config.json alone: PyLate leaves its last length in the other settings

    @property
    def prompts(self) -> tuple[str, str]:
        """The prompts of queries and documents, by the names that sentence-transformers looks for."""
        named = self.saved.get("prompts") or {}
        document = next((named[name] for name in DOCUMENT_PROMPTS if named.get(name) is not None), None)
        return str(named.get("query") or ""), str(document or "")

    def length(self, value: Any, default: int) -> int:
        """A length that is set, or the default; never more than the model has positions."""
        return min(int(value) if isinstance(value, int) and value > 0 else default, self.table)


Late = tuple[Encodings, tuple[Module, ...]]


def read(settings: Settings) -> Late | None:
    """How a late-interaction model encodes, and the modules that give its vectors; None for any other model.

    Raises ModelError for a setting that is not supported.
    """
    steps = settings.steps
    if steps is None:
        return _colbert(settings) if "HF_ColBERT" in (settings.config.get("architectures") or []) else None
    mask = next((module for module in steps.modules if module.kind == "MultiVectorMask"), None)
    if mask is not None:
        return _multi_vector(settings, steps, mask.config)
    return _pylate(settings, steps) if steps.pylate or settings.saved.get("model_type") == "ColBERT" else None


def _colbert(settings: Settings) -> Late:
    """ColBERT's own layout: settings in artifact.metadata, the projection among the weights of the transformer."""
    said = optional_json(check_inside(settings.folder / "artifact.metadata", settings.folder), METADATA)
    length = settings.length(said.get("query_maxlen"), QUERY_TOKENS)
    query = TextEncoding(
        max_tokens=length,
        marker=said.get("query_token_id") or "[unused0]",
        filler=_mask(settings),
        fill_to=length,
        attends=bool(said.get("attend_to_mask_tokens")),
    )
    document = TextEncoding(
        max_tokens=settings.length(said.get("doc_maxlen"), DOCUMENT_TOKENS),
        marker=said.get("doc_token_id") or "[unused1]",
        skipped=PUNCTUATION if said.get("mask_punctuation", True) else (),
    )
    return Encodings(query, document, "maxsim"), (_projection(settings, int(said.get("dim") or 128)),)


def _projection(settings: Settings, width: int) -> Module:
    """The Dense module of a ColBERT checkpoint. Raises ModelError if there is none."""
    folder = settings.folder
    shape = [width, settings.config.get("hidden_size")]  # of pickled weights, which are not read here
    holder = None
    for path in find_weights(folder, allow_pickle=settings.policy.allow_pickle):
        if path.suffix != ".safetensors":
            holder = path
        elif tensor := safetensors_header(path).get("linear.weight"):
            holder, shape = path, list(tensor.get("shape") or ())
    if holder is None or len(shape) != 2 or not all(isinstance(size, int) for size in shape):
        raise ModelError(f"{folder} has no weights `linear.weight`: ColBERT's projection", "download the model again")
    config = {"in_features": shape[1], "out_features": shape[0], "bias": False, "activation": "Identity"}
    return Module("Dense", {**config, **ON_TOKENS, "only": "linear."}, holder)


def _pylate(settings: Settings, steps: Steps) -> Late:
    """PyLate's layout: its settings beside those of sentence-transformers; of its modules only Dense ones run."""
    saved = settings.saved
    markers = [_or(saved.get(f"{kind}_prefix"), default) for kind, default in (("query", "[Q] "), ("document", "[D] "))]
    prompts = [prompt.removeprefix(marker) for prompt, marker in zip(settings.prompts, markers, strict=True)]
    expands = saved.get("do_query_expansion") is not False
    length = settings.length(saved.get("query_length"), QUERY_TOKENS)
    query = TextEncoding(
        max_tokens=length,
        prompt=prompts[0],
        marker=markers[0],
        filler=_mask(settings) if expands else "",
        fill_to=length if expands else 0,
        attends=bool(expands and saved.get("attend_to_expansion_tokens")),
    )
    document = TextEncoding(
        max_tokens=settings.length(saved.get("document_length"), DOCUMENT_TOKENS),
        prompt=prompts[1],
        marker=markers[1],
        skipped=_words(_or(saved.get("skiplist_words"), PUNCTUATION), settings.folder),
    )
    dense = [module for module in steps.modules if module.kind == "Dense"]
    if not dense:
        raise ModelError(f"{settings.folder} has no Dense module: its projection would be randomly initialised")
    modules = tuple(replace(module, config={**module.config, **ON_TOKENS}) for module in dense)
    return Encodings(query, document, "maxsim"), modules


def _multi_vector(settings: Settings, steps: Steps, mask: dict[str, Any]) -> Late:
    """sentence-transformers' own layout: lengths and expansion are the transformer's, the skip list is the mask's."""
    modules = [module for module in steps.modules if module.kind != "MultiVectorMask"]
    name = settings.saved.get("similarity_fn_name") or "maxsim"
    kinds = [module.kind for module in modules if module.kind not in {"Dense", "Normalize", "Dropout"}]
    odd = [*kinds, *(["keep_only_token_ids"] if mask.get("keep_only_token_ids") else [])]
    if odd or name not in {"maxsim", "meanmaxsim"}:
        message = f"{settings.folder} is a late-interaction model with `{[*odd, name][0]}`, which is not supported"
        raise ModelError(message)
    own, prompts = steps.settings, settings.prompts
    expansion: dict[str, Any] = own.get("query_expansion") or {}
    check_types(expansion, EXPANSION, steps.transformer / "sentence_bert_config.json")
    fill_to = settings.length(expansion.get("length"), 0)
    longest = settings.length(own.get("query_length"), settings.longest)
    words = _words(mask.get("skiplist_words") or (), settings.folder)
    skipped = dict.fromkeys(_words(mask.get("skiplist_tasks") or ["document"], settings.folder), words)
    query = TextEncoding(
        max_tokens=fill_to if expansion.get("strategy") == "fixed" else max(longest, fill_to),
        prompt=prompts[0],
        filler=(expansion.get("token") or _mask(settings)) if fill_to else "",
        fill_to=fill_to,
        attends=bool(expansion.get("attend")),
        skipped=skipped.get("query", ()),
    )
    length = settings.length(own.get("document_length"), settings.longest)
    document = TextEncoding(length, prompts[1], skipped=skipped.get("document", ()))
    normalized = bool(modules) and modules[-1].kind == "Normalize"
    kept = modules[:-1] if normalized else modules
    on_tokens = tuple(replace(module, config={**ON_TOKENS, **module.config}) for module in kept)
    return Encodings(query, document, name, normalized), on_tokens


def _mask(settings: Settings) -> str:
    """The token that fills up queries: the mask token, else the end token, as PyLate has it.

    Raises ModelError if neither is named, and for padding on the left, where PyLate would put the filler first.
    """
    if settings.tokenizer.get("padding_side") == "left":
        raise ModelError(f"{settings.folder} fills up queries on the left, which is not supported")
    named = optional_json(settings.folder / "special_tokens_map.json") | settings.tokenizer
    kind = str(named.get("tokenizer_class"))
    usual = next((mask for mask, classes in MASKS.items() if kind.startswith(classes)), None)
    token = named.get("mask_token") or usual or named.get("eos_token")
    token = token.get("content") if isinstance(token, dict) else token
    if not token:
        raise ModelError(f"{settings.folder} fills up queries, and its tokenizer has no mask token")
    return str(token)


def _or(value: Any, default: Any) -> Any:
    """The value unless it is null: an empty one counts."""
    return default if value is None else value


def _words(words: Any, folder: Path) -> tuple[str, ...]:
    if not all(isinstance(word, str) for word in words):
        raise ModelError(f"{folder} has `skiplist_words` or `skiplist_tasks` that are not lists of texts")
    return tuple(words)
