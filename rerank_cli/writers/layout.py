"""The layout of the table: glyphs and widths for this terminal, bars, and the console that measures and colours.

Knows hits and widths, not documents.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.text import visible
from rerank_cli.writers.results import id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from rerank_cli.records import Hit, Ranking
    from rerank_cli.settings import OutputSettings
    from rerank_cli.terminal import Terminal
    from rerank_cli.writers.results import Shape

_NARROWEST = 20  # columns; narrower terminals wrap by themselves
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Glyphs(NamedTuple):
    """The characters beyond letters that the table draws with."""

    ellipsis: str
    missing: str
    between: str
    ascii: bool


class Layout(NamedTuple):
    """Widths in columns, the same for every row; 0 = this column is not shown."""

    width: int
    rank: int
    score: int
    bar: int
    order: int  # of the fused or final score
    id: int

    @property
    def indent(self) -> int:
        """Where the document's column starts."""
        return sum(part + 2 for part in self[1:] if part)

    @property
    def body(self) -> int:
        """How wide the document's column is."""
        return max(8, self.width - self.indent)


class RenderContext(NamedTuple):
    """Everything a row needs beside its hit."""

    console: Console
    layout: Layout
    glyphs: Glyphs
    words: frozenset[str]
    span: tuple[float, float]  # scores of an empty and of a full bar
    settings: OutputSettings
    shape: Shape


def console_for(terminal: Terminal) -> Console:
    """A console that draws into a string and ignores the environment, which Terminal has read."""
    from rich.console import Console

    colored = terminal.colored("stdout")
    return Console(
        file=StringIO(),
        width=max(_NARROWEST, terminal.width()),
        color_system="standard" if colored else None,
        force_terminal=colored,
        no_color=not colored,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},
    )


def layout_for(hits: Sequence[Hit], width: int, *, order: bool) -> Layout:
    """Column widths from the contents: bars and ids shrink and disappear before the document does."""
    from rich.cells import cell_len

    width = max(_NARROWEST, width)
    scores = [hit.relevance_score for hit in hits if hit.relevance_score is not None] or [0.0]
    id_width = 0
    if width >= 60:
        widest = width // 4 if width < 120 else width // 3
        id_width = min(widest, max(cell_len(visible(id_of(hit.document) or "")) for hit in hits))
    return Layout(
        width=width,
        rank=len(str(max(hit.rank for hit in hits))),
        score=max(len("score"), len(number(min(scores))), len(number(max(scores)))),
        bar=16 if width >= 120 else 8 if width >= 60 else 4 if width >= 36 else 0,
        order=max([6, *(len(number(hit.order_score or 0.0)) for hit in hits)]) if order and width >= 60 else 0,
        id=max(2, id_width) if id_width else 0,
    )


def bar_span(ranking: Ranking) -> tuple[float, float]:
    """Probabilities have bars from 0 to 1; other scales from the lowest score shown to the highest."""
    if ranking.meta.score_scale == "probability":
        return 0.0, 1.0
    scores = [hit.relevance_score for hit in ranking.hits if hit.relevance_score is not None] or [0.0]
    return min(scores), max(scores)


def number(score: float) -> str:
    """A score rounded for people; the other formats have exact ones."""
    return f"{score:.4f}" if abs(score) < 10_000 else f"{score:.4g}"


def bar(score: float, context: RenderContext) -> str:
    """A bar in eighths of a column, or of `#` where only ASCII can be shown."""
    low, high = context.span
    share = 1.0 if high <= low else max(0.0, min(1.0, (score - low) / (high - low)))
    if context.glyphs.ascii:
        return "#" * round(share * context.layout.bar)
    full, eighths = divmod(round(share * context.layout.bar * 8), 8)
    return _EIGHTHS[8] * full + (_EIGHTHS[eighths] if eighths else "")
