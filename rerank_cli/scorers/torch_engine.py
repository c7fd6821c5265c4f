"""The torch engine: token batches to logits on CPU or GPU. Only the `torch_*` modules of this folder import torch.

It knows nothing of texts or rankings; `torch_networks` defines what a network computes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.scorers.batching import TOKEN_BUDGET

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rerank_cli.models import LocalModel
    from rerank_cli.scorers.encoding import Encoder
    from rerank_cli.scorers.selection import EngineChoice

GPU_BUDGET = 65536


class TorchEngine:
    """A network on a device. A batch that does not fit into memory is halved, and so are all later ones.

    `packed` arranges weights for fast float32 products on a CPU; an export needs the original layout.
    """

    name = "torch"

    def __init__(
        self, model: LocalModel, encoder: Encoder, choice: EngineChoice, threads: int, *, packed: bool = True
    ) -> None:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import torch

        from rerank_cli.scorers.torch_networks import load_network

        self._torch = torch
        self._device = torch.device(choice.device)
        self._check_device(choice)
        on_cpu = self._device.type == "cpu"
        self.threads = threads if on_cpu else 1
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[choice.dtype]
        self.network: Any = load_network(model, encoder, dtype).to(self._device)
        if packed and on_cpu and choice.dtype == "fp32":
            from rerank_cli.scorers.torch_packed import pack_linears

            pack_linears(self.network)
        self.version: str = torch.__version__
        self.inputs = frozenset({"input_ids", "attention_mask", "token_type_ids"})
        self.token_budget = TOKEN_BUDGET if on_cpu else GPU_BUDGET
        self._most_cells: int | None = None  # rows × tokens that fit, once a batch did not

    def _check_device(self, choice: EngineChoice) -> None:
        """Raise ModelError if the device is missing or lacks the precision."""
        device = self._device.type
        backends = {"cuda": self._torch.cuda.is_available, "mps": self._torch.backends.mps.is_available}
        if device in backends and not backends[device]():
            raise ModelError(f"torch finds no device `{choice.device}` here", "use `--device cpu`")
        if device == "cuda" and (self._device.index or 0) >= self._torch.cuda.device_count():
            hint = f"there are {self._torch.cuda.device_count()}"
            raise ModelError(f"torch finds no device `{choice.device}` here", hint)
        if device == "cuda" and choice.dtype == "bf16" and not self._torch.cuda.is_bf16_supported():
            raise ModelError("this GPU has no bf16", "use `--dtype fp16` or `--dtype fp32`")

    def run(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits [rows, labels] in float32 of int64 [rows, tokens] inputs."""
        import numpy as np

        rows, tokens = feeds["input_ids"].shape
        most = rows if self._most_cells is None else max(1, self._most_cells // tokens)
        if rows <= most:
            return self._run_or_halve(feeds)
        parts = [{name: feed[at : at + most] for name, feed in feeds.items()} for at in range(0, rows, most)]
        return np.concatenate([self._run_or_halve(part) for part in parts])

    def _run_or_halve(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """One pass, or two of half the rows if memory does not suffice."""
        rows, tokens = feeds["input_ids"].shape
        try:
            return self._forward(feeds)
        except self._torch.OutOfMemoryError as error:
            if rows == 1:
                hint = "use `--device cpu`, `--dtype bf16`, or a smaller --max-tokens-per-doc"
                raise ModelError(f"out of memory on {self._device} for one input of {tokens} tokens", hint) from error
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        self._most_cells = (rows // 2) * tokens
        return self.run(feeds)

    def _forward(self, feeds: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        if self._device.type == "cpu":
            self._torch.set_num_threads(1)  # of the thread that calls: others compute other batches
        with self._torch.inference_mode():
            tensors = {name: self._torch.from_numpy(feed).to(self._device) for name, feed in feeds.items()}
            logits = self.network(**tensors).float().cpu().numpy()
        rows: NDArray[np.float32] = logits.reshape(logits.shape[0], -1)
        return rows

    def close(self) -> None:
        """Free the weights."""
        self.network = None
