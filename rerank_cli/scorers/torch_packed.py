"""Faster float32 products on CPUs: linear layers with weights laid out for oneDNN once, instead of MKL at every call.

On AMD CPUs that is 1.4 to 2.5 times as fast for the shapes of small cross-encoders (benchmarks/backends.py). The
operators are those that torch's own compiler calls; where a build has none, layers stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

ROWS = 2048  # the batch that the layout is chosen for; any other works too
CLOSE = 1e-3


def pack_linears(network: nn.Module) -> int:
    """Replace the network's plain float32 linear layers; returns how many.

    The network must give the same logits on a small batch before and after, or the layers are restored: some networks
    read the weights of their layers.
    """
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return 0
    before = _try(network)
    replaced = [
        (parent, name, layer)
        for parent in list(network.modules())
        for name, layer in list(parent.named_children())
        if type(layer) is nn.Linear and layer.weight.dtype == torch.float32
    ]
    with torch.inference_mode():
        for parent, name, layer in replaced:
            setattr(parent, name, PackedLinear(layer))
    after = _try(network)
    if before is not None and after is not None and torch.allclose(before, after, rtol=CLOSE, atol=CLOSE):
        return len(replaced)
    for parent, name, layer in replaced:
        setattr(parent, name, layer)
    return 0


class PackedLinear(nn.Module):  # type: ignore[misc] # torch is not type-checked
    """`nn.Linear` for inference on the CPU."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        # Under this name because some networks (T5) look at its type before they call the layer.
        self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), ROWS)  # noqa: SLF001 its name
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The product `values @ weight.T + bias`."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 its name
            values, self.weight, self._bias, "none", [], ""
        )
        return product


def _try(network: nn.Module) -> torch.Tensor | None:
    """Logits of two small rows, or None if the network cannot run them."""
    ids = torch.ones((2, 8), dtype=torch.int64)
    try:
        with torch.inference_mode():
            logits: torch.Tensor = network(input_ids=ids, attention_mask=ids, token_type_ids=ids * 0)
    except (RuntimeError, AttributeError, TypeError, IndexError):
        return None
    return logits
