"""Settings of the stages after scoring. `rerank_cli.stages` says what they mean, `rerank_cli.settings` offers them too.

Their names are also those of request members and of keyword options in Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from rerank_cli.options import STAGES, option

MOST_HIGHLIGHTS = 100

_stage = partial(option, group=STAGES)


@dataclass(frozen=True, slots=True)
class StageSettings:
    """What happens to the scored documents of a query before they are cut to top_n. Nothing, unless set."""

    recency: str | None = _stage("--recency", "Prefer newer documents, by the date in this field.", metavar="FIELD")
    half_life: str | None = _stage(
        "--half-life", "With --recency: the age that makes no difference (default: 30d).", metavar="TIME"
    )
    boost: tuple[str, ...] = _stage(
        "--boost",
        "Multiply the odds of documents with this value; repeatable.",
        metavar="FIELD=VALUE:FACTOR",
        many=True,
    )
    boost_field: str | None = _stage("--boost-field", "Prefer documents with larger numbers here.", metavar="FIELD")
    boost_limit: float | None = _stage(
        "--boost-limit",
        "Most that boosts add to or take from the log-odds (default: 1, never across a score of 0.5).",
        metavar="X",
        kind=float,
        minimum=0,
    )
    dedupe: str | None = _stage(
        "--dedupe",
        "Keep the first document of each text (exact), or the best of near duplicates (near=0.9).",
        metavar="HOW",
        bare="exact",
        values=r"(exact|near)(=.*)?",
    )

    cutoff: str | None = _stage(
        "--cutoff", "Cut where relevance ends: gap, auto or a share of the best score.", metavar="gap|N%|auto"
    )
    group_by: str | None = _stage("--group-by", "Keep the best chunks of each value of this field.", metavar="FIELD")
    group_size: int | None = _stage(
        "--group-size", "With --group-by: chunks per value (default: 1).", metavar="N", kind=int, minimum=1
    )
    diversity: float | None = _stage(
        "--diversity",
        "How much similarity to the documents above lowers a document, from 0 to 1.",
        metavar="X",
        kind=float,
        minimum=0,
        maximum=1,
    )
    max_context_tokens: int | None = _stage(
        "--max-context-tokens",
        "Keep the best documents that fit into a prompt of N tokens; the last one is cut.",
        metavar="N",
        kind=int,
        minimum=1,
    )
    tokenizer: str | None = _stage(
        "--tokenizer",
        "For --max-context-tokens: a tokenizer.json, its folder, or a model in the hub's cache (default: the model's).",
        metavar="FILE",
    )
    highlight: int | None = _stage(
        "--highlight",
        "Show the N best sentences of each document (alone: 1), scored by the same model.",
        metavar="N",
        kind=int,
        minimum=1,
        maximum=MOST_HIGHLIGHTS,
        bare="1",
        values=r"\d+",
    )

    weight: float = 1.0  # of recency and boost_field: RankSettings.weight without fusion

    @property
    def active(self) -> bool:
        """Whether any stage is to run after scoring."""
        return self not in _BEFORE_SCORING

    @property
    def needs_all(self) -> bool:
        """Whether a stage needs more than the top_n documents."""
        return replace(self, max_context_tokens=None, tokenizer=None, highlight=None).active


_BEFORE_SCORING = frozenset({StageSettings(), StageSettings(dedupe="exact")})
