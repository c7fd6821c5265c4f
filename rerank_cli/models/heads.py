"""What a model's output means: how many logits, which of two is the relevant one, and the scale of a score.

Activation names are looked up in a table and never imported: a name in a file is data, not code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError
from rerank_cli.records import LOG_ODDS

if TYPE_CHECKING:
    from pathlib import Path

POSITIVE_LABELS = ("relevant", "yes", "true", "positive", "label_1", "1")
# The names under which torch.nn's activations are saved; a Dense module may have the same ones.
ACTIVATIONS = frozenset(
    {
        "Identity", "Sigmoid", "Tanh", "ReLU", "GELU", "SiLU", "Mish", "ELU", "SELU", "CELU", "LeakyReLU", "ReLU6",
        "Softplus", "Softsign", "Hardtanh", "Hardswish", "Hardsigmoid", "LogSigmoid", "Tanhshrink",
    }
)  # fmt: skip
ACTIVATION_PLACES = ("torch.nn", "torch.nn.modules.activation", "torch.nn.modules.linear")
# sentence-transformers shows sigmoid(logit), or the bare logit, of heads trained on log-odds.
LOG_ODDS_ACTIVATIONS = {"Identity", "Sigmoid"}

# What a decoder does to its logits, by member of config.json: the types that multiply, and those that divide by it.
LOGIT_FACTORS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "logits_scaling": (("hyperclovax",), ("granite", "minicpm3")),
    "logit_scale": (("cohere",), ()),
    "lm_head_multiplier": (("falcon_h1",), ()),
    "output_multiplier": ((), ()),
}
SOFTCAPPED = ("gemma",)  # types whose logits become cap · tanh(logit / cap)


class LogitChange(NamedTuple):
    """What a decoder does to its logits: times a factor, then within ±cap."""

    factor: float = 1.0
    cap: float | None = None


def logit_change(config: dict[str, Any], where: Path) -> LogitChange:
    """What a decoder does to its logits, as transformers 5.24 has it. Raises ModelError for what is not supported."""
    model_type = str(config.get("model_type"))
    config = config | (config.get("text_config") or {})
    factor = 1.0
    for name, (multiplying, dividing) in LOGIT_FACTORS.items():
        value = config.get(name)
        if value in (None, 1, 1.0):
            continue
        if not isinstance(value, int | float) or value <= 0 or not model_type.startswith((*multiplying, *dividing)):
            raise ModelError(f"{where} changes its logits by `{name}`, which is not supported")
        factor *= value if model_type.startswith(multiplying) else 1 / value
    cap = config.get("final_logit_softcapping")
    if cap is not None and not (isinstance(cap, int | float) and cap > 0 and model_type.startswith(SOFTCAPPED)):
        raise ModelError(f"{where} changes its logits by `final_logit_softcapping`, which is not supported")
    return LogitChange(factor, cap)


def head(config: dict[str, Any], where: Path) -> tuple[int, int]:
    """Number of logits (1 or 2) and which of two means relevant (id2label, else the second, as heads have it)."""
    labels = config.get("id2label") or {}
    count = len(labels) or int(config.get("num_labels") or 0) or 2  # two is transformers' default
    if count not in {1, 2}:
        hint = "this looks like a classifier of another task"
        raise ModelError(f"{where} has {count} labels: a reranker has one logit, or two (irrelevant, relevant)", hint)
    if count == 1:
        return 1, 0
    if labels and set(labels) != {"0", "1"}:
        message = f"{where} names its two labels {', '.join(map(str, labels))} in `id2label`, not 0 and 1"
        raise ModelError(message, "number them 0 (irrelevant) and 1 (relevant), as the head has them")
    labelled = {int(key): str(label).lower() for key, label in labels.items()}
    by_label = {label: key for key, label in reversed(labelled.items())}
    return 2, next((by_label[label] for label in POSITIVE_LABELS if label in by_label), 1)


def activation(name: str | None, default: str, where: Path) -> str:
    """The bare name of an activation: `GELU` for `torch.nn.modules.activation.GELU`. Raises ModelError otherwise."""
    if not name:
        return default
    module, _, bare = name.rpartition(".")
    if module not in ACTIVATION_PLACES or bare not in ACTIVATIONS:
        hint = "such a name would have to be imported and run; it is refused"
        raise ModelError(f"{where} asks for the activation `{name}`, which is not one of torch.nn's known ones", hint)
    return bare


def scale_of(config: dict[str, Any], saved: dict[str, Any], where: Path) -> str:
    """The scale of a classification head: log-odds, unless its saved activation says otherwise.

    `config` is the transformer's config.json, `saved` config_sentence_transformers.json or empty.
    """
    inner = config.get("sentence_transformers") or {}
    name = (
        saved.get("activation_fn") or inner.get("activation_fn") or config.get("sbert_ce_default_activation_function")
    )
    last = activation(str(name) if name else None, "Sigmoid", where)
    return LOG_ODDS if last in LOG_ODDS_ACTIVATIONS else f"logit before {last}"
