"""Step 3, train: lists → checkpoint. Resumable, seeded, a checkpoint every few minutes, a log of losses.

    python training/train.py --name teacher [--set lr=3e-5 …]   # runs/NAME/state.pt, runs/NAME/log.jsonl

NAME is free; where config.toml has a `[stages.NAME]`, its keys go before those of `[train]`. The stages `teacher` and
`distilled` are made for a GPU: on a CPU they run, in days.

The losses are listwise softmax, binary cross-entropy, KL to the teacher, and the difference that a question mark makes.
The teacher is the cosine of mining, plus the logit of another system where `teacher` names one: its weights are frozen
and read the same pairs. It knows nothing of sources, mining or metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import torch
import weights
from batches import Chunk, Step, prepared
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, softmax

if TYPE_CHECKING:
    from model import CrossEncoder

POSITIVE_WEIGHT = 2.0
LOG_EVERY = 20  # steps
LOSSES = ("ce", "bce", "kl", "twin")  # each with its weight in the configuration


def optimiser(model: CrossEncoder, config: dict[str, Any]) -> torch.optim.AdamW:
    """Encoder (matrices, vectors), head, and the scalars, which would hardly move at the encoder's rate."""
    scalars = [model.scale, model.bias, model.beta]
    head = list(model.mlp.parameters())
    encoder = [p for p in model.enc.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {"params": [p for p in encoder if p.dim() > 1], "lr": config["lr"], "weight_decay": config["weight_decay"]},
            {"params": [p for p in encoder if p.dim() == 1], "lr": config["lr"], "weight_decay": 0.0},
            {"params": head, "lr": config["lr_head"], "weight_decay": config["weight_decay"]},
            {"params": scalars, "lr": config["lr_scale"], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=model.scale.is_cuda,
    )


def padded(values: Tensor, sizes: list[int], fill: float) -> Tensor:
    """Values of pairs as one row per list: [lists, most documents]."""
    return nn.utils.rnn.pad_sequence(list(values.split(sizes)), batch_first=True, padding_value=fill)


class Trainer:
    """Weights, average, optimiser and position; everything a checkpoint holds."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config, self.folder = config["train"], folder
        torch.manual_seed(config["train"]["seed"])
        self.where = common.device(config)
        self.model = weights.untrained(self.config["encoder"], config).to(self.where)  # no dropout
        if self.config["first"] != "start":
            self.model.load_state_dict(weights.named(self.config["first"], config).state_dict())
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.ema = {n: p.detach().clone() for n, p in self.trained.items()}
        self.optimiser = optimiser(self.model, self.config)
        self.rates = [g["lr"] for g in self.optimiser.param_groups]
        self.bf16 = common.fast_bf16(self.where)
        self.teacher = weights.named(self.config["teacher"], config).to(self.where) if self.config["teacher"] else None
        if self.teacher and self.bf16:
            self.teacher.enc.bfloat16()  # frozen: half the memory traffic of autocast
        self.step, self.elapsed = 0, 0.0

    def progress(self) -> float:
        """Part of the schedule that is done, by steps or by time, whichever is further on."""
        return max(self.step / self.config["steps"], self.elapsed / 60 / self.config["minutes"])

    def rate(self) -> float:
        """Factor on every learning rate: warm-up, constant, linear to zero."""
        late = (1 - self.progress()) / (1 - self.config["decay_from"])
        return max(0.0, min(1.0, (self.step + 1) / self.config["warmup"], late))

    def inputs(self, chunk: Chunk) -> dict[str, Tensor]:
        """What the model reads, on the device."""
        ids, heads, lengths = (torch.from_numpy(x).to(self.where, non_blocking=True).long() for x in chunk)
        place = torch.arange(ids.shape[1], device=self.where)
        mask = (place < lengths[:, None]).long()
        return {"input_ids": ids, "token_type_ids": mask * (place >= heads[:, None]), "attention_mask": mask}

    def logits(self, model: Any, inputs: list[dict[str, Tensor]], order: Tensor) -> Tensor:
        """Logits of a step's pairs in their own order."""
        with torch.autocast(self.where.type, torch.bfloat16, enabled=self.bf16):
            scored = torch.cat([model(**chunk) for chunk in inputs])
        return torch.empty_like(scored).index_copy(0, order, scored)

    def taught(self, step: Step, inputs: list[dict[str, Tensor]], order: Tensor, twins: Tensor) -> Tensor:
        """The teacher's logits of the pairs; NaN where it is not to be followed.

        Where a query has a twin, the mean of both. The cosine alone knows nothing of traps and edited texts.
        """
        cosines = torch.from_numpy(step.cosines).to(self.where)
        if self.teacher is None:
            made = torch.from_numpy(step.made).to(self.where)
            return cosines.masked_fill(made, torch.nan) * self.config["cosine"]
        with torch.inference_mode():
            both = self.logits(self.teacher, inputs, order)
        first, again = both[: len(cosines)].clone(), both[len(cosines) :]
        first[twins] = (first[twins] + again) / 2
        return first + cosines.nan_to_num(0.0) * self.config["cosine"]

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Means over lists of each loss, and the share of lists whose relevant document is first."""
        inputs = [self.inputs(chunk) for chunk in step.chunks]
        order, twins = (torch.from_numpy(x).to(self.where) for x in (step.order, step.twins))
        scored = self.logits(self.model, inputs, order)
        taught = padded(self.taught(step, inputs, order, twins), step.sizes, torch.nan)
        first, again = scored[: len(step.cosines)], scored[len(step.cosines) :]
        rows = padded(first, step.sizes, -torch.inf)
        target = torch.zeros_like(first)
        starts = torch.tensor([0, *step.sizes[:-1]], device=self.where).cumsum(0)
        target[starts] = 1.0
        bce = binary_cross_entropy_with_logits(first, target, 1 + target * (POSITIVE_WEIGHT - 1), reduction="none")
        return {
            "ce": -log_softmax(rows, 1)[:, 0].mean(),
            "bce": (padded(bce, step.sizes, 0.0).sum(1) / torch.tensor(step.sizes, device=self.where)).mean(),
            "kl": divergence(rows, taught),
            "twin": (again - first[twins]).square().mean() if len(twins) else first.sum() * 0,
            "right": (rows.detach().argmax(1) == 0).float().mean(),
            "sure": (taught.nan_to_num(-torch.inf).argmax(1) == 0).float().mean(),
        }

    def one_step(self, step: Step) -> dict[str, Tensor]:
        """One optimiser step; the losses stay on the device."""
        losses = self.losses(step)
        torch.stack([self.config[name] * losses[name] for name in LOSSES]).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.trained.values(), self.config["clip"])
        factor = self.rate()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.step()
        self.model.beta.data.clamp_(max=self.config["beta_limit"])
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        return {name: value.detach() for name, value in losses.items()} | {"norm": norm}

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config["ema"], (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.ema.values()), list(self.trained.values()), 1 - decay)

    def save(self) -> None:
        """Write state.pt in one rename, so that a kill leaves the previous one."""
        state = {"model": self.model.state_dict(), "ema": self.ema, "optimiser": self.optimiser.state_dict()}
        state |= {"encoder": self.config["encoder"], "step": self.step, "elapsed": self.elapsed}
        torch.save(state, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def resume(self) -> None:
        """Go on from state.pt if there is one."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.where, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema = state["ema"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]

    def line(self, losses: dict[str, Tensor]) -> str:
        """One line of the log."""
        scalars = {n: float(getattr(self.model, n).detach()) for n in ("scale", "bias", "beta")}
        values = {"step": self.step, "minutes": self.elapsed / 60, "rate": self.rate()}
        values |= {name: float(value) for name, value in losses.items()} | scalars
        return json.dumps({name: round(value, 4) for name, value in values.items()}) + "\n"


def divergence(rows: Tensor, taught: Tensor) -> Tensor:
    """Mean over lists of KL(teacher, student) among the documents that the teacher judges; [lists, documents] each."""
    known = ~taught.isnan()
    counted = known.sum(1) > 1
    if not bool(counted.any()):
        return rows[:, 0].sum() * 0
    rows, taught, known = rows[counted], taught[counted], known[counted]
    student = log_softmax(rows.masked_fill(~known, -1e9), 1)
    teacher = taught.masked_fill(~known, -1e9)
    return (softmax(teacher, 1) * (log_softmax(teacher, 1) - student)).sum(1).sum() / len(counted)


def train(config: dict[str, Any], folder: Path) -> None:
    """Run the schedule to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)  # it compiles for every shape, and each step has others
    trainer = Trainer(config, folder)
    trainer.resume()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))  # finish the step, save, end
    saved = mark = time.monotonic()
    with (folder / "log.jsonl").open("a") as log:
        for step in prepared(config, trainer.step):
            losses = trainer.one_step(step)
            if trainer.step % LOG_EVERY == 0:
                log.write(trainer.line(losses))
                log.flush()
            trainer.elapsed += time.monotonic() - mark
            mark = time.monotonic()
            if trainer.progress() >= 1 or stopped:
                break
            if mark - saved > 60 * config["train"]["checkpoint_minutes"]:
                trainer.save()
                saved = time.monotonic()
    trainer.save()


if __name__ == "__main__":
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the workers are processes
    parser = argparse.ArgumentParser(description="Train the cross-encoder.")
    parser.add_argument("--name", default="student")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="override a key of [train], as JSON")
    arguments = parser.parse_args()
    configuration = common.settings(arguments.name)
    for item in arguments.set:
        key, _, value = item.partition("=")
        configuration["train"][key] = json.loads(value)
    train(configuration, Path(configuration["runs"]) / arguments.name)
