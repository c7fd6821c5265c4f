"""The embedded cross-encoder as a torch module: two texts read together, their cosine plus a small MLP.

The teacher is the same with another encoder, MPNet, whose vocabulary is that of BERT with other places. This file knows
the architecture and the names of its weights. It knows nothing of data, losses, ONNX or the package.

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
from torch.nn.functional import normalize, scaled_dot_product_attention
from transformers import BertConfig, BertModel, MPNetModel

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedConfig

HIDDEN = 384  # of the student
FEATURE_GAIN = 19.6  # sqrt(384): entries of a unit vector become of order one
EPS = 1e-12
BERT_SPECIAL = (0, 100, 101, 102)  # [PAD], [UNK], [CLS], [SEP]
MPNET_SPECIAL = (1, 104, 0, 2)  # <pad>, [UNK], <s>, </s>; all other tokens stand MPNET_SHIFT places later
MPNET_SHIFT = 4
MASKED = -1e4


class CrossEncoder(nn.Module):
    """Scores token id pairs; `forward` returns logits of shape [batch], before any activation."""

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__()
        encoder = MPNetModel if config.model_type == "mpnet" else BertModel
        self.enc = encoder(config, add_pooling_layer=False)
        hidden = config.hidden_size
        self.gain = FEATURE_GAIN * (hidden / HIDDEN) ** 0.5
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.bias = nn.Parameter(torch.tensor(-16.5))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.mlp = nn.Sequential(nn.Linear(3 * hidden + 1, hidden), nn.GELU(), nn.Linear(hidden, 1))
        nn.init.zeros_(self.mlp[2].weight)
        nn.init.zeros_(self.mlp[2].bias)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """All inputs int64 [batch, tokens], in BERT's vocabulary; padding has attention_mask 0."""
        if isinstance(self.enc, MPNetModel):
            hidden = mpnet_states(self.enc, input_ids, attention_mask).float()
        else:
            found = self.enc(input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask)
            hidden = found.last_hidden_state.float()
        first = (attention_mask * (1 - token_type_ids)).to(hidden.dtype)
        return self._head(hidden, first, attention_mask * token_type_ids == 1)

    def _head(self, hidden: Tensor, first: Tensor, second: Tensor) -> Tensor:
        query = normalize((hidden * first.unsqueeze(-1)).sum(1) / first.sum(1, keepdim=True), dim=-1, eps=EPS)
        unit = normalize(hidden, dim=-1, eps=EPS)
        cosines = (unit @ query.unsqueeze(-1)).squeeze(-1)  # [batch, tokens]
        weights = torch.softmax((self.beta * cosines).masked_fill(~second, float("-inf")), dim=-1)
        document = normalize((hidden * weights.unsqueeze(-1)).sum(1), dim=-1, eps=EPS)
        best = cosines.masked_fill(~second, -1.0).amax(-1, keepdim=True)
        features = torch.cat([unit[:, 0], (query - document).abs(), query * document], dim=-1) * self.gain
        residual = self.mlp(torch.cat([features, best], dim=-1)).squeeze(-1)
        return self.scale * (query * document).sum(-1) + self.bias + residual


def mpnet_states(encoder: MPNetModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Last hidden states [batch, tokens, width] of MPNet for BERT's token ids; its attention as one fused operation."""
    ids = input_ids + MPNET_SHIFT
    for bert, mpnet in zip(BERT_SPECIAL, MPNET_SPECIAL, strict=True):
        ids = ids.masked_fill(input_ids == bert, mpnet)
    hidden = encoder.embeddings(input_ids=ids)
    positions = encoder.encoder.compute_position_bias(hidden[:1])
    bias = (positions + MASKED * (1 - attention_mask)[:, None, None, :]).detach()  # [batch, heads, tokens, tokens]
    for layer in encoder.encoder.layer:
        attention = layer.attention.attn
        shape = (*hidden.shape[:2], attention.num_attention_heads, -1)
        query, key, value = (
            part(hidden).view(shape).transpose(1, 2) for part in (attention.q, attention.k, attention.v)
        )
        bias = bias.to(query.dtype)  # once: after the first layer it has it
        mixed = scaled_dot_product_attention(query, key, value, bias)
        mixed = attention.o(mixed.transpose(1, 2).flatten(2))
        hidden = layer.attention.LayerNorm(mixed + hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    return hidden


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
