"""Models that encode query and document apart: late interaction, and embedding models where they are asked for.

Late interaction is recognised by its configuration (`models.late_interaction`); an embedding model is one only with
`--as embedding`. It reads settings, runs nothing, and does not know the tokenizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.errors import ModelError
from rerank_cli.models import late_interaction
from rerank_cli.models.facts import Encodings, Module, TextEncoding

if TYPE_CHECKING:
    from rerank_cli.models.facts import Family
    from rerank_cli.models.late_interaction import Settings

SIMILARITIES = {"cosine": "cosine", "dot": "dot", "dot_product": "dot"}


class Encoded(NamedTuple):
    """The facts of a model that encodes query and document apart; `modules` are those that give its vectors."""

    family: Family
    encodings: Encodings
    modules: tuple[Module, ...]


def read_encoded(settings: Settings) -> Encoded | None:
    """The facts of a late-interaction model, or of an embedding model if it was asked for; None for any other.

    Raises ModelError for a setting that is not supported, and for a model that is not of the kind that was asked for.
    """
    late = late_interaction.read(settings)
    if settings.policy.load_as != "embedding":
        return Encoded("late-interaction", *late) if late else None
    if late:
        raise ModelError(f"{settings.folder} is a late-interaction model, not an embedding model", "leave `--as` out")
    return _embedding(settings)


def _embedding(settings: Settings) -> Encoded:
    """An embedding model: a transformer with a pooling, or a bare one, whose token vectors are averaged."""
    folder, steps = settings.folder, settings.steps
    names = [str(name) for name in settings.config.get("architectures") or []]
    if steps is None and not (names and all(name.endswith(("Model", "ForMaskedLM")) for name in names)):
        what = ", ".join(names) or "not named"
        raise ModelError(f"{folder} is not an embedding model: its architecture is {what}", "leave `--as` out")
    modules = steps.modules if steps else (Module("Pooling", {"modes": ["mean"]}),)
    outputs = {str(module.config.get("module_output_name")) for module in modules}
    if (steps and steps.task != "feature-extraction") or "scores" in outputs:
        raise ModelError(f"{folder} is a reranker, not an embedding model", "leave `--as` out")
    if not any(module.kind == "Pooling" for module in modules):
        raise ModelError(f"{folder} has no Pooling module: nothing in it gives a vector for a text")
    asked = str(settings.saved.get("similarity_fn_name") or "cosine")
    if asked not in SIMILARITIES:
        raise ModelError(f"{folder} compares vectors by `{asked}`, which is not supported", "supported: cosine and dot")
    query, document = (TextEncoding(settings.longest, prompt) for prompt in settings.prompts)
    similarity = SIMILARITIES[asked]
    return Encoded("embedding", Encodings(query, document, similarity, similarity == "cosine"), modules)
