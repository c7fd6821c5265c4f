"""Step 3, teach: what an ensemble of systems thinks of every list that training will show, in its order.

    python training/teach.py --name one           # runs/one/teacher.jsonl: one line of logits a list

A list is rebuilt from its position and the seed (augment.py), so what is scored here is what train.py will show.
The bi-encoder's part is the cosine of mining; the other systems and their weights are `[teachers]` of config.toml.
Resumable: lines that are there are kept.
It knows nothing of losses.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import common
import systems
from train import built, training_lists

if TYPE_CHECKING:
    from augment import Ranked

MINED = 15.0  # factor of the bi-encoder's cosine at mining: best on the development sets beside each of our models
CHUNK = 256  # lists scored together: enough to fill batches of equal length


def thoughts(lists: list[Ranked], config: dict[str, Any], teachers: dict[str, systems.Scoring]) -> list[Any]:
    """The weighted sum of the teachers' logits for each document of each list, null for what no cosine is known of."""
    records = [{"query": r.query, "documents": [d.text for d in r.documents]} for r in lists]
    sums = [[MINED * (d.cos or 0.0) for d in r.documents] for r in lists]
    for name, scores in teachers.items():
        weight = config["teachers"][name]
        for row, found in zip(sums, scores(records), strict=True):
            row[:] = [s + weight * f for s, f in zip(row, found, strict=True)]
    known = [[d.cos is not None for d in r.documents] for r in lists]
    return [[round(x, 3) if k else None for x, k in zip(*both, strict=True)] for both in zip(sums, known, strict=True)]


def main() -> None:
    """Append to the run's teacher.jsonl until every list of the schedule has its line."""
    parser = argparse.ArgumentParser(description="Score the lists of a run with the teachers.")
    parser.add_argument("--name", default="one")
    parser.add_argument("--lists", type=int, default=0, help="only the first N lists of the schedule")
    arguments = parser.parse_args()
    config = common.settings(arguments.name)
    path = Path(config["runs"]) / arguments.name / "teacher.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    teachers = {name: systems.scoring(name, config) for name in config["teachers"]}
    done = len(path.read_text().splitlines()) if path.exists() else 0
    order = training_lists(config)
    total = arguments.lists or config["train"]["steps"] * config["train"]["lists"]
    with path.open("a") as out:
        for first in range(done, total, CHUNK):
            found = thoughts(built(order, first, min(first + CHUNK, total), config), config, teachers)
            out.writelines(json.dumps(row) + "\n" for row in found)
            out.flush()
            print(f"{first + len(found)} of {total} lists", flush=True)


if __name__ == "__main__":
    main()
