"""The embedded cross-encoder as a torch module: two texts read together, their cosine plus a small MLP.

This file knows the architecture and the names of its weights. It knows nothing of data, losses, ONNX or the package.

The input is `[CLS] query [SEP] document [SEP]`, segment 0 up to and with the first [SEP]; every token reads every other
from the first layer. The encoder was trained as a bi-encoder with mean pooling, so the head pools the two segments and
starts from their cosine: it ranks before any training. With h the last hidden states:

    q     = unit(mean of h over segment 0)
    d     = unit(sum over segment 1 of softmax_t(beta * cos(q, h_t)) * h_t)
    m     = max over segment 1 of cos(q, h_t)
    logit = scale * q.d + bias + MLP([19.6 * [unit(h_CLS); |q - d|; q * d]; m])

`beta = 0` is the plain mean. The first checkpoint has no `beta`, and an MLP of 1152 inputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = 384
FEATURE_GAIN = 19.6  # sqrt(384): entries of a unit vector become of order one
EPS = 1e-12


class CrossEncoder(nn.Module):
    """Scores token id pairs; `forward` returns logits of shape [batch], before any activation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.enc = BertModel(config, add_pooling_layer=False)
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.bias = nn.Parameter(torch.tensor(-16.5))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.mlp = nn.Sequential(nn.Linear(3 * HIDDEN + 1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        nn.init.zeros_(self.mlp[2].weight)
        nn.init.zeros_(self.mlp[2].bias)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """All inputs int64 [batch, tokens]; padding has attention_mask 0."""
        hidden = self.enc(
            input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
        ).last_hidden_state.float()
        first = (attention_mask * (1 - token_type_ids)).to(hidden.dtype)
        return self._head(hidden, first, attention_mask * token_type_ids == 1)

    def _head(self, hidden: Tensor, first: Tensor, second: Tensor) -> Tensor:
        query = normalize((hidden * first.unsqueeze(-1)).sum(1) / first.sum(1, keepdim=True), dim=-1, eps=EPS)
        unit = normalize(hidden, dim=-1, eps=EPS)
        cosines = (unit @ query.unsqueeze(-1)).squeeze(-1)  # [batch, tokens]
        weights = torch.softmax((self.beta * cosines).masked_fill(~second, float("-inf")), dim=-1)
        document = normalize((hidden * weights.unsqueeze(-1)).sum(1), dim=-1, eps=EPS)
        best = cosines.masked_fill(~second, -1.0).amax(-1, keepdim=True)
        features = torch.cat([unit[:, 0], (query - document).abs(), query * document], dim=-1) * FEATURE_GAIN
        residual = self.mlp(torch.cat([features, best], dim=-1)).squeeze(-1)
        return self.scale * (query * document).sum(-1) + self.bias + residual


def upgrade(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the first checkpoint in the shape of this module: beta 0, a zero column for the best cosine."""
    state = {name: value.float() for name, value in state.items()}
    state.setdefault("beta", torch.tensor(0.0))
    weight = state["mlp.0.weight"]
    if weight.shape[1] == 3 * HIDDEN:
        state["mlp.0.weight"] = torch.cat([weight, weight.new_zeros(HIDDEN, 1)], dim=1)
    return state


def load(folder: Path, **config: Any) -> CrossEncoder:
    """The module of a checkpoint folder (config.json, model.safetensors), in float32 and eval mode."""
    settings = json.loads((folder / "config.json").read_text()) | config
    architecture = {name: value for name, value in settings.items() if name not in {"architectures", "_name_or_path"}}
    architecture.pop("window", None)
    model = CrossEncoder(BertConfig(**architecture))
    model.load_state_dict(upgrade(load_file(folder / "model.safetensors")))
    return model.eval()
