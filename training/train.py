"""Step 3, train: lists → checkpoint. Resumable, seeded, a checkpoint every five minutes, a log of losses.

    python training/train.py --name joint [--set lr=3e-5 …]   # runs/NAME/state.pt, runs/NAME/log.jsonl

NAME is free; where config.toml has a `[stages.NAME]`, its keys go before those of `[train]`.

The losses are listwise softmax, binary cross-entropy, KL to the teacher, and the difference that a question mark makes.
The teacher is the cosine of mining, plus the logit of another system where `teacher` names one: its weights are frozen
and read the same batches. On a CPU each thread takes an equal share of a step's lists with a replica of the model that
shares its weights, so nothing waits at a barrier when another process takes a core; pairs of like length make a batch.
It knows nothing of sources, mining or metrics.
"""

from __future__ import annotations

import argparse
import copy
import heapq
import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import augment
import common
import torch
import weights
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, kl_div, log_softmax, softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model import CrossEncoder
    from tokenizers import Tokenizer

POSITIVE_WEIGHT = 2.0
QUERY_TOKENS = 64
LEAST = 4  # negatives of a list that is worth showing
PASSES = 6  # over all lists, more than any schedule needs
BATCH_TOKENS = 2560  # padded tokens of a forward pass on a CPU: the activations of one layer stay in the cache

LOSSES = ("ce", "bce", "kl", "twin")  # each with its weight in the configuration
Taught = list[float | None]  # a teacher's logits of a list; None where it is not to be trusted


def optimiser(model: CrossEncoder, config: dict[str, Any]) -> torch.optim.AdamW:
    """Three groups: encoder, head, and the scalars, which would hardly move at the encoder's rate."""
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
    )


class Trainer:
    """Weights, average, optimiser and position; everything a checkpoint holds."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config, self.folder = config["train"], folder
        torch.manual_seed(config["train"]["seed"])
        self.where = common.device(config)
        self.model = weights.untrained().to(self.where).train()
        if config["train"]["first"] != "start":
            self.model.load_state_dict(weights.named(config["train"]["first"], config).state_dict())
        self.ema = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimiser = optimiser(self.model, self.config)
        self.rates = [g["lr"] for g in self.optimiser.param_groups]
        self.threads = config["threads"] if self.where.type == "cpu" else 1
        self.replicas = [self._replica() for _ in range(self.threads)]
        self.teacher = weights.named(self.config["teacher"], config).to(self.where) if self.config["teacher"] else None
        self.bf16 = common.fast_bf16(self.where)
        self.step, self.elapsed = 0, 0.0
        self.tokens: Tokenizer = common.tokenizer()

    def _replica(self) -> CrossEncoder:
        replica = copy.deepcopy(self.model)
        for mine, shared in zip(replica.parameters(), self.model.parameters(), strict=True):
            mine.data = shared.data
        return replica

    def progress(self) -> float:
        """Part of the schedule that is done, by steps or by time, whichever is further on."""
        return max(self.step / self.config["steps"], self.elapsed / 60 / self.config["minutes"])

    def rate(self) -> float:
        """Factor on every learning rate: warm-up, constant, linear to zero."""
        late = (1 - self.progress()) / (1 - self.config["decay_from"])
        return max(0.0, min(1.0, (self.step + 1) / self.config["warmup"], late))

    def encoded(self, ranked: augment.Ranked) -> list[common.Pair]:
        """Token ids of a list; what is over-long loses its end (passages are already windows)."""
        head = self.tokens.encode(ranked.query, add_special_tokens=False).ids[:QUERY_TOKENS]
        room = self.config["max_tokens"] - 3 - len(head)
        bodies = self.tokens.encode_batch([d.text for d in ranked.documents], add_special_tokens=False)
        return [common.pair(head, body.ids[:room]) for body in bodies]

    def logits(self, model: CrossEncoder, pairs: Sequence[common.Pair]) -> Tensor:
        """Logits in the order of `pairs`, which are scored in batches of like length."""
        budget = BATCH_TOKENS if self.where.type == "cpu" else 10**9
        batches = list(common.batches([len(p.ids) for p in pairs], budget))
        with torch.autocast(self.where.type, torch.bfloat16, enabled=self.bf16):
            scored = torch.cat([model(**common.collate([pairs[i] for i in batch], self.where)) for batch in batches])
        order = torch.tensor([i for batch in batches for i in batch], device=self.where)
        return torch.empty_like(scored).index_copy(0, order, scored)

    def taught(self, lists: Sequence[augment.Ranked], pairs: Sequence[common.Pair]) -> list[Taught]:
        """The teacher's logits of each list, None for what no cosine is known of."""
        with torch.inference_mode():
            frozen = self.logits(self.teacher, pairs).tolist() if self.teacher else [0.0] * len(pairs)
        rest, factor = iter(frozen), self.config["cosine"]
        rows = [[(next(rest), d.cos) for d in ranked.documents] for ranked in lists]
        return [[None if cos is None else logit + factor * cos for logit, cos in row] for row in rows]

    def unit(self, model: CrossEncoder, lists: Sequence[augment.Ranked]) -> dict[str, float]:
        """Forward and backward of some lists; gradients stay in this replica. Returns the losses, summed over lists."""
        pairs = [p for ranked in lists for p in self.encoded(ranked)]
        twins = [p for ranked in lists if ranked.twin for p in self.encoded(ranked._replace(query=ranked.twin))]
        sizes = [len(r.documents) for r in lists]
        scored = self.logits(model, pairs + twins)
        rest, again = iter(scored[: len(pairs)].split(sizes)), scored[len(pairs) :]
        total, sums = torch.zeros((), device=self.where), dict.fromkeys((*LOSSES, "right", "sure"), 0.0)
        for ranked, row in zip(lists, self.taught(lists, pairs), strict=True):
            values = next(rest)
            losses = self.losses(values, row)
            if ranked.twin:
                losses["twin"] = (again[: len(values)] - values).square().mean()
                again = again[len(values) :]
            total = total + sum(self.config[name] * loss for name, loss in losses.items())
            for name, loss in losses.items():
                sums[name] += float(loss.detach())
            sums["right"] += float(values.detach().argmax() == 0)
            known = [logit for logit in row if logit is not None]
            sums["sure"] += float(row[0] is not None and row[0] == max(known))
        (total / self.config["lists"]).backward()
        return sums

    def losses(self, logits: Tensor, taught: Taught) -> dict[str, Tensor]:
        """Listwise softmax, binary cross-entropy (levels comparable between queries), KL where a teacher knows."""
        target = torch.zeros_like(logits)
        target[0] = 1.0
        weight = 1 + target * (POSITIVE_WEIGHT - 1)
        kept = [i for i, logit in enumerate(taught) if logit is not None]
        teacher = logits.new_tensor([taught[i] for i in kept])
        student = log_softmax(logits[kept], 0) if len(kept) > 1 else logits[:1] * 0
        kl = kl_div(student, softmax(teacher, 0), reduction="sum") if len(kept) > 1 else student.sum()
        return {
            "ce": -log_softmax(logits, 0)[0],
            "bce": binary_cross_entropy_with_logits(logits, target, weight),
            "kl": kl,
        }

    def one_step(self, lists: list[augment.Ranked]) -> dict[str, float]:
        """One optimiser step over `lists`, in a share of equal length per thread."""
        free = list(self.replicas)

        def work(share: list[augment.Ranked]) -> dict[str, float]:
            torch.set_num_threads(1)  # of this thread: the others have the other cores
            return self.unit(free.pop(), share)

        with ThreadPoolExecutor(self.threads) as pool:
            done = list(pool.map(work, shares(lists, self.threads)))
        self._collect()
        norm = nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], self.config["clip"])
        factor = self.rate()
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.step()
        self.model.beta.data.clamp_(max=self.config["beta_limit"])
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.step += 1
        return {k: sum(d[k] for d in done) / len(lists) for k in done[0]} | {"norm": float(norm), "rate": factor}

    def _collect(self) -> None:
        """Sum the replicas' gradients into the model's."""
        for replica in self.replicas:
            for mine, shared in zip(replica.parameters(), self.model.parameters(), strict=True):
                if mine.grad is not None:
                    shared.grad = mine.grad if shared.grad is None else shared.grad.add_(mine.grad)
                    mine.grad = None

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config["ema"], (self.step + 1) / (self.step + 10))
        names = dict(self.model.named_parameters())
        for name, mean in self.ema.items():
            mean.lerp_(names[name].detach(), 1 - decay)

    def save(self) -> None:
        """Write state.pt in one rename, so that a kill leaves the previous one."""
        state = {"model": self.model.state_dict(), "ema": self.ema, "optimiser": self.optimiser.state_dict()}
        torch.save(state | {"step": self.step, "elapsed": self.elapsed}, self.folder / "state.tmp")
        (self.folder / "state.tmp").replace(self.folder / "state.pt")

    def snapshot(self) -> None:
        """Keep the average of this moment as a run of its own, NAME-NUMBER, for averaging in systems.py."""
        number = int(self.elapsed / 60 // self.config["snapshot_minutes"])
        path = self.folder.with_name(f"{self.folder.name}-{number}") / "state.pt"
        if number and not path.exists():
            path.parent.mkdir(exist_ok=True)
            torch.save({"model": self.model.state_dict() | self.ema, "ema": {}, "step": self.step}, path)

    def resume(self) -> None:
        """Go on from state.pt if there is one."""
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.where, weights_only=True)
        for name, value in state["model"].items():
            self.model.state_dict()[name].copy_(value)  # in place: the replicas share this storage
        self.ema = state["ema"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.elapsed = state["step"], state["elapsed"]


def shares(lists: Sequence[augment.Ranked], count: int) -> list[list[augment.Ranked]]:
    """The lists in `count` parts of about equal length."""
    parts: list[tuple[int, int, list[augment.Ranked]]] = [(0, number, []) for number in range(count)]
    for ranked in sorted(lists, key=lambda r: -sum(len(d.text) for d in r.documents)):
        size, number, part = heapq.heappop(parts)
        size += sum(len(d.text) for d in ranked.documents)
        heapq.heappush(parts, (size, number, [*part, ranked]))
    return [part for _, _, part in parts if part]


def training_lists(config: dict[str, Any]) -> list[dict[str, Any]]:
    """All mined lists in one seeded order, passes appended."""
    folder = Path(config["runs"]) / "lists"
    rng, order = random.Random(config["train"]["seed"]), []
    sources = [*config["sources"], *(f"{s}+" for s in config["more"] if config["train"]["more"])]
    lists = [r for s in sources for r in common.read(folder / f"{s}.jsonl") if len(r["negatives"]) >= LEAST]
    while len(order) < PASSES * len(lists):
        rng.shuffle(lists)
        order += lists
    return order


def built(records: list[dict[str, Any]], first: int, last: int, config: dict[str, Any]) -> list[augment.Ranked]:
    """The lists as they are shown at positions first to last of the training order."""
    return [augment.build(records[i], f"{config['train']['seed']} {i}", config["train"]) for i in range(first, last)]


def train(config: dict[str, Any], folder: Path) -> None:
    """Run the schedule to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer, order, size = Trainer(config, folder), training_lists(config), config["train"]["lists"]
    trainer.resume()
    saved, mark = time.monotonic(), time.monotonic()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))  # finish the step, save, end
    with (folder / "log.jsonl").open("a") as log:
        while trainer.progress() < 1 and not stopped:
            at = trainer.step * size
            lists = built(order, at, at + size, config)
            losses = trainer.one_step(lists)
            trainer.elapsed += time.monotonic() - mark
            mark = time.monotonic()
            scalars = {n: float(getattr(trainer.model, n).detach()) for n in ("scale", "bias", "beta")}
            line = {"step": trainer.step, "minutes": round(trainer.elapsed / 60, 2)} | losses | scalars
            log.write(json.dumps({k: round(v, 4) for k, v in line.items()}) + "\n")
            log.flush()
            if mark - saved > 60 * config["train"]["checkpoint_minutes"]:
                trainer.save()
                trainer.snapshot()
                saved = time.monotonic()
    trainer.save()
    trainer.snapshot()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the cross-encoder.")
    parser.add_argument("--name", default="one")
    parser.add_argument("--sources", nargs="*", help="only these: a first phase can start while the others are mined")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="override a key of [train], as JSON")
    arguments = parser.parse_args()
    configuration = common.settings(arguments.name)
    if arguments.sources:
        configuration["sources"] = {s: configuration["sources"][s] for s in arguments.sources}
    for item in arguments.set:
        key, _, value = item.partition("=")
        configuration["train"][key] = json.loads(value)
    train(configuration, Path(configuration["runs"]) / arguments.name)
