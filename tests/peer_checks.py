"""Run inside the environment of another package: `python peer_checks.py PACKAGE FOLDER`. Prints what it did as JSON.

FOLDER holds one cross-encoder: the files of its tokenizer, model.onnx in fp32 and model_int8.onnx.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

QUERY = "green tea with milk"
TEXTS = ["tea", "a cup of green tea", "the red car is parked near the house of the old man and his dog"]
FILLER = "car " * 600
LONG = [FILLER + "green tea with milk", FILLER + "the old dog"]


def flashrank(folder: Path, graph: str):
    """A scorer of a list of texts. FlashRank opens the models of its list only, so ours takes the place of one."""
    from flashrank import Ranker, RerankRequest

    home = folder / f"flashrank-{graph}"
    place = home / "ms-marco-MiniLM-L-12-v2"
    place.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(folder / name, place)
    shutil.copy(folder / graph, place / "flashrank-MiniLM-L-12-v2_Q.onnx")
    ranker = Ranker(place.name, cache_dir=str(home))

    def score(texts):
        request = RerankRequest(QUERY, [{"id": number, "text": text} for number, text in enumerate(texts)])
        return [float(hit["score"]) for hit in sorted(ranker.rerank(request), key=lambda hit: hit["id"])]

    return score


def fastembed(folder: Path, graph: str):
    """A scorer of a list of texts."""
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    TextCrossEncoder.add_custom_model(model=f"a/{graph}", sources=ModelSource(hf="a/b"), model_file=graph)
    ranker = TextCrossEncoder(f"a/{graph}", specific_model_path=str(folder))
    return lambda texts: [float(score) for score in ranker.rerank(QUERY, texts)]


def facts(score) -> dict[str, bool]:
    """Whether scores depend on the other texts of a call, and whether the end of a long text counts."""
    together = score(TEXTS)
    first, second = score(LONG[:1]), score(LONG[1:])
    return {"invariant": [score([text])[0] for text in TEXTS] == together, "truncates": first == second}


if __name__ == "__main__":
    opened = {"flashrank": flashrank, "fastembed": fastembed}[sys.argv[1]]
    where = Path(sys.argv[2])
    print(json.dumps({graph: facts(opened(where, graph)) for graph in ("model.onnx", "model_int8.onnx")}))
