"""Rerankers that people name after `-m`, as data: what they are, and whether they run here (`known.json`).

It loads no model and opens no other file; `docs/models.md` holds the same table.
"""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from rerank_cli.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CLOSE = 0.75  # names of models differ by a digit: less would suggest another family
OTHERS = "`rerank models known` lists rerankers that run"  # the hint where nothing else is to be said
FILE = Path(__file__).with_name("known.json")
STATUSES = {"verified": "works (verified by {})", "construction": "should work", "refused": "refused because {}"}


class Known(NamedTuple):
    """One reranker. The members are those of a row of known.json."""

    name: str  # as after -m
    parameters: int  # trained weights
    languages: str  # ISO 639-1 codes, or `multilingual`
    license: str  # SPDX identifier in lower case, or the name of the licence
    family: str  # of docs/models.md; of a refused model what it is
    max_tokens: int  # of a whole input
    status: Literal["verified", "construction", "refused"]
    reason: str = ""  # what verified it, how it runs, or why it is refused
    source: str = ""  # where the facts are from
    window: int = 0  # document tokens that are read at a time; 0: all that fit

    @property
    def verdict(self) -> str:
        """The status in words: works (verified by …), should work, or refused because … ."""
        text = STATUSES[self.status].format(self.reason)
        return f"{text} ({self.reason})" if self.status == "construction" and self.reason else text

    def cells(self) -> tuple[str, ...]:
        """Name, parameters, languages, licence, family and tokens, as tables show them."""
        millions = round(self.parameters / 1e6, 1 if self.parameters < 1e8 else None)
        size = f"{self.parameters / 1e9:.1f} B" if self.parameters >= 1e9 else f"{millions} M"
        tokens = f"{self.max_tokens:,}" + (f" (windows of {self.window})" if self.window else "")
        return (self.name, size, self.languages, self.license, self.family, tokens)


@cache
def known() -> tuple[Known, ...]:
    """All rows, in the order of the file."""
    return tuple(Known(**row) for row in json.loads(FILE.read_bytes()))


def suggestion(
    reference: str, others: Iterable[str] = (), elsewhere: Callable[[str], str | None] | None = None
) -> str | None:
    """The hint for a model that is not there: a known reranker that runs, or one of `others`, called like it.

    A bare name finds its repository: `bge-reranker-v2-m3` is `BAAI/bge-reranker-v2-m3`. `elsewhere` has the hint for
    what is not on this machine: a provider.
    """
    runs = (row.name for row in known() if "/" in row.name and row.status != "refused")
    bare = {name.rpartition("/")[2].lower(): name for name in runs}
    own = reference.partition("@")[0].rpartition("/")[2].lower()
    same = bare.get(own)
    if same and same != reference:
        return f"did you mean `-m {same}`?"
    if elsewhere and (hint := elsewhere(reference)):
        return hint
    if hint := did_you_mean(reference, others):
        return hint
    close = get_close_matches(own, [name for name in bare if name != own], n=1, cutoff=CLOSE)
    return f"did you mean `-m {bare[close[0]]}`?" if close else None


def refusal(repository: str) -> str | None:
    """The hint for a known model that is not here and would be refused; None for any other."""
    row = next((row for row in known() if row.name == repository and row.status == "refused"), None)
    return f"to fetch it does not help: it is {row.verdict}" if row else None
