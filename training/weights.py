"""What a system name stands for as a torch module: runs, averages of runs, mixtures with the start, folders, graphs.

`start` (the untrained student), a checkpoint folder, an ONNX file, or RUN[:last] for the averaged (or last) weights of
runs/RUN/state.pt; `A+B` averages runs, `5*A+2*B` with weights; then `@A` mixes the encoder with the untrained one at A.
It knows nothing of windows, data or scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import common
import model as architecture
import torch
from encoders import folder_of
from transformers import AutoConfig, AutoModel


def untrained(encoder: str, config: dict[str, Any]) -> architecture.CrossEncoder:
    """A bi-encoder's encoder (`minilm`, `mpnet`) under the new head: it ranks before any training."""
    folder = folder_of(encoder, config)
    form = AutoConfig.from_pretrained(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = architecture.CrossEncoder(form)
    if common.device(config).type == "cpu" and encoder == "minilm":
        model.enc.set_attn_implementation("eager")  # twice as fast as the fused kernels on a CPU at these lengths
    model.enc.load_state_dict(
        AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).state_dict()
    )
    model.enc.embeddings.word_embeddings.weight.requires_grad_(False)  # rare words keep their places
    return model


class Graph:
    """An ONNX graph (export.py --form fp32) where a module is expected: float32 to the operation, at full speed."""

    def __init__(self, path: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the scorer's threads take a batch each
        self.session = onnxruntime.InferenceSession(path, options)

    def to(self, _where: torch.device) -> Graph:
        """It stays where it is."""
        return self

    def eval(self) -> Graph:
        """It has no other mode."""
        return self

    def __call__(self, **batch: torch.Tensor) -> torch.Tensor:
        """Logits [batch]."""
        feed = {name: values.numpy() for name, values in batch.items()}
        return torch.from_numpy(self.session.run(None, feed)[0][:, 0])


def named(name: str, config: dict[str, Any]) -> architecture.CrossEncoder | Graph:
    """The module a system name (without its window) stands for; `A+B` is the mean of two runs' weights."""
    if name.endswith(".onnx"):
        return Graph(name)
    if (Path(name) / "model.safetensors").exists():
        return architecture.load(Path(name))  # perhaps the first checkpoint, of another form
    name, _, share = name.partition("@")
    if name == "start":
        return untrained("minilm", config).eval()
    parts = [part.rpartition("*") for part in name.split("+")]
    counts = [int(count or 1) for count, _, _ in parts]
    encoders, states = zip(*(_state(run, config) for _, _, run in parts), strict=True)
    model = untrained(encoders[0], config)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(
        {k: sum(n * s[k] for n, s in zip(counts, states, strict=True)) / sum(counts) for k in states[0]}
    )
    model.beta.data.clamp_(max=config["train"]["beta_limit"])
    if share:
        mix(model, first, float(share))
    return model.eval()


def _state(name: str, config: dict[str, Any]) -> tuple[str, dict[str, torch.Tensor]]:
    """The encoder's name and the weights of one run."""
    run, _, form = name.partition(":")
    found = torch.load(Path(config["runs"]) / run / "state.pt", map_location="cpu", weights_only=True)
    state = found["model"] | ({} if form == "last" else found["ema"])
    return found.get("encoder", "minilm"), {name: value.float() for name, value in state.items()}


def mix(model: architecture.CrossEncoder, first: dict[str, torch.Tensor], share: float) -> None:
    """Move the encoder back towards the untrained one: the start ranks, so this guards what training has not seen."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.startswith("enc.") and value.is_floating_point():
                value.copy_(share * value + (1 - share) * first[name])
