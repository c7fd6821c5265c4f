"""Networks of the four families in torch: input ids to logits [rows, labels]. Loading refuses what is incomplete.

Weights are read by transformers from the model's folder and nothing else; the modules of sentence-transformers are
rebuilt from their settings (`torch_modules`), so that neither that library nor a name from a file is needed.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rerank_cli.errors import ModelError, library_errors
from rerank_cli.models.families import VISION_LANGUAGE, sees
from rerank_cli.models.files import safetensors_header
from rerank_cli.models.heads import LogitChange, logit_change
from rerank_cli.scorers.answers import answer_tokens
from rerank_cli.scorers.torch_modules import build_modules
from rerank_cli.scorers.torch_seq2seq import make_seq2seq

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.encoding import Encoder

# Types of decoders whose logits tests compare with ours; those of others are compared when a model is loaded.
COMPARED = {"qwen2", "qwen3", "llama", "mistral", "gemma", "gemma2", "granite", "cohere", *VISION_LANGUAGE}
# What the modules of each family give.
OUTPUTS = {"modules": "scores", "late-interaction": "token_embeddings", "embedding": "sentence_embedding"}
UNUSED = ("pooler.",)  # weights that AutoModel adds and no reranker's modules read


def load_network(model: LocalModel, encoder: Encoder, dtype: torch.dtype) -> nn.Module:
    """The network of a model in a precision, in evaluation mode. Raises ModelError for missing or unfit weights."""
    if model.family == "decoder":
        causal = _load(model, "AutoModelForImageTextToText" if sees(model.config) else "AutoModelForCausalLM", dtype)
        change = logit_change(causal.config.to_dict(), model.folder)  # with the defaults that config.json leaves out
        answers = answer_tokens(model, encoder)
        network: nn.Module = DecoderNetwork(causal, answers, change)
        if model.config.get("model_type") not in COMPARED:
            _compare_logits(model, causal, network.eval(), answers)
    elif model.family in OUTPUTS:
        network = ModuleNetwork(_load(model, "AutoModel", dtype), model)
        network.head.to(dtype)
    elif model.family == "seq2seq":
        network = make_seq2seq(_load(model, "AutoModelForSeq2SeqLM", dtype), model, encoder)
    else:
        network = ClassifierNetwork(_load(model, "AutoModelForSequenceClassification", dtype), model.pad_id)
    return network.eval()


def _load(model: LocalModel, auto: str, dtype: torch.dtype) -> Any:
    """The transformer by one of transformers' auto classes, all of its weights present."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = str(model.config.get("model_type"))
    if model_type not in CONFIG_MAPPING_NAMES and not model.remote_code:
        raise ModelError(
            f"{model.name} is of the type `{model_type}`, which transformers {transformers.__version__} does not know",
            "it has code of its own: read it, then `--trust-remote-code` with a pinned revision of a Hugging Face name"
            if model.config.get("auto_map")
            else "a newer transformers may know it",
        )
    base = model.transformer or model.folder
    if (base / "adapter_config.json").exists():  # with peft installed, transformers would load the model that it names
        raise ModelError(
            f"{base} is an adapter of another model", "remove adapter_config.json if its weights are merged"
        )
    remote = model_type not in CONFIG_MAPPING_NAMES
    pickled = any(path.suffix == ".bin" for path in model.weights)
    failed = library_errors(lambda reason: ModelError(f"torch cannot load {model.name}: {reason}"))
    with _quiet(transformers), failed:
        network, info = getattr(transformers, auto).from_pretrained(
            str(base),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=not pickled,
            trust_remote_code=remote,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, with a message
        )
    _check_shapes(model, sorted(info["mismatched_keys"]))
    missing = sorted(name for name in info["missing_keys"] if not (auto == "AutoModel" and name.startswith(UNUSED)))
    if missing:
        raise ModelError(
            f"{model.name} has no weights for {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}: "
            "they would be randomly initialised",
            "is it a base model? a reranker's repository holds its scoring head",
        )
    return network


def _compare_logits(model: LocalModel, causal: Any, network: nn.Module, answers: tuple[int, ...]) -> None:
    """Raise ModelError if the answers' logits are not those of the whole model: it may change them in its own way."""
    ids = torch.arange(8)[None]
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        logits = causal.eval()(input_ids=ids, attention_mask=mask).logits[:, -1, list(answers)].float()
        off = (network(ids, mask) - _difference(logits)).abs().max()
    allowed = (1e-3 if causal.dtype == torch.float32 else 0.05) * logits.abs().max().clamp(min=1)
    if not off <= allowed:
        message = f"{model.name} is a decoder of the type `{model.config.get('model_type')}`, which changes its logits"
        raise ModelError(f"{message} in a way that is not supported")


def _check_shapes(model: LocalModel, mismatched: list[tuple[str, Iterable[int], Iterable[int]]]) -> None:
    """Raise ModelError for the first weight whose shape is not what config.json asks for."""
    if not mismatched:
        return
    name, actual, expected = mismatched[0]
    config = (model.transformer or model.folder) / "config.json"
    holder = next((path for path in model.weights if _holds(path, name)), model.weights[0])
    more = f", and {len(mismatched) - 1} more weights do not fit" if len(mismatched) > 1 else ""
    raise ModelError(
        f"{holder} does not fit {config}: `{name}` has the shape {list(actual)}, and the settings ask for "
        f"{list(expected)}{more}",
        "one of the two was changed: download or save the model again",
    )


def _holds(path: Path, name: str) -> bool:
    return path.suffix == ".safetensors" and name in safetensors_header(path)


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars, notes or warnings of transformers: this module reports what matters."""
    logger = logging.getLogger("transformers")
    level, bars = logger.level, transformers.utils.logging.is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()


def _takes(network: nn.Module, name: str) -> bool:
    return name in inspect.signature(network.forward).parameters


class ClassifierNetwork(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """A sequence classification head as it is."""

    def __init__(self, network: Any, pad_id: int) -> None:
        super().__init__()
        self.network = network
        self._types = _takes(network, "token_type_ids")
        if network.config.pad_token_id is None:  # decoder classifiers find their last token by it
            network.config.pad_token_id = pad_id

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits [rows, labels]."""
        more = {"token_type_ids": token_type_ids} if self._types else {}
        logits: torch.Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask, **more).logits
        return logits


class DecoderNetwork(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """The last hidden state times (W_yes − W_no): the only two of a vocabulary's logits that count.

    Inputs are padded on the left, so the last position is the template's end in every row. `change` is what the model
    does to its logits; where they are capped, the two are computed apart.
    """

    def __init__(self, causal: Any, answers: tuple[int, ...], change: LogitChange) -> None:
        super().__init__()
        head = causal.get_output_embeddings()
        if head is None or max(answers) >= head.weight.shape[0]:
            raise ModelError("the model's vocabulary has no row for its answer tokens")
        self.body = causal.get_decoder() if hasattr(causal, "get_decoder") else causal.base_model
        self._positions = _takes(self.body, "position_ids")
        columns = head.weight.detach().float()[list(answers)].T * change.factor  # [width, 1 or 2]
        bias = getattr(head, "bias", None)
        offset = torch.zeros(len(answers)) if bias is None else bias.detach().float()[list(answers)] * change.factor
        self._cap = change.cap
        if self._cap is None:
            columns, offset = _difference(columns), _difference(offset)
        self.register_buffer("columns", columns.clone())
        self.register_buffer("offset", offset.clone())

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits [rows, 1] in float32."""
        del token_type_ids  # decoders have no segments
        more = {}
        if self._positions:  # the first real token is at 0 whatever the padding
            more["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        hidden = self.body(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **more
        ).last_hidden_state
        logits: torch.Tensor = hidden[:, -1].float() @ self.columns.float() + self.offset.float()
        return logits if self._cap is None else _difference(self._cap * torch.tanh(logits / self._cap))


def _difference(answers: torch.Tensor) -> torch.Tensor:
    """[…, (yes, no)] to […, yes − no]; a `yes` alone stays."""
    return answers[..., :1] - answers[..., 1:] if answers.shape[-1] == 2 else answers


class ModuleNetwork(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """A transformer and the modules after it: logits, or the vectors of a model that encodes texts apart."""

    def __init__(self, network: Any, model: LocalModel) -> None:
        super().__init__()
        self.network = network
        self.head = build_modules(model.modules, None if model.encodings else model.instruction)
        self._output = OUTPUTS[model.family]
        self._types = _takes(network, "token_type_ids")

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits [rows, labels], token vectors [rows, tokens, width] or text vectors [rows, width]."""
        more = {"token_type_ids": token_type_ids} if self._types else {}
        output = self.network(input_ids=input_ids, attention_mask=attention_mask, **more)
        features = {"token_embeddings": output.last_hidden_state, "attention_mask": attention_mask}
        for module in self.head:
            features = module(features)
        return features[self._output]
