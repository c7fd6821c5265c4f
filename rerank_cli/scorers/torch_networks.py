"""Networks of the three families in torch: input ids to logits [rows, labels]. Loading refuses what is incomplete.

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
from rerank_cli.models.files import safetensors_header
from rerank_cli.scorers.torch_modules import build_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.encoding import Encoder

UNUSED = ("pooler.",)  # weights that AutoModel adds and no reranker's modules read


def load_network(model: LocalModel, encoder: Encoder, dtype: torch.dtype) -> nn.Module:
    """The network of a model in a precision, in evaluation mode. Raises ModelError for missing or unfit weights."""
    if model.family == "decoder":
        causal = _load(model, "AutoModelForCausalLM", dtype)
        network: nn.Module = DecoderNetwork(causal, *answer_tokens(model, encoder))
    elif model.family == "modules":
        network = ModuleNetwork(_load(model, "AutoModel", dtype), model)
        network.head.to(dtype)
    else:
        network = ClassifierNetwork(_load(model, "AutoModelForSequenceClassification", dtype), model.pad_id)
    return network.eval()


def answer_tokens(model: LocalModel, encoder: Encoder) -> tuple[int, int | None]:
    """Token ids of `yes` and `no`: those of LogitScore, else the tokenizer's own words."""
    if model.modules:
        config = model.modules[-1].config
        no = config.get("false_token_id")
        return int(config["true_token_id"]), None if no is None else int(no)
    yes, no = encoder.token_id("yes"), encoder.token_id("no")
    if yes is None or no is None:
        raise ModelError(f"the tokenizer of {model.name} has no tokens `yes` and `no`", "this is not a yes/no reranker")
    return yes, no


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

    Inputs are padded on the left, so the last position is the template's end in every row.
    """

    def __init__(self, causal: Any, yes: int, no: int | None) -> None:
        super().__init__()
        head = causal.get_output_embeddings()
        if head is None or max(yes, no or 0) >= head.weight.shape[0]:
            raise ModelError("the model's vocabulary has no row for its answer tokens")
        self.body = causal.get_decoder() if hasattr(causal, "get_decoder") else causal.base_model
        self._positions = _takes(self.body, "position_ids")
        weight = head.weight.detach().float()
        direction = weight[yes] - weight[no] if no is not None else weight[yes].clone()
        bias = getattr(head, "bias", None)
        offset = 0.0
        if bias is not None:
            offset = float(bias[yes]) - (float(bias[no]) if no is not None else 0.0)
        self.register_buffer("direction", direction[:, None].clone())
        self.offset = offset

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
        logits: torch.Tensor = hidden[:, -1].float() @ self.direction.float() + self.offset
        return logits


class ModuleNetwork(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """A transformer and the modules after it; the last Dense writes the logits."""

    def __init__(self, network: Any, model: LocalModel) -> None:
        super().__init__()
        self.network = network
        self.head = build_modules(model.modules, model.instruction)
        self._types = _takes(network, "token_type_ids")

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits [rows, labels]."""
        more = {"token_type_ids": token_type_ids} if self._types else {}
        output = self.network(input_ids=input_ids, attention_mask=attention_mask, **more)
        features = {"token_embeddings": output.last_hidden_state, "attention_mask": attention_mask}
        for module in self.head:
            features = module(features)
        return features["scores"]
