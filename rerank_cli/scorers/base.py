"""The interface of every scorer: pairs in, scores out, in input order.

A scorer turns (query, text) pairs into numbers. It knows nothing of files, ids, top_n, terminals or commands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from rerank_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rerank_cli.records import Pair, Score
    from rerank_cli.settings import Limits

Advance: TypeAlias = "Callable[[int], None]"


@dataclass(frozen=True)
class ScorerInfo:
    """A scorer, as rankings describe it.

    `scale` is the scale of `Score.value`: `log-odds` is shown through a sigmoid, others unchanged.
    """

    model: str
    revision: str | None
    backend: str
    dtype: str
    scale: str
    make_digest: Callable[[], str] = field(compare=False, repr=False)
    reason: str = ""  # why this backend, for -v
    english_only: bool = False
    whole_query: bool = False  # needs all documents of a query in one call: splitting, budget, listwise models
    listwise: bool = False  # a score depends on the other documents of the query in the same call
    tokenizer: Path | None = field(default=None, compare=False, repr=False)  # its file, for local models
    lower_case: bool = field(default=False, compare=False, repr=False)  # texts are lower-cased before it

    @cached_property
    def digest(self) -> str:
        """Identifies all that can change a score (weights, tokenizer, backend, dtype, template): part of cache keys."""
        return self.make_digest()


class Scorer(Protocol):
    """Pairs to scores. Close it when done; it may hold sessions, pools or connections."""

    @property
    def info(self) -> ScorerInfo:
        """The scorer's description."""

    def score(self, pairs: Sequence[Pair], limits: Limits, advance: Advance | None = None) -> list[Score]:
        """One `Score` per pair, in input order, the same whatever else is in `pairs`.

        `advance(n)` is called as n more pairs are done. Raises ModelError or RemoteError; never returns a partial list.
        """

    def usage(self) -> dict[str, float]:
        """Billed units and tokens so far, empty for local models."""

    def close(self) -> None:
        """Give back sessions, pools and connections."""


class DocumentError(InputError):
    """One document cannot be scored, and others may do well: `pair` is that document's, `problem` follows its name."""

    def __init__(self, pair: Pair, problem: str, hint: str | None = None) -> None:
        super().__init__(f"a document {problem}", hint)
        self.pair, self.problem = pair, problem


class TooLongError(DocumentError):
    """A document exceeds the window and --long-documents is `error`."""

    def __init__(self, pair: Pair, tokens: int, window: int, *, apart: bool = False) -> None:
        problem = f"has {tokens} tokens; the model's window holds {window}{'' if apart else ' besides this query'}"
        super().__init__(pair, problem, "use `--long-documents chunk` or `truncate`")
        self.tokens, self.window = tokens, window
