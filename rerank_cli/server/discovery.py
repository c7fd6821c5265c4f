"""What clients ask for before they rank: which model there is, what it can do, and whether the server is up.

Each function answers as the servers do whose clients ask: OpenAI's and Cohere's APIs, Xinference, Text Embeddings
Inference, and Weaviate's container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.scorers.meta import scale_of
from rerank_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rerank_cli.scorers.base import ScorerInfo
    from rerank_cli.server.settings import ServeSettings


def model_card(name: str, info: ScorerInfo) -> dict[str, Any]:
    """One model, for clients of OpenAI (`id`), Cohere (`name`, `endpoints`) and Xinference (`model_type` and on)."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "rerank",
        "revision": info.revision,
        "backend": info.backend,
        "dtype": info.dtype,
        "score_scale": scale_of(info),
        "name": name,
        "endpoints": ["rerank"],
        "model_type": "rerank",
        "model_name": info.model,
        "model_ability": ["rerank"],
    }


def model_list(models: Mapping[str, ScorerInfo]) -> dict[str, Any]:
    """The models by each of their names, as OpenAI lists them (`data`) and as Cohere does (`models`)."""
    return {
        "object": "list",
        "data": [model_card(name, info) for name, info in models.items()],
        "models": [{"name": name, "endpoints": ["rerank"]} for name in models],
    }


def tei_info(info: ScorerInfo, settings: ServeSettings, window: int) -> dict[str, Any]:
    """TEI's `/info`. `window` is in tokens; a longer document is read in several, up to its own limit."""
    limits = settings.limits
    length = max(window, limits.max_tokens_per_doc) if limits.long_documents == "chunk" else window
    label = "LABEL_0"
    return {
        "model_id": info.model,
        "model_sha": info.revision,
        "model_dtype": info.dtype,
        "model_type": {"reranker": {"id2label": {"0": label}, "label2id": {label: 0}}},
        "max_concurrent_requests": settings.max_queue,
        "max_input_length": length,
        "max_batch_tokens": settings.max_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_documents,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


def weaviate_meta(info: ScorerInfo) -> dict[str, Any]:
    """What Weaviate shows of its container: the model's configuration."""
    return {"model": info.model, "revision": info.revision, "version": __version__}
