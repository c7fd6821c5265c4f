"""A model folder to facts: how long an input may be, which files hold its weights.

It reads configuration only; the families and their rules are those of docs/models.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rerank_cli import lookup
from rerank_cli.errors import ModelError, UsageError
from rerank_cli.inside import check_inside, is_hub_name
from rerank_cli.models import refusals, sentencepiece
from rerank_cli.models.chat import find_chat
from rerank_cli.models.encodings import Encoded, read_encoded
from rerank_cli.models.facts import Chat, Family, LoadPolicy, LocalModel
from rerank_cli.models.families import family_of, labels_of, scale_of
from rerank_cli.models.files import Types, find_weights, optional_json, read_json
from rerank_cli.models.late_interaction import SAVED as LATE
from rerank_cli.models.late_interaction import Settings
from rerank_cli.models.modules import Steps, read_steps
from rerank_cli.models.seq2seq import is_seq2seq, with_recipe
from rerank_cli.models.templates import chosen as choose_template
from rerank_cli.models.templates import recognised, scoring_names, takes_pairs

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
                 "text_config": dict, "sbert_ce_default_activation_function": str}  # fmt: skip
TOKENIZER: Types = {"model_input_names": list}
SAVED: Types = {"activation_fn": str, "prompts": dict, "default_prompt_name": str, **LATE}


def read_folder(folder: Path, name: str, policy: LoadPolicy) -> LocalModel:
    """The facts of a Hugging Face style folder. Raises ModelError with what is missing, unknown or refused."""
    return with_recipe(_read(folder, name, policy))


def _read(folder: Path, name: str, policy: LoadPolicy) -> LocalModel:
    _check_folder(folder)
    steps = read_steps(folder, allow_pickle=policy.allow_pickle)
    base = steps.transformer if steps else folder
    config = _config(base, folder)
    settings = optional_json(base / "tokenizer_config.json", TOKENIZER)
    saved = optional_json(folder / "config_sentence_transformers.json", SAVED)
    exported = find_graphs(base, folder)
    runs_on_torch = refusals.check_config(folder, config, exported=bool(exported))
    lengths = max_tokens(config, settings, steps), max_tokens(config, {})
    encoded = read_encoded(Settings(folder, policy, config, steps, saved, settings, *lengths))
    if encoded and policy.template:
        raise takes_pairs(str(folder))
    family, chat = (encoded.family, None) if encoded else _family_and_chat(config, steps, folder, name, policy.template)
    labels, positive = labels_of(family, config, steps, folder)
    model = LocalModel(
        name=name,
        folder=folder,
        tokenizer=_tokenizer(base, folder),
        graphs=exported if family == "classification" else {},
        max_tokens=lengths[0],
        labels=labels,
        positive=positive,
        scale=_template_scale(chat, family, labels) or scale_of(family, config, steps, saved, folder),
        pad_id=_pad_id(config),
        config=config,
        family=family,
        transformer=base,
        modules=steps.modules if steps else (),
        chat=chat,
        instruction=None if policy.template else default_prompt(saved),
        lower_case=bool(steps and steps.settings.get("do_lower_case")),
        token_types=uses_token_types(config, settings),
        template=policy.template,
    )
    model = _with_weights(model, policy, runs_on_torch=runs_on_torch)
    return _apart(model, encoded) if encoded else model


def _with_weights(model: LocalModel, policy: LoadPolicy, *, runs_on_torch: bool) -> LocalModel:
    """The model with the weights that torch can run, and with its code if that is trusted. Raises ModelError."""
    folder, config, graphs = model.folder, model.config, model.graphs
    remote_code = _remote_code(config, folder, policy, graphs)
    weights = _weights(model.transformer or folder, folder, policy, graphs) if runs_on_torch else ()
    if model.family == "classification" and not graphs and not remote_code:
        refusals.check_head(folder, config, weights)
    return replace(model, weights=weights, remote_code=remote_code, notes=_notes(config, policy, remote_code))


def _check_folder(folder: Path) -> None:
    """Raise ModelError for a folder that is not there, leads out of itself, or is not that of a whole model."""
    if not lookup.is_folder(folder):
        raise ModelError(f"no model folder at {folder}", "give a folder with config.json, tokenizer.json and weights")
    for path in (*folder.glob("*.j*"), *folder.glob("*/*.j*")):
        check_inside(path, folder)
    refusals.check_folder(folder)


def _config(base: Path, folder: Path) -> dict[str, Any]:
    """The transformer's config.json."""
    config: dict[str, Any] = read_json(check_inside(base / "config.json", folder), CONFIG)
    if config.get("transformers_weights"):  # torch would load other weights than those that are checked and digested
        message = f"{base / 'config.json'} has `transformers_weights`, which is not supported"
        raise ModelError(message, "take the member out if the weights are in model.safetensors")
    return config


def _apart(model: LocalModel, encoded: Encoded) -> LocalModel:
    """A model that encodes query and document apart."""
    query, document = encoded.encodings.query, encoded.encodings.document
    return replace(
        model,
        max_tokens=document.max_tokens,
        scale=encoded.encodings.similarity,
        modules=encoded.modules,
        instruction=query.prompt or None,
        encodings=encoded.encodings,
    )


def _family_and_chat(
    config: dict[str, Any], steps: Steps | None, folder: Path, name: str, template: str | None
) -> tuple[Family, Chat | None]:
    """The family, and the chat template unless query and document are a pair; `template` is the user's choice.

    Raises ModelError for a model that no prompt can score, and for a decoder without a template.
    """
    names = _names(name, folder, config)
    row = recognised(config, names)
    if row is not None and row.refused and not template:
        raise ModelError(
            f"{folder} cannot be scored: {row.refused}", "choose a reranker that scores one pair at a time"
        )
    family = family_of(config, steps, folder)
    chat = _chat(steps.transformer if steps else folder, names, config, steps, template)
    if family == "decoder" and chat is None:
        known = ", ".join(scoring_names())
        hint = f"`--template NAME|FILE` says which prompt it was trained with; the built-in ones are {known}"
        raise ModelError(f"{folder} is a decoder without a template for query and document", hint)
    return family, chat


def _names(name: str, folder: Path, config: dict[str, Any]) -> tuple[str, ...]:
    """What a model is called: its reference or folder, the repository that the hub's cache keeps there, its base."""
    place = folder.resolve()
    own = place.parent.parent.name if place.parent.name == "snapshots" else place.name
    return (name if is_hub_name(name) else own, own, str(config.get("_name_or_path", "")))


def _tokenizer(base: Path, folder: Path) -> Path:
    for place in (base, folder):
        if (place / "tokenizer.json").is_file():
            return check_inside(place / "tokenizer.json", folder)
    hint = "save a fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)"
    if is_seq2seq(read_json(base / "config.json")):
        if (base / sentencepiece.FILE).is_file():
            return check_inside(base / sentencepiece.FILE, folder)
        hint = f"put tokenizer.json or {sentencepiece.FILE} of the T5 that it was trained from next to its weights"
    raise ModelError(f"{base} has no tokenizer.json", hint)


def _chat(
    base: Path, names: tuple[str, ...], config: dict[str, Any], steps: Steps | None, template: str | None
) -> Chat | None:
    """The chat template that is chosen, or the repository's or its family's, unless it uses plain pairs."""
    chosen = choose_template(template) if template else None
    if steps is not None and not steps.uses_chat:
        if chosen:
            raise takes_pairs(str(base))
        return None
    if steps is None:
        return find_chat(base, config, names, chosen)
    options, form = steps.chat_options(base), steps.template_form
    chat = find_chat(base, config, names, chosen, form)
    return replace(chat, options=options) if chat and options else chat


def _template_scale(chat: Chat | None, family: Family, labels: int) -> str:
    """The scale that the template names. A classifier with one logit, made from a decoder, keeps a bare logit."""
    bare = chat is not None and len(chat.answers) == 1
    return chat.scale if chat and (family == "decoder" or (labels == 1 and bare)) else ""


def default_prompt(saved: dict[str, Any]) -> str | None:
    """The prompt that the repository applies by itself: its default one, by name."""
    name = saved.get("default_prompt_name")
    prompts = saved.get("prompts") or {}
    return str(prompts[name]) if name and prompts.get(name) else None


def text_part(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a vision-language model's text part; none for others."""
    part: dict[str, Any] = config.get("text_config") or {}
    return part


def _pad_id(config: dict[str, Any]) -> int:
    """The padding token of config.json; -1 if it names none."""
    numbers = (part.get("pad_token_id") for part in (config, text_part(config)))
    return next((int(number) for number in numbers if number is not None), -1)


def max_tokens(config: dict[str, Any], settings: dict[str, Any], steps: Steps | None = None) -> int:
    """Tokens a whole input may have: the position table, less RoBERTa's offset, and the tokenizer's own limit.

    `settings` is tokenizer_config.json; the `max_seq_length` of a module repository stands for the tokenizer's limit.
    """
    table = int(config.get("max_position_embeddings") or text_part(config).get("max_position_embeddings") or 0)
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
