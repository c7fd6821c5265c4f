"""Measures by the names of ir_measures (`nDCG@10`, `RR`, `AP(rel=2)@100`): their table, parsing, pytrec_eval's names.

It computes nothing; `trec_eval` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from rerank_cli.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "AP", "P@5", "R@100", "Judged@10")
Cutoff = Literal["required", "optional", "none"]


class MeasureSpec(NamedTuple):
    """One row of the table: a measure's names and parameters, and its names in pytrec_eval."""

    name: str
    aliases: tuple[str, ...]
    cutoff: Cutoff
    rel: bool  # takes `(rel=N)`: the least relevance that counts as relevant
    whole: str  # name without a cutoff; empty: computed here
    cut: str  # name with a cutoff; empty: computed here
    meaning: str


MEASURES = (
    MeasureSpec(
        "nDCG", ("ndcg",), "optional", False, "ndcg", "ndcg_cut", "graded gain, discounted by log2 of the rank"
    ),
    MeasureSpec(
        "RR",
        ("mrr", "recip_rank"),
        "optional",
        True,
        "recip_rank",
        "",
        "one over the rank of the first relevant document",
    ),
    MeasureSpec("AP", ("map",), "optional", True, "map", "map_cut", "mean of the precision at each relevant document"),
    MeasureSpec("P", ("precision", "prec"), "required", True, "", "P", "relevant documents among the first k, over k"),
    MeasureSpec(
        "R", ("recall",), "required", True, "", "recall", "relevant documents among the first k, over all relevant"
    ),
    MeasureSpec(
        "Success",
        ("hit", "hits", "hit_rate", "hitrate", "accuracy"),
        "required",
        True,
        "",
        "success",
        "1 if a relevant document is among the first k",
    ),
    MeasureSpec("Judged", (), "optional", False, "", "", "judged documents among the first k, over those retrieved"),
    MeasureSpec(
        "Rprec",
        ("rprecision", "r-precision"),
        "none",
        True,
        "Rprec",
        "",
        "precision at the number of relevant documents",
    ),
    MeasureSpec("Bpref", (), "none", True, "bpref", "", "order of judged documents only"),
    MeasureSpec("SetP", ("set_p",), "none", True, "set_P", "", "relevant documents over all retrieved"),
    MeasureSpec(
        "SetR", ("set_recall",), "none", True, "set_recall", "", "relevant documents retrieved over all relevant"
    ),
)
_BY_NAME = {alias.lower(): spec for spec in MEASURES for alias in (spec.name, *spec.aliases)}
_PATTERN = re.compile(r"(?P<name>[A-Za-z_-]+)(?:\(rel=(?P<rel>\d{1,4})\))?(?:@(?P<cutoff>\d{1,6}))?")
# A cutoff as other tools write it: ndcg_cut_10, ndcg_cut.10 and P_5 (trec_eval), ndcg_at_10 (MTEB).
_OTHER_CUTOFF = re.compile(r"(?P<name>[A-Za-z]+(?:_rank|_rate)?)(?:_cut[_.]|_at_|[_.])(?P<cutoff>\d{1,6})")


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure with its parameters; `str` gives the canonical name. `cutoff` counts ranks, None: all."""

    name: str
    cutoff: int | None = None
    rel: int = 1

    def __str__(self) -> str:
        rel = f"(rel={self.rel})" if self.rel != 1 else ""
        return f"{self.name}{rel}" + (f"@{self.cutoff}" if self.cutoff else "")

    @property
    def spec(self) -> MeasureSpec:
        """Its row of the table."""
        return _BY_NAME[self.name.lower()]


def parse_measure(text: str) -> Measure:
    """A measure from its name, also from trec_eval's, case ignored. Raises UsageError with a hint."""
    other = _OTHER_CUTOFF.fullmatch(text.strip())
    match = _PATTERN.fullmatch(f"{other['name']}@{other['cutoff']}" if other else text.strip())
    spec = _BY_NAME.get(match["name"].lower()) if match else None
    if match is None or spec is None:
        raise UsageError(f"unknown measure `{text}`", _suggest(f"{other['name']}@{other['cutoff']}" if other else text))
    cutoff = int(match["cutoff"]) if match["cutoff"] else None
    if cutoff is None and spec.cutoff == "required":
        raise UsageError(f"measure `{text}` needs a cutoff", f"for example `{spec.name}@10`")
    if match["cutoff"] and spec.cutoff == "none":
        raise UsageError(f"measure `{text}` takes no cutoff", f"write `{spec.name}`")
    if cutoff == 0:
        raise UsageError(f"the cutoff of `{text}` must be 1 or more", f"for example `{spec.name}@10`")
    if match["rel"] and not spec.rel:
        raise UsageError(f"measure `{spec.name}` takes no (rel=N)", "it uses the grades themselves")
    if match["rel"] and int(match["rel"]) < 1:
        raise UsageError(f"the relevance level of `{text}` must be 1 or more", f"for example `{spec.name}(rel=1)`")
    return Measure(spec.name, cutoff, int(match["rel"] or 1))


def parse_measures(texts: Iterable[str]) -> tuple[Measure, ...]:
    """Measures in the order given, each once; a text may hold several, separated by commas or spaces.

    A number alone is another cutoff of the measure before it, as in trec_eval's `ndcg_cut.5,10`.
    """
    names: list[str] = []
    stem = ""
    for part in (part for text in texts for part in re.split(r"[,\s]+", text.strip()) if part):
        if stem and part.isascii() and part.isdecimal():
            names.append(f"{stem}@{part}")
            continue
        other = _OTHER_CUTOFF.fullmatch(part)
        stem = other["name"] if other else ""
        names.append(part)
    parsed = (parse_measure(part) for part in names)
    measures = tuple(dict.fromkeys(parsed))
    if not measures:
        raise UsageError("--measure does not name a measure", "for example `--measure nDCG@10,RR@10`")
    return measures


def _suggest(text: str) -> str:
    """The likely name."""
    name, at, cutoff = text.strip().partition("@")
    if cutoff and not (cutoff.isascii() and cutoff.isdecimal()):
        return f"what follows @ is a number of ranks, as in `{_BY_NAME.get(name.lower(), MEASURES[0]).name}@10`"
    hint = did_you_mean(name.lower(), _BY_NAME)
    if hint:
        return f"did you mean `{_BY_NAME[hint.split('`')[1]].name}{at}{cutoff}`?"
    return "known: " + ", ".join(spec.name + ("@k" if spec.cutoff == "required" else "") for spec in MEASURES)
