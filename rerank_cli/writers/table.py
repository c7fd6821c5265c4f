"""The table for people: rank, score with a bar, id, title or first words, and the best passage with the query's words marked.

The only writer that knows Rich, and only to measure, wrap and colour: document text is made harmless first, goes through
`rich.text.Text` and never through markup. Rendered to a string here, written as bytes by `output`.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, NamedTuple

from rerank_cli.terminal import visible
from rerank_cli.writers.passages import best_passage, marks, query_words
from rerank_cli.writers.results import id_of, shape_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console
    from rich.text import Text

    from rerank_cli.records import Hit, Ranking
    from rerank_cli.settings import OutputSettings
    from rerank_cli.terminal import Terminal

_SHOWN = 50_000  # characters of a document that are ever looked at
_PASSAGE_LINES = 2
_NARROWEST = 20  # columns; below, nothing can be laid out, and a terminal wraps by itself
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Signs(NamedTuple):
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
    fused: int
    id: int

    @property
    def indent(self) -> int:
        """Where the document's column starts."""
        return sum(part + 2 for part in self[1:] if part)

    @property
    def body(self) -> int:
        """How wide the document's column is."""
        return max(8, self.width - self.indent)


class Drawing(NamedTuple):
    """Everything a row needs beside its hit."""

    console: Console
    layout: Layout
    signs: Signs
    words: frozenset[str]
    span: tuple[float, float]  # scores of an empty and of a full bar
    settings: OutputSettings
    value_name: str


def blocks(ranking: Ranking, settings: OutputSettings, terminal: Terminal) -> Iterator[bytes]:
    """The table, a row at a time; nothing for no hits."""
    if not ranking.hits:
        return
    signs = Signs("…", "–", " · ", ascii=False) if terminal.unicode() else Signs("...", "-", ", ", ascii=True)
    shape = shape_of(ranking, settings)
    drawing = Drawing(
        console=console_for(terminal),
        layout=layout_for(ranking.hits, terminal.width(), fused=shape.fused),
        signs=signs,
        words=query_words(ranking.query),
        span=bar_span(ranking),
        settings=settings,
        value_name=shape.value_name,
    )
    yield rendered(drawing, [header(drawing.layout)])
    for hit in ranking.hits:
        yield rendered(drawing, row(hit, drawing))


def console_for(terminal: Terminal) -> Console:
    """A console that draws into a string and asks the environment nothing: that was decided by Terminal."""
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


def layout_for(hits: Sequence[Hit], width: int, *, fused: bool) -> Layout:
    """Column widths from what there is to show: bars and ids shrink and go before the document does."""
    from rich.cells import cell_len

    width = max(_NARROWEST, width)
    scores = [hit.relevance_score for hit in hits if hit.relevance_score is not None] or [0.0]
    id_width = 0
    if width >= 60:
        most = width // 4 if width < 120 else width // 3
        id_width = min(most, max(cell_len(visible(id_of(hit.document) or "")) for hit in hits))
    return Layout(
        width=width,
        rank=len(str(max(hit.rank for hit in hits))),
        score=max(len("score"), len(number(min(scores))), len(number(max(scores)))),
        bar=16 if width >= 120 else 8 if width >= 60 else 4 if width >= 36 else 0,
        fused=6 if fused and width >= 60 else 0,
        id=max(2, id_width) if id_width else 0,
    )


def bar_span(ranking: Ranking) -> tuple[float, float]:
    """Probabilities have bars from 0 to 1; other scales from the lowest score shown to the highest."""
    if ranking.meta.score_scale == "probability":
        return 0.0, 1.0
    scores = [hit.relevance_score for hit in ranking.hits if hit.relevance_score is not None] or [0.0]
    return min(scores), max(scores)


def number(score: float) -> str:
    """A score for the eye; exact ones are in the other formats."""
    return f"{score:.4f}" if abs(score) < 10_000 else f"{score:.4g}"


def bar(score: float, drawing: Drawing) -> str:
    """A bar in eighths of a column, or of `#` where only ASCII can be shown."""
    low, high = drawing.span
    share = 1.0 if high <= low else max(0.0, min(1.0, (score - low) / (high - low)))
    if drawing.signs.ascii:
        return "#" * round(share * drawing.layout.bar)
    full, eighths = divmod(round(share * drawing.layout.bar * 8), 8)
    return _EIGHTHS[8] * full + (_EIGHTHS[eighths] if eighths else "")


def header(layout: Layout) -> Text:
    """The names of the columns."""
    from rich.text import Text

    names = (("#", layout.rank), ("score", layout.score), ("", layout.bar), ("fused", layout.fused), ("id", layout.id))
    right = {"#", "score", "fused"}
    shown = [name.rjust(width) if name in right else name.ljust(width) for name, width in names if width]
    return Text("  ".join([*shown, "document"]), style="dim")


def row(hit: Hit, drawing: Drawing) -> list[Text]:
    """The lines of one hit: scores and id beside the first line of the document, the rest of it below."""
    from rich.text import Text

    layout, signs = drawing.layout, drawing.signs
    first = Text(str(hit.rank).rjust(layout.rank) + "  ")
    score = signs.missing if hit.relevance_score is None else number(hit.relevance_score)
    first.append(score.rjust(layout.score) + "  ", style="bold")
    if layout.bar:
        drawn = "" if hit.relevance_score is None else bar(hit.relevance_score, drawing)
        first.append(drawn.ljust(layout.bar) + "  ", style="green")
    if layout.fused:
        fused = signs.missing if hit.fused_score is None else number(hit.fused_score)
        first.append(fused.rjust(layout.fused) + "  ")
    if layout.id:
        first.append_text(cropped(id_of(hit.document) or "", layout.id, drawing, style="cyan"))
        first.append("  ")
    lines = body(hit, drawing)
    return [first.append_text(lines[0]), *(Text(" " * layout.indent).append_text(line) for line in lines[1:])]


def cropped(text: str, width: int, drawing: Drawing, style: str) -> Text:
    """An id in its column; the end of a long one stays, because paths differ there."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    flat = safe(text, drawing)
    sign = drawing.signs.ellipsis
    if cell_len(flat) > width:
        while cell_len(flat) > max(0, width - len(sign)):
            flat = flat[1:]
        flat = sign + flat
    return Text(set_cell_size(flat, width), style=style)


def safe(text: str, drawing: Drawing) -> str:
    """Text on one line that cannot harm a terminal; as ASCII where the locale can show no more."""
    flat = " ".join(visible(text[:_SHOWN].replace("\r\n", "\n")).split())
    return flat.encode("ascii", "backslashreplace").decode("ascii") if drawing.signs.ascii else flat


def body(hit: Hit, drawing: Drawing) -> list[Text]:
    """What is shown of a document: id where it has no column, title or first words, best passage, explanation."""
    from rich.text import Text

    document = hit.document
    lines: list[Text] = []
    name = id_of(document)
    if not drawing.layout.id and name:
        lines.append(cropped(name, drawing.layout.body, drawing, style="cyan"))
    if drawing.settings.documents:
        lines += summary(hit, drawing)
    if drawing.settings.explain:
        lines += explained(hit, drawing)
    return lines or [Text("" if name else f"({hit.index})")]


def summary(hit: Hit, drawing: Drawing) -> list[Text]:
    """Title and best passage, or the text itself if it is short, or its first words and the best passage."""
    from rich.text import Text

    document = hit.document
    title = title_of(document)
    lines = [] if title is None else wrapped(safe(title, drawing), 1, drawing, style="bold")
    if hit.relevance_score is None:
        return lines or [Text(drawing.signs.missing)]
    text = document.text
    start = safe(text[: drawing.layout.body * 12], drawing)
    if title is None and len(start) <= drawing.layout.body * _PASSAGE_LINES and len(text) <= drawing.layout.body * 12:
        return wrapped(start, _PASSAGE_LINES + 1, drawing)
    window = text[slice(*hit.score.best)] if hit.score.best and hit.score.windows > 1 else text
    passage = safe(best_passage(window[:_SHOWN], drawing.words, skip=title), drawing)
    if title is None and not start.startswith(passage[:20]):
        lines = wrapped(start, 1, drawing, style="bold")
    if passage and passage != safe(title or "", drawing):
        lines += wrapped(passage, _PASSAGE_LINES + (not lines), drawing)
    return lines


def explained(hit: Hit, drawing: Drawing) -> list[Text]:
    """`--explain`: the figures behind the score, and the scored text, line by line."""
    score, signs = hit.score, drawing.signs
    value = signs.missing if score.value is None else f"{score.value:.6g}"
    facts = [f"{drawing.value_name} {value}", f"{score.tokens} tokens", f"{score.windows} windows"]
    if score.best:
        facts.append("best chunk {}-{}".format(*score.best))
    if score.truncated:
        facts.append("truncated")
    lines = wrapped(signs.between.join(facts), 3, drawing, style="dim")
    for part in hit.document.text[:_SHOWN].splitlines():
        lines += wrapped(safe(part, drawing), _SHOWN, drawing, style="dim")
    return lines


def wrapped(text: str, most: int, drawing: Drawing, style: str = "") -> list[Text]:
    """Text with the query's words marked, in at most so many lines of the document's column."""
    width, sign = drawing.layout.body, drawing.signs.ellipsis
    cut = text[: width * most * 4 + 200]  # more cannot be seen, and wrapping is slow
    found = list(marked(cut, drawing, style).wrap(drawing.console, width, overflow="fold"))
    for line in found:
        line.rstrip()
    if len(found) <= most and cut == text:
        return found
    found = found[:most]
    found[-1].truncate(width - len(sign))
    found[-1].rstrip()
    found[-1].append(sign)
    return found


def marked(text: str, drawing: Drawing, style: str) -> Text:
    """Text with the query's words in colour, or between asterisks where there is none."""
    from rich.text import Text

    spans = marks(text, drawing.words)
    if not drawing.console.no_color:
        result = Text(text, style=style)
        for start, end in spans:
            result.stylize("bold red", start, end)
        return result
    pieces, last = [], 0
    for start, end in spans:
        pieces += [text[last:start], "*", text[start:end], "*"]
        last = end
    return Text("".join([*pieces, text[last:]]))


def rendered(drawing: Drawing, lines: list[Text]) -> bytes:
    """Lines as bytes, none wider than the terminal."""
    console = drawing.console
    out = console.file = StringIO()
    for line in lines:
        line.truncate(drawing.layout.width)
        line.rstrip()
        console.print(line, soft_wrap=True)
    return out.getvalue().encode("utf-8", "replace")
