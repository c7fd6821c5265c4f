"""The embedded cross-encoder as a torch module: two texts that read each other late, cosine plus a small MLP.

This file knows the architecture and the names of its weights. It knows nothing of data, losses, ONNX or the package.

The input is `[CLS] query [SEP] document [SEP]`, segment 0 up to and with the first [SEP]. A bi-encoder's weights rank
best on what they were trained on, one text at a time, so that is where this model starts:

- the document's positions count from 1, as if it stood behind the [CLS], which every token may read;
- in the lowest `separate_layers` layers neither text reads the other; above, a gate g is added to the attention scores
  from query to document and another from document to query. It starts at -2 and is trained;
- both texts have segment embedding 0.

With h the last hidden states:

    q     = unit(mean of h over segment 0)
    d     = unit(sum over segment 1 of softmax_t(beta * cos(q, h_t)) * h_t)
    m     = max over segment 1 of cos(q, h_t)
    logit = scale * q.d + bias + MLP([19.6 * [unit(h_CLS); |q - d|; q * d]; m])

`beta = 0` is the plain mean. The first checkpoint has no gates (its config.json no `separate_layers`): one text of two
segments, each read by the other throughout; no `beta`, and an MLP of 1152 inputs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize
from transformers import BertConfig, BertModel

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = 384
FEATURE_GAIN = 19.6  # sqrt(384): entries of a unit vector become of order one
EPS = 1e-12
MASKED = -1e9
SEPARATE_LAYERS = 0


class CrossEncoder(nn.Module):
    """Scores token id pairs; `forward` returns logits of shape [batch], before any activation."""

    def __init__(self, config: BertConfig, separate: int | None = SEPARATE_LAYERS) -> None:
        super().__init__()
        self.enc = BertModel(config, add_pooling_layer=False)
        self.separate, self.heads = separate, config.num_attention_heads
        if separate is not None:  # [open layers, (query reads document, document reads query)]
            self.gates = nn.Parameter(torch.full((config.num_hidden_layers - separate, 2), -2.0))
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.bias = nn.Parameter(torch.tensor(-16.5))
        self.beta = nn.Parameter(torch.tensor(0.0))
        self.mlp = nn.Sequential(nn.Linear(3 * HIDDEN + 1, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))
        nn.init.zeros_(self.mlp[2].weight)
        nn.init.zeros_(self.mlp[2].bias)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """All inputs int64 [batch, tokens]; padding has attention_mask 0."""
        mask = attention_mask.to(self.scale.dtype)
        second = attention_mask * token_type_ids  # [batch, tokens]
        hidden = self._embedded(input_ids, second, attention_mask)
        for layer, bias in zip(self.enc.encoder.layer, self._biases(mask, second.to(mask.dtype)), strict=True):
            hidden = self._layer(layer, hidden, bias)
        return self._head(hidden, mask * (1 - token_type_ids), second == 1)

    def _embedded(self, ids: Tensor, second: Tensor, attended: Tensor) -> Tensor:
        table = self.enc.embeddings
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        if self.separate is not None:
            positions = positions - second * ((attended - second).sum(1, keepdim=True) - 1)
        segments = second if self.separate is None else torch.zeros_like(second)
        parts = table.word_embeddings(ids) + table.token_type_embeddings(segments)
        return table.LayerNorm(parts + table.position_embeddings(positions))

    def _biases(self, mask: Tensor, second: Tensor) -> list[Tensor]:
        """What each layer adds to its attention scores: [batch, 1, reading, read]."""
        padding = ((1 - mask) * MASKED)[:, None, None, :]
        if self.separate is None:
            return [padding] * len(self.enc.encoder.layer)
        reading, read = second[:, None, :, None], second[:, None, None, :]
        query_reads, document_reads = (1 - reading) * read, reading * (1 - read)
        document_reads = torch.cat([torch.zeros_like(document_reads[..., :1]), document_reads[..., 1:]], -1)  # [CLS]
        closed = padding + (query_reads + document_reads) * MASKED
        opened = [padding + gate[0] * query_reads + gate[1] * document_reads for gate in self.gates]
        return [closed] * self.separate + opened

    def _layer(self, layer: nn.Module, hidden: Tensor, bias: Tensor) -> Tensor:
        """One encoder layer; attention written out, since the library's takes no bias of this shape cheaply."""
        own, rows = layer.attention.self, (*hidden.shape[:2], self.heads, -1)
        query, key, value = (part(hidden).view(rows).transpose(1, 2) for part in (own.query, own.key, own.value))
        weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias, dim=-1)
        context = (weights @ value).transpose(1, 2).reshape(hidden.shape)
        hidden = layer.attention.output.LayerNorm(layer.attention.output.dense(context) + hidden)
        inner = gelu(layer.intermediate.dense(hidden))
        return layer.output.LayerNorm(layer.output.dense(inner) + hidden)

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
    separate = architecture.pop("separate_layers", None)
    model = CrossEncoder(BertConfig(**architecture), separate)
    model.load_state_dict(upgrade(load_file(folder / "model.safetensors")))
    return model.eval()
