"""Sequence-to-sequence rerankers (monoT5, RankT5, mT5): which one a model is, its prompt, and the tokens of its answer.

A repository of this kind holds neither prompt nor answer tokens: both are facts of its training, kept here as data and
found by the model's name. It opens no file and knows nothing of tokenizers; `Recipe.answers` are texts of tokens.

Sources: pygaggle (`rerank/transformer.py`, `model/tokenize.py`), InPars, rerankers 0.10 (`models/t5ranker.py`),
pyterrier_t5, the model cards of unicamp-dl/monoptt5-*, and for RankT5 Lightning IR's tests.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.errors import ModelError
from rerank_cli.models.facts import Chat
from rerank_cli.models.templates import DOCUMENT, QUERY
from rerank_cli.records import LOG_ODDS

if TYPE_CHECKING:
    from pathlib import Path

    from rerank_cli.models.facts import LocalModel

Answer = tuple[str, str | None]  # the token of a relevant document, and the other one; None: the bare logit counts
TYPES = ("t5", "mt5", "umt5")
ENDINGS = ("ForConditionalGeneration", "WithLMHeadModel")
END = "</s>"  # T5's tokenizers add it to every input
MONO = "Query: {query} Document: {document} Relevant:"


class Recipe(NamedTuple):
    """How one family was trained: its prompt, and its answers in order of preference."""

    name: str
    pattern: str  # of the last part of the model's name, in lower case
    prompt: str
    answers: tuple[Answer, ...]

    @property
    def chat(self) -> Chat:
        """The prompt with placeholders, as a rendered template."""
        return Chat("plain", self.prompt.format(query=QUERY, document=DOCUMENT) + END)

    @property
    def scale(self) -> str:
        """The scale of a score: log-odds of two tokens, or the bare logit of one."""
        token, other = self.answers[0]
        return LOG_ODDS if other is not None else f"logit of the token {token}"


RECIPES = (
    Recipe("monoptt5", "monoptt5", "Pergunta: {query} Documento: {document} Relevante:", (("▁Sim", "▁Não"),)),
    Recipe("ptt5", "ptt5-.*msmarco", MONO, (("▁sim", "▁não"),)),
    # mT5 writes `false` as `▁` and `false`. So InPars and rerankers have it; pygaggle names `▁false` for the 13b.
    Recipe("mt5-large", "mt5-(3b|13b)-mmarco", MONO, (("▁true", "▁"),)),
    Recipe("mt5", "mt5-.*(mmarco|msmarco)", MONO, (("▁yes", "▁no"),)),
    Recipe("rankt5", "rankt5", "Query: {query} Document: {document}", (("<extra_id_10>", None),)),
    Recipe("monot5", "monot5|inranker", MONO, (("▁true", "▁false"), ("▁yes", "▁no"))),
)
# Rerankers of the same architectures that do not score one document at a time.
OTHERS = {
    "duot5": "compares two documents at a time",
    "listt5|lit5": "orders a list of documents at a time",
    "kalm-reranker": "reads the document in its encoder and the query in its decoder",
}


def is_seq2seq(config: dict[str, Any]) -> bool:
    """Whether config.json is that of an encoder and a decoder that generates text."""
    names = [str(name) for name in config.get("architectures") or []]
    known = config.get("model_type") in TYPES or bool(config.get("is_encoder_decoder"))
    return known and any(name.endswith(ENDINGS) for name in names)


def with_recipe(model: LocalModel) -> LocalModel:
    """A sequence-to-sequence model with its prompt, its answers and its scale; any other model as it is.

    Raises ModelError as `find_recipe` does.
    """
    if model.family != "seq2seq":
        return model
    recipe = find_recipe(model.config, model.name, model.folder)
    return replace(model, chat=recipe.chat, answers=recipe.answers, scale=recipe.scale)


def find_recipe(config: dict[str, Any], name: str, folder: Path) -> Recipe:
    """The recipe of a model, by the first of its names that tells: reference, folder, `_name_or_path` of its config.

    Raises ModelError: a reranker of another kind, a type of network that is not supported, or no known reranker.
    """
    place = folder.resolve()
    own = place.parent.parent if place.parent.name == "snapshots" else place  # in the hub's cache: the repository's
    names = (name, own.name, str(config.get("_name_or_path", "")))
    for last in (text.rstrip("/").rpartition("/")[2].lower() for text in names):
        for pattern, what in OTHERS.items():
            if re.search(pattern, last):
                raise ModelError(f"{folder} is a reranker that {what}, which is not supported")
        recipe = next((recipe for recipe in RECIPES if re.search(recipe.pattern, last)), None)
        if recipe is not None and config.get("model_type") in TYPES:
            return recipe
    model_type = config.get("model_type")
    if model_type not in TYPES:
        hint = f"sequence-to-sequence rerankers of the types {', '.join(TYPES)} are supported"
        raise ModelError(f"{folder} is a sequence-to-sequence model of the type `{model_type}`", hint)
    raise ModelError(
        f"{folder} is a sequence-to-sequence model that generates text, and it does not say how it was trained to "
        "rank: its prompt and its answer tokens are not known",
        "is it a fine-tune of monoT5 or RankT5? then give it a folder whose name contains `monot5` or `rankt5`",
    )
