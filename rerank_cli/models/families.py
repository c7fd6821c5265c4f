"""Which family a model folder is, what its output means, and why a folder is not a reranker.

It reads settings that are loaded already, and no file; the families are those of docs/models.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ModelError
from rerank_cli.models import heads
from rerank_cli.models.known import OTHERS
from rerank_cli.models.modules import output_labels
from rerank_cli.records import LOG_ODDS

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.models.facts import Family, Module
    from rerank_cli.models.modules import Steps

SCALED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
TASKS: dict[str, Family] = {"sequence-classification": "classification", "text-generation": "decoder",
                            "feature-extraction": "modules"}  # fmt: skip


def family_of(config: dict[str, Any], steps: Steps | None, folder: Path) -> Family:
    """Which family a folder is: the modules decide, else the architecture."""
    if steps is not None:
        kinds = [module.kind for module in steps.modules]
        if steps.task not in TASKS:
            raise ModelError(f"{folder} is made for the task `{steps.task}`, which is not reranking", OTHERS)
        family = TASKS[steps.task]
        if family == "decoder" and kinds != ["LogitScore"]:
            what = f"{folder} is a decoder followed by {kinds or 'nothing'}; only LogitScore is supported"
            raise ModelError(what, OTHERS)
        if family == "classification" and kinds:
            raise ModelError(f"{folder} is a classifier followed by {kinds}, which is not supported", OTHERS)
    else:
        architectures = [str(name) for name in config.get("architectures") or []]
        family = "classification"
        if any(name.endswith("ForCausalLM") for name in architectures):
            family = "decoder"
        elif not any("SequenceClassification" in name for name in architectures):
            raise ModelError(
                f"{folder} is not a reranker: its architecture is {', '.join(architectures) or 'not named'}, "
                "and its scoring head would be randomly initialised",
                "a cross-encoder has a sequence classification head; an embedding model has none",
            )
    scaled = [name for name in SCALED_LOGITS if config.get(name) not in (None, 1, 1.0)]
    if family == "decoder" and scaled:
        raise ModelError(f"{folder} changes its logits by `{scaled[0]}`, which is not supported", OTHERS)
    return family


def labels_of(family: Family, config: dict[str, Any], steps: Steps | None, folder: Path) -> tuple[int, int]:
    """Number of logits, and which of two is the relevant one."""
    if family == "decoder":
        return 1, 0
    if family == "classification":
        return heads.head(config, folder)
    labels = output_labels(steps.modules if steps else (), folder)
    return heads.head({"num_labels": labels}, folder)


def scale_of(family: Family, config: dict[str, Any], steps: Steps | None, saved: dict[str, Any], folder: Path) -> str:
    """The scale of a score; a decoder without a `no` token gives the logit of `yes`."""
    modules: tuple[Module, ...] = steps.modules if steps else ()
    if family == "decoder":
        bare = any(module.config.get("false_token_id") is None for module in modules)
        return "logit of the yes token" if bare else LOG_ODDS
    last = modules[-1].config.get("activation", "Identity") if modules else "Identity"
    if last != "Identity":
        return f"output of {last}"
    return heads.scale_of(config, saved, folder)
