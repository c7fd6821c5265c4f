"""Two hundred pairs on which a converted model must agree with its original: many lengths, scripts and oddities.

The texts consist of a few sentences; only their lengths and scripts matter.
"""

from __future__ import annotations

import json
from pathlib import Path

from rerank_cli.records import Pair

DATA = json.loads(Path(__file__).with_name("pairs.json").read_bytes())
SIZES = (1, 1, 1, 2, 2, 3, 5, 8, 13, 40)  # sentences per document; the last is longer than many models' window


def check_pairs() -> list[Pair]:
    """Two hundred pairs, always the same."""
    queries, sentences, pairs = DATA["queries"], DATA["sentences"], []
    for number in range(200):
        count = SIZES[number % len(SIZES)]
        start = number * 7
        text = " ".join(sentences[(start + step) % len(sentences)] for step in range(count))
        pairs.append(Pair(queries[number // 20], text))
    return pairs
