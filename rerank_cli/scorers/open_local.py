"""Opening a local model: which graph and which engine on this machine, and why.

It joins `models` (what the model is) with an engine (what runs it); it scores nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rerank_cli import cpu, models
from rerank_cli.errors import ModelError
from rerank_cli.scorers.base import Facts
from rerank_cli.scorers.encoding import Encoder
from rerank_cli.scorers.local import LocalScorer

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.models import LocalModel
    from rerank_cli.report import Report
    from rerank_cli.settings import ModelSettings


def open_local(settings: ModelSettings, report: Report) -> LocalScorer:
    """The scorer of a local model on the chosen backend. Raises ModelError with a hint."""
    from rerank_cli.scorers.onnx import OnnxEngine

    model = models.resolve(settings.model)
    form, graph, reason = choose_graph(model)
    engine = OnnxEngine(graph, settings.threads or cpu.available_threads())
    digest = hashlib.blake2b(f"{model.revision or _fingerprint(model, graph)}|{engine.version}|{form}".encode())
    facts = Facts(
        model=model.name,
        revision=model.revision,
        backend=engine.name,
        dtype=form,
        scale=model.scale,
        digest=digest.hexdigest()[:32],
        reason=reason,
        english_only=model.english_only,
    )
    return LocalScorer(model, Encoder(model.tokenizer), engine, facts, report)


def choose_graph(model: LocalModel) -> tuple[str, Path, str]:
    """Precision, file and reason: the per-token 8-bit form where it is exact, else the weight-only one, else fp32."""
    graphs = model.graphs
    if not graphs:
        raise ModelError(
            f"{model.folder} has no ONNX graph",
            "convert it: `rerank models convert`, or run it with the torch backend: pip install 'rerank-cli[torch]'",
        )
    if "per-token" in graphs and cpu.int8_dot():
        return "int8", graphs["per-token"], "8-bit products are exact on this CPU"
    if "weight-only" in graphs:
        return "int8-weights", graphs["weight-only"], "this CPU would saturate 8-bit products"
    form, graph = next(iter(graphs.items()))
    return form, graph, "the model's ONNX graph"


def _fingerprint(model: LocalModel, graph: Path) -> str:
    """SHA-256 over graph, external weights beside it and tokenizer: what decides the scores of a bare folder."""
    digest = hashlib.sha256()
    for path in (graph, *sorted(graph.parent.glob(graph.name + "*data*")), model.tokenizer):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
