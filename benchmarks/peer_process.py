"""One reranker in a process of its own, for peers.py: it loads a model once, then scores on each line of stdin.

    python -P peer_process.py NAME MODEL_FOLDER PAIRS.json THREADS [SETTINGS]

PAIRS.json is [query, [document, …]], SETTINGS a JSON object for the function NAME. Stdout has one JSON value per line:
`true` after the first ten documents, seconds for each line "score", and {"logits", "peak_mb"} for "end". Runs in
environments without this project, so it imports the standard library and the one library that it measures. Libraries
run with their own defaults except for the number of threads.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Score = Callable[[str, list[str]], list[float]]  # query, documents: logits in the same order


def ours(folder: Path, threads: int, **settings: Any) -> Score:
    """This project, in the environment that runs the benchmark."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks import backends

    score = backends.ours(folder, threads, **settings)
    return lambda _query, texts: score(texts)  # the pairs of peers.py have the same query


def limit_sessions(threads: int) -> None:
    """Give every ONNX session that many threads: some libraries have no setting and take all cores."""
    import onnxruntime

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: str, sess_options: Any = None, **others: Any) -> None:
            options = sess_options or onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            super().__init__(path, options, **others)

    onnxruntime.InferenceSession = Session


def flashrank(folder: Path, threads: int, file: str) -> Score:
    """FlashRank, which has fixed names for files; its scores are probabilities."""
    limit_sessions(threads)
    from flashrank import Ranker, RerankRequest
    from flashrank.Config import model_file_map

    name = "ms-marco-MiniLM-L-12-v2"
    model_file_map[name] = file
    ranker = Ranker(name, cache_dir=_linked(folder, name))

    def score(query: str, texts: list[str]) -> list[float]:
        passages = [{"id": number, "text": text} for number, text in enumerate(texts)]
        found = sorted(ranker.rerank(RerankRequest(query, passages)), key=lambda passage: passage["id"])
        return [math.log(p / (1 - p)) for p in (float(passage["score"]) for passage in found)]

    return score


def _linked(folder: Path, name: str) -> str:
    """A folder that has the model under another name."""
    place = Path(tempfile.mkdtemp(dir=folder))
    (place / name).symlink_to(folder, target_is_directory=True)
    return str(place)


def fastembed(folder: Path, threads: int) -> Score:
    """fastembed, with a known name and the files of the folder (onnx/model.onnx)."""
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    model = TextCrossEncoder("Xenova/ms-marco-MiniLM-L-6-v2", threads=threads, specific_model_path=str(folder))
    return lambda query, texts: [float(value) for value in model.rerank(query, texts)]


def rerankers(folder: Path, _threads: int) -> Score:
    """AnswerDotAI's rerankers; the threads of torch come from the environment."""
    from rerankers import Reranker

    ranker = Reranker(str(folder), model_type="cross-encoder", device="cpu", verbose=0)

    def score(query: str, texts: list[str]) -> list[float]:
        found = sorted(ranker.rank(query, texts, doc_ids=list(range(len(texts)))), key=lambda result: result.doc_id)
        return [float(result.score) for result in found]

    return score


def sentence_transformers(folder: Path, threads: int, backend: str = "torch", **model: Any) -> Score:
    """sentence-transformers' CrossEncoder with one of its backends."""
    if backend == "onnx":
        limit_sessions(threads)
    if backend == "openvino":
        model["ov_config"]["INFERENCE_NUM_THREADS"] = threads
    import torch
    from sentence_transformers import CrossEncoder

    encoder = CrossEncoder(str(folder), backend=backend, device="cpu", local_files_only=True, model_kwargs=model)

    def score(query: str, texts: list[str]) -> list[float]:
        pairs = [(query, text) for text in texts]
        return [float(v) for v in encoder.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)]

    return score


def infinity(folder: Path, threads: int, **settings: Any) -> Score:
    """Infinity's engine without its HTTP server."""
    limit_sessions(threads)
    import asyncio

    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    os.chdir(folder)  # with optimum 2 it finds a graph in the current folder only
    if Path("onnx").exists():
        Path("onnx/model.onnx").rename("model.onnx")
        shutil.rmtree("onnx")
    arguments = EngineArgs(model_name_or_path=".", device="cpu", model_warmup=False, **settings)
    engine, loop = AsyncEmbeddingEngine.from_args(arguments), asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())

    def score(query: str, texts: list[str]) -> list[float]:
        found, _ = loop.run_until_complete(engine.rerank(query=query, docs=texts, raw_scores=True))
        return [float(hit.relevance_score) for hit in sorted(found, key=lambda hit: hit.index)]

    return score


def export_onnx(folder: Path, _threads: int, arch: str) -> None:
    """Add onnx/model.onnx and onnx/model_int8.onnx, as sentence-transformers and optimum export them."""
    from sentence_transformers import CrossEncoder, export_dynamic_quantized_onnx_model

    model = CrossEncoder(str(folder), backend="onnx", device="cpu", model_kwargs={"export": True})
    with tempfile.TemporaryDirectory() as made:
        model.save_pretrained(made)
        export_dynamic_quantized_onnx_model(model, arch, made)
        Path(made, f"onnx/model_qint8_{arch}.onnx").rename(Path(made, "onnx/model_int8.onnx"))
        shutil.copytree(Path(made, "onnx"), folder / "onnx")
        shutil.copy(Path(made, "special_tokens_map.json"), folder)  # FlashRank reads it


def export_openvino(folder: Path, _threads: int) -> None:
    """Add openvino/openvino_model.xml, as sentence-transformers and optimum export it."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), backend="openvino", device="cpu", model_kwargs={"export": True})
    with tempfile.TemporaryDirectory() as made:
        model.save_pretrained(made)
        shutil.copytree(Path(made, "openvino"), folder / "openvino")


def peak_mb() -> float:
    """Most memory that this process has had, in MB (10⁶ bytes); getrusage would count the parent's."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def main() -> None:
    """Load, then answer lines."""
    name, folder, path, threads, *settings = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # some libraries print
    opened = globals()[name](Path(folder), int(threads), **json.loads(settings[0] if settings else "{}"))
    if opened is None:
        return
    query, texts = json.loads(Path(path).read_text("utf-8"))
    opened(query, texts[:10])
    print("true", file=answers)
    logits: list[float] = []
    for line in sys.stdin:
        if line.strip() == "end":
            break
        start = time.perf_counter()
        logits = opened(query, texts)
        print(json.dumps(time.perf_counter() - start), file=answers)
    print(json.dumps({"logits": logits, "peak_mb": peak_mb()}), file=answers)
    answers.flush()
    os._exit(0)  # engines with threads of their own would wait


if __name__ == "__main__":
    main()
