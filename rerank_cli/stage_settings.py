"""Settings of the stages after scoring. `rerank_cli.stages` says what they mean, `rerank_cli.settings` offers them too.

Their names are also those of request members and of keyword options in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from rerank_cli.options import STAGES, option

_stage = partial(option, group=STAGES)


@dataclass(frozen=True, slots=True)
class StageSettings:
    """What happens to the scored documents of a query before they are cut to top_n. Nothing, unless set."""

    recency: str | None = _stage("--recency", "Prefer newer documents, by the date in this field.", metavar="FIELD")
    half_life: str | None = _stage(
        "--half-life", "Of --recency: the age that makes no difference (default: 30d).", metavar="TIME"
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
        "--group-size", "Of --group-by: how many (default: 1).", metavar="N", kind=int, minimum=1
    )
    diversity: float | None = _stage(
        "--diversity",
        "How much likeness to documents above counts against one, from 0 to 1.",
        metavar="X",
        kind=float,
        minimum=0,
        maximum=1,
    )
    weight: float = 1.0  # of recency and boost_field: RankSettings.weight without fusion

    @property
    def active(self) -> bool:
        """Whether any stage is to run after scoring."""
        return self not in _BEFORE_SCORING


_BEFORE_SCORING = frozenset({StageSettings(), StageSettings(dedupe="exact")})
