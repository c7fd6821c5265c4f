"""A model folder to facts: how long an input may be, which files hold its weights.

It reads configuration only; the families and their rules are those of docs/models.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError, UsageError
from rerank_cli.inside import check_inside
from rerank_cli.models import refusals
from rerank_cli.models.chat import find_chat
from rerank_cli.models.facts import Chat, Family, LoadPolicy, LocalModel
from rerank_cli.models.families import family_of, labels_of, scale_of
from rerank_cli.models.files import Types, find_weights, optional_json, read_json
from rerank_cli.models.modules import Steps, read_steps

if TYPE_CHECKING:
    from pathlib import Path

# RoBERTa-like position ids start after the padding id, so the table holds fewer tokens than its size says.
OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "data2vec-text"}
TYPED_TOKENIZERS = {"BertTokenizer", "ElectraTokenizer", "DebertaTokenizer", "DebertaV2Tokenizer", "FNetTokenizer",
                    "MarkupLMTokenizer", "CanineTokenizer", "TapasTokenizer", "LayoutLMv2Tokenizer"}  # fmt: skip
DEFAULT_LIMIT = 512  # of models without a limit
# Types of the members that are read here; transformers checks the others.
CONFIG: Types = {"max_position_embeddings": int, "pad_token_id": int, "architectures": list, "model_type": str,
                 "num_labels": int, "id2label": dict, "vocab_size": int, "sentence_transformers": dict,
                 "sbert_ce_default_activation_function": str}  # fmt: skip
TOKENIZER: Types = {"model_input_names": list}
SAVED: Types = {"activation_fn": str, "prompts": dict, "default_prompt_name": str}


def read_folder(folder: Path, name: str, policy: LoadPolicy) -> LocalModel:
    """The facts of a Hugging Face style folder. Raises ModelError with what is missing, unknown or refused."""
    if not folder.is_dir():
        raise ModelError(f"no model folder at {folder}", "give a folder with config.json, tokenizer.json and weights")
    for path in (*folder.glob("*.j*"), *folder.glob("*/*.json")):
        check_inside(path, folder)
    refusals.check_folder(folder)
    steps = read_steps(folder, allow_pickle=policy.allow_pickle)
    base = steps.transformer if steps else folder
    config = read_json(check_inside(base / "config.json", folder), CONFIG)
    if config.get("transformers_weights"):  # torch would load other weights than those that are checked and digested
        raise ModelError(f"{base / 'config.json'} has `transformers_weights`, which is not supported")
    tokenizer = _tokenizer(base, folder)
    settings = optional_json(base / "tokenizer_config.json", TOKENIZER)
    saved = optional_json(folder / "config_sentence_transformers.json", SAVED)
    graphs = find_graphs(base, folder)
    runs_on_torch = refusals.check_config(folder, config, exported=bool(graphs))
    family = family_of(config, steps, folder)
    chat = _chat(base, (name, str(folder), str(config.get("_name_or_path", ""))), config, steps)
    _check_chat(family, chat, folder)
    labels, positive = labels_of(family, config, steps, folder)
    graphs = graphs if family == "classification" else {}
    weights = _weights(base, folder, policy, graphs) if runs_on_torch else ()
    remote_code = _remote_code(config, folder, policy, graphs)
    if family == "classification" and not graphs and not remote_code:
        refusals.check_head(folder, config, weights)
    return LocalModel(
        name=name,
        folder=folder,
        tokenizer=tokenizer,
        graphs=graphs,
        max_tokens=max_tokens(config, settings, steps),
        labels=labels,
        positive=positive,
        scale=scale_of(family, config, steps, saved, folder),
        pad_id=-1 if config.get("pad_token_id") is None else int(config["pad_token_id"]),
        config=config,
        family=family,
        weights=weights,
        transformer=base,
        modules=steps.modules if steps else (),
        chat=chat,
        instruction=default_prompt(saved),
        lower_case=bool(steps and steps.settings.get("do_lower_case")),
        token_types=uses_token_types(config, settings),
        remote_code=remote_code,
        notes=_notes(config, policy, remote_code),
    )


def _tokenizer(base: Path, folder: Path) -> Path:
    for place in (base, folder):
        if (place / "tokenizer.json").is_file():
            return check_inside(place / "tokenizer.json", folder)
    hint = "save a fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
    raise ModelError(f"{base} has no tokenizer.json", hint)


def _chat(base: Path, names: tuple[str, ...], config: dict[str, Any], steps: Steps | None) -> Chat | None:
    """The chat template, unless the repository uses plain pairs."""
    if steps is not None and not steps.uses_chat:
        return None
    chat = find_chat(base, str(config.get("model_type", "")), names)
    options = steps.chat_options(base) if steps else {}
    return replace(chat, options=options) if chat and options else chat


def _check_chat(family: Family, chat: Chat | None, folder: Path) -> None:
    if family == "decoder" and chat is None:
        hint = "a decoder reranker needs a chat template with the roles `query` and `document`"
        raise ModelError(f"{folder} is a decoder without a template for query and document", hint)


def default_prompt(saved: dict[str, Any]) -> str | None:
    """The prompt that the repository applies by itself: its default one, by name."""
    name = saved.get("default_prompt_name")
    prompts = saved.get("prompts") or {}
    return str(prompts[name]) if name and prompts.get(name) else None


def max_tokens(config: dict[str, Any], settings: dict[str, Any], steps: Steps | None = None) -> int:
    """Tokens a whole input may have: the position table, less RoBERTa's offset, and the tokenizer's own limit.

    `settings` is tokenizer_config.json; the `max_seq_length` of a module repository stands for the tokenizer's limit.
    """
    table = int(config.get("max_position_embeddings") or 0)
    if table > 0 and config.get("model_type") in OFFSET_POSITIONS:
        table -= int(config.get("pad_token_id") or 0) + 1
    limits = [table] if table > 0 else []
    limit = settings.get("model_max_length")
    if isinstance(limit, int | float) and 0 < limit < 1_000_000:  # transformers writes 1e30 for "unknown"
        limits.append(int(limit))
    limits += steps.limits() if steps else []
    return min(limits, default=DEFAULT_LIMIT)


def uses_token_types(config: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether the tokenizer gives segment ids, as transformers 5 decides: by its list of inputs, else its class."""
    names = settings.get("model_input_names")
    if names is not None:
        return "token_type_ids" in names
    tokenizer = settings.get("tokenizer_class") or config.get("tokenizer_class")
    if tokenizer is None:
        return config.get("model_type") in {"bert", "electra", "deberta", "deberta-v2", "fnet"}
    return str(tokenizer).removesuffix("Fast") in TYPED_TOKENIZERS


def find_graphs(base: Path, folder: Path) -> dict[str, Path]:
    """ONNX and OpenVINO files of a classifier by form, where exporters put them."""
    graphs: dict[str, Path] = {}
    for place in (base, base / "onnx"):
        if "fp32" not in graphs and (place / "model.onnx").is_file():
            graphs["fp32"] = check_inside(place / "model.onnx", folder)
    for place in (base, base / "openvino"):
        if "ir" not in graphs and (place / "openvino_model.xml").is_file():
            check_inside(place / "openvino_model.bin", folder)
            graphs["ir"] = check_inside(place / "openvino_model.xml", folder)
    return graphs


def _weights(base: Path, folder: Path, policy: LoadPolicy, graphs: dict[str, Path]) -> tuple[Path, ...]:
    """Torch weights; a folder with a graph may have none, and pickles next to a graph are not read."""
    try:
        weights = find_weights(base, allow_pickle=policy.allow_pickle, home=folder)
    except ModelError:
        if graphs:
            return ()
        raise
    return tuple(check_inside(path, folder) for path in weights)


def _remote_code(config: dict[str, Any], folder: Path, policy: LoadPolicy, graphs: dict[str, Path]) -> bool:
    """Whether the model may bring its own code; a repository that cannot do without is refused by the engine."""
    if not config.get("auto_map") or not policy.trust_remote_code:
        return False
    if graphs and not list(folder.glob("*.py")):
        raise UsageError(f"{folder} does not contain code to trust", "leave `--trust-remote-code` out")
    for path in folder.rglob("*.py"):
        check_inside(path, folder)
    if "--" in json.dumps(config["auto_map"]):  # `owner/name--file.Class`
        message = f"{folder / 'config.json'} takes code from another repository, whose revision is not pinned"
        covered = refusals.is_built_in(config)
        hint = "leave `--trust-remote-code` out" if covered else "use a repository that contains its code"
        raise ModelError(message, hint)
    return not refusals.is_built_in(config)


def _notes(config: dict[str, Any], policy: LoadPolicy, remote_code: bool) -> tuple[str, ...]:
    """That code was trusted in vain."""
    if not policy.trust_remote_code or remote_code:
        return ()
    if not config.get("auto_map"):
        return ("--trust-remote-code is not needed: the repository brings no code for its model",)
    known = f"transformers has a class for the type `{config.get('model_type')}`"
    return (f"--trust-remote-code is not needed: {known}, and the repository's code is not run",)
