"""Step 3, its first half: what one training step reads, as arrays of token ids, made in worker processes.

The order of lists is seeded: each source comes up in proportion to its share (config.toml), its lists take turns in a
new random order each time. A step's pairs are cut into chunks of like length, so that little is padded.
It knows nothing of models, losses or devices.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import augment
import common
import numpy as np
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUERY_TOKENS = 64
LEAST = 4  # negatives of a list that is worth showing
CHUNK_TOKENS = {"cpu": 2560, "cuda": 36864}  # padded tokens of a forward pass; on a CPU what its cache holds


class Chunk(NamedTuple):
    """Pairs of like length: int16 token ids [pairs, tokens], and how many of each are of the query, and in all."""

    ids: np.ndarray
    heads: np.ndarray
    lengths: np.ndarray


class Step(NamedTuple):
    """The pairs of some lists, and then the same pairs again for queries that have a twin.

    `order` is the place of each pair of the chunks. `cosines` is NaN, and `made` true, as augment.py says. `twins`
    holds the places of the pairs that the last pairs are twins of.
    """

    chunks: list[Chunk]
    order: np.ndarray
    sizes: list[int]
    cosines: np.ndarray
    made: np.ndarray
    twins: np.ndarray


def pairs_of(query: str, documents: Sequence[augment.Shown], most: int, tokens: Any) -> list[common.Pair]:
    """Token ids of a list; what is over-long loses its end (passages are already windows)."""
    head = tokens.encode(query, add_special_tokens=False).ids[:QUERY_TOKENS]
    bodies = tokens.encode_batch([d.text for d in documents], add_special_tokens=False)
    return [common.pair(head, body.ids[: most - 3 - len(head)]) for body in bodies]


def chunk(pairs: Sequence[common.Pair]) -> Chunk:
    """One padded array; its width is a multiple of eight, as fused attention wants it."""
    width = -(-max(len(p.ids) for p in pairs) // 8) * 8
    ids = np.zeros((len(pairs), width), np.int16)
    for row, pair in zip(ids, pairs, strict=True):
        row[: len(pair.ids)] = pair.ids
    heads = np.array([len(p.types) - sum(p.types) for p in pairs], np.int16)
    return Chunk(ids, heads, np.array([len(p.ids) for p in pairs], np.int16))


class Steps(Dataset[Step]):
    """Step number → what it reads; the same number gives the same step."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config["train"]
        self.lists = training_lists(config)
        self.order = shown_order(self.lists, config)
        self.tokens = common.tokenizer()
        self.budget = CHUNK_TOKENS[common.device(config).type]

    def __getitem__(self, step: int) -> Step:
        size = self.config["lists"]
        shown = [self.built(i) for i in range(step * size, (step + 1) * size)]
        flat, cosines, made, twins, again = [], [], [], [], []
        for ranked in shown:
            place = len(flat)
            flat += pairs_of(ranked.query, ranked.documents, self.config["max_tokens"], self.tokens)
            cosines += [np.nan if d.cos is None else d.cos for d in ranked.documents]
            made += [d.kind in augment.MADE for d in ranked.documents]
            if ranked.twin:
                again += pairs_of(ranked.twin, ranked.documents, self.config["max_tokens"], self.tokens)
                twins += range(place, len(flat))
        flat += again
        rows = list(common.batches([-(-len(p.ids) // 8) * 8 for p in flat], self.budget))
        return Step(
            [chunk([flat[i] for i in row]) for row in rows],
            np.array([i for row in rows for i in row]),
            [len(r.documents) for r in shown],
            np.array(cosines, np.float32),
            np.array(made),
            np.array(twins, np.int64),
        )

    def built(self, position: int) -> augment.Ranked:
        """The list at a position of the order, as it is shown there."""
        source, number = self.order[position]
        return augment.build(self.lists[source][number], f"{self.config['seed']} {position}", self.config)


def training_lists(config: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The mined lists of each source."""
    folder = Path(config["runs"]) / "lists"
    found = {source: common.read(folder / f"{source}.jsonl") for source in config["sources"]}
    return {source: [r for r in records if len(r["negatives"]) >= LEAST] for source, records in found.items()}


def shown_order(lists: dict[str, list[dict[str, Any]]], config: dict[str, Any]) -> list[tuple[str, int]]:
    """(source, number of its list) of every position of the schedule."""
    rng, total = random.Random(config["train"]["seed"]), config["train"]["steps"] * config["train"]["lists"]
    shares = [config["sources"][s] + config["more"].get(s, 0) for s in lists]
    turns = {source: taking_turns(len(records), rng) for source, records in lists.items()}
    return [(source, next(turns[source])) for source in rng.choices(list(lists), shares, k=total)]


def taking_turns(count: int, rng: random.Random) -> Iterator[int]:
    """Each number below `count` once per round, in an order of its own each round."""
    while True:
        yield from rng.sample(range(count), count)


def prepared(config: dict[str, Any], first: int) -> Iterator[Step]:
    """The steps from number `first` to the end of the schedule, prepared ahead."""
    workers, end = config["train"]["workers"], config["train"]["steps"]
    ahead = {"prefetch_factor": 8} if workers else {}
    loader = DataLoader(
        Steps(config), batch_size=None, sampler=range(first, end), num_workers=workers, collate_fn=lambda x: x, **ahead
    )
    return iter(loader)
