"""The modules of sentence-transformers, rebuilt in torch: Pooling, Dense, LayerNorm, Normalize, Dropout.

Each takes and returns the dictionary of features that passes through a repository; the rules are those of
sentence-transformers 6.2 (`sentence_transformers/base/modules`, `…/sentence_transformer/modules/pooling.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rerank_cli.errors import ModelError, library_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rerank_cli.models.facts import Module

Features = dict[str, torch.Tensor]
# models.heads.ACTIVATIONS by name; getattr on a fixed class list, never an import by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    layer.__name__: layer
    for layer in (
        nn.Identity, nn.Sigmoid, nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU,
        nn.ReLU6, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Tanhshrink,
    )
}  # fmt: skip


def build_modules(modules: Sequence[Module], prompt: str | None) -> nn.ModuleList:
    """The modules after a transformer, weights loaded. Raises ModelError for weights that do not fit."""
    layers: list[nn.Module] = []
    for module in modules:
        config = module.config
        if module.kind == "Pooling":
            if prompt and config.get("include_prompt") is False:
                raise ModelError("a pooling without the prompt is not supported")
            layers.append(Pooling(config["modes"]))
        elif module.kind == "Dense":
            layers.append(_loaded(Dense(config), module))
        elif module.kind == "LayerNorm":
            layers.append(_loaded(LayerNorm(int(config["dimension"])), module))
        elif module.kind == "Normalize":
            layers.append(Normalize(config))
        elif module.kind != "Dropout":  # dropout does nothing outside training
            raise ModelError(f"a {module.kind} module is not supported here")
    return nn.ModuleList(layers)


def _loaded(built: nn.Module, module: Module) -> nn.Module:
    """The module with its weights, every one of them."""
    path = module.weights
    if path is None:
        raise ModelError(f"the {module.kind} module has no weights")
    with library_errors(
        lambda reason: ModelError(f"the weights {path} do not fit their {module.kind} module: {reason}")
    ):
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        if only := module.config.get("only"):  # the file holds other weights as well
            state = {name: value for name, value in state.items() if name.startswith(only)}
        built.load_state_dict(state)
    return built


class Pooling(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """Token embeddings [rows, tokens, width] to one vector a row; several modes are concatenated."""

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        self._modes = tuple(modes)

    def forward(self, features: Features) -> Features:
        """Add `sentence_embedding` [rows, width × modes]."""
        tokens, mask = features["token_embeddings"], features["attention_mask"]
        pooled = [_pool(mode, tokens, mask) for mode in self._modes]
        return {**features, "sentence_embedding": torch.cat(pooled, dim=1)}


def _pool(mode: str, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One pooling; padding is on the right, so the first token is at 0. Sums are in float32."""
    if mode == "cls":
        return tokens[:, 0]
    if mode == "max":
        return tokens.masked_fill(mask[:, :, None] == 0, float("-inf")).max(dim=1).values
    if mode == "lasttoken":
        last = mask.sum(dim=1) - 1
        return tokens[torch.arange(tokens.shape[0], device=tokens.device), last]
    weights = mask.float()
    if mode == "weightedmean":
        weights = weights * torch.arange(1, tokens.shape[1] + 1, device=tokens.device, dtype=torch.float32)
    total = (tokens.float() * weights[:, :, None]).sum(dim=1)
    count = weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    return (total / (count.sqrt() if mode == "mean_sqrt_len_tokens" else count)).to(tokens.dtype)


class Dense(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """A linear layer with activation, from one feature to another, perhaps with a residual connection."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        inside, outside = int(config["in_features"]), int(config["out_features"])
        self.linear = nn.Linear(inside, outside, bias=bool(config.get("bias", True)))
        self._activation = ACTIVATIONS[config["activation"]]()
        self._source = str(config.get("module_input_name") or "sentence_embedding")
        self._target = str(config.get("module_output_name") or self._source)
        self._residual = bool(config.get("use_residual"))
        if self._residual and inside != outside:
            self.residual = nn.Linear(inside, outside, bias=False)

    def forward(self, features: Features) -> Features:
        """Add or replace the target feature."""
        before = features[self._source]
        after = self._activation(self.linear(before))
        if self._residual:
            after = after + (self.residual(before) if hasattr(self, "residual") else before)
        return {**features, self._target: after}


class LayerNorm(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """Layer normalisation of the pooled vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Features) -> Features:
        """Replace `sentence_embedding`."""
        return {**features, "sentence_embedding": self.norm(features["sentence_embedding"])}


class Normalize(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """A feature scaled to length one."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self._source = str(config.get("module_input_name") or "sentence_embedding")
        self._target = str(config.get("module_output_name") or self._source)

    def forward(self, features: Features) -> Features:
        """Add or replace the target feature."""
        return {**features, self._target: nn.functional.normalize(features[self._source], p=2, dim=-1)}
