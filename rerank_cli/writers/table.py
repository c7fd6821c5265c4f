"""The table for people: rank, score with a bar, id, title or first words, best passage with highlighted words.

Rich only measures, wraps and colours: document text is sanitized first, goes through `rich.text.Text` and never
through markup. Rendered to a string here, written as bytes by `output`.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from rerank_cli.text import visible
from rerank_cli.writers.layout import Glyphs, Layout, RenderContext, bar, bar_span, console_for, layout_for, number
from rerank_cli.writers.passages import best_passage, merged, query_words, word_spans
from rerank_cli.writers.results import id_of, shape_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.text import Text

    from rerank_cli.records import Hit, Ranking
    from rerank_cli.settings import OutputSettings
    from rerank_cli.terminal import Terminal

_SHOWN = 50_000  # characters of a document that are ever looked at
_PASSAGE_LINES = 2
_SENTENCE_LINES = 6  # of a highlight: the answer may be at its end


def blocks(ranking: Ranking, settings: OutputSettings, terminal: Terminal) -> Iterator[bytes]:
    """The table, row by row; empty without hits."""
    if not ranking.hits:
        return
    glyphs = Glyphs("…", "–", " · ", ascii=False) if terminal.unicode() else Glyphs("...", "-", ", ", ascii=True)
    shape = shape_of(ranking, settings)
    context = RenderContext(
        console=console_for(terminal),
        layout=layout_for(ranking.hits, terminal.width(), order=bool(shape.order_name)),
        glyphs=glyphs,
        words=query_words(ranking.query),
        span=bar_span(ranking),
        settings=settings,
        shape=shape,
    )
    yield rendered(context, [header(context.layout, shape.order_name)])
    for hit in ranking.hits:
        yield rendered(context, row(hit, context))


def header(layout: Layout, order_name: str) -> Text:
    """The names of the columns."""
    from rich.text import Text

    names = (
        ("#", layout.rank),
        ("score", layout.score),
        ("", layout.bar),
        (order_name, layout.order),
        ("id", layout.id),
    )
    right = {"#", "score", order_name}
    shown = [name.rjust(width) if name in right else name.ljust(width) for name, width in names if width]
    return Text("  ".join([*shown, "document"]), style="dim")


def row(hit: Hit, context: RenderContext) -> list[Text]:
    """The lines of one hit: scores and id beside the first line of the document, the rest of it below."""
    from rich.text import Text

    layout, glyphs = context.layout, context.glyphs
    first = Text(str(hit.rank).rjust(layout.rank) + "  ")
    score = glyphs.missing if hit.relevance_score is None else number(hit.relevance_score)
    first.append(score.rjust(layout.score) + "  ", style="bold")
    if layout.bar:
        drawn = "" if hit.relevance_score is None else bar(hit.relevance_score, context)
        first.append(drawn.ljust(layout.bar) + "  ", style="green")
    if layout.order:
        ordering = getattr(hit, context.shape.further_scores[-1])
        shown = glyphs.missing if ordering is None else number(ordering)
        first.append(shown.rjust(layout.order) + "  ")
    if layout.id:
        first.append_text(cropped(id_of(hit.document) or "", layout.id, context, style="cyan"))
        first.append("  ")
    lines = body(hit, context)
    return [first.append_text(lines[0]), *(Text(" " * layout.indent).append_text(line) for line in lines[1:])]


def cropped(text: str, width: int, context: RenderContext, style: str) -> Text:
    """An id in its column; the end of a long one stays, because paths differ there."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    flat = safe(text, context)
    ellipsis = context.glyphs.ellipsis
    if cell_len(flat) > width:
        while cell_len(flat) > max(0, width - len(ellipsis)):
            flat = flat[1:]
        flat = ellipsis + flat
    return Text(set_cell_size(flat, width), style=style)


def safe(text: str, context: RenderContext) -> str:
    """Text on one line that cannot harm a terminal; as ASCII where the locale can show only that."""
    flat = " ".join(visible(text[:_SHOWN].replace("\r\n", "\n")).split())
    return flat.encode("ascii", "backslashreplace").decode("ascii") if context.glyphs.ascii else flat


def body(hit: Hit, context: RenderContext) -> list[Text]:
    """What is shown of a document: id where it has no column, title or first words, best passage, explanation."""
    from rich.text import Text

    document = hit.document
    lines: list[Text] = []
    name = id_of(document)
    if not context.layout.id and name:
        lines.append(cropped(name, context.layout.body, context, style="cyan"))
    if context.settings.documents:
        lines += summary(hit, context)
    if hit.staged and (place := hit.staged.place) and place.truncated:
        lines += wrapped(f"cut to {place.tokens} tokens (--max-context-tokens)", 1, context, style="dim")
    if context.settings.explain:
        lines += explained(hit, context)
    return lines or [Text("" if name else f"({hit.index})")]


def summary(hit: Hit, context: RenderContext) -> list[Text]:
    """Title and best sentences, else best passage, or the text itself if it is short, or its first words too."""
    from rich.text import Text

    document = hit.document
    title = title_of(document)
    lines = [] if title is None else wrapped(safe(title, context), 1, context, style="bold")
    if hit.relevance_score is None:
        return lines or [Text(context.glyphs.missing)]
    if hit.highlights:
        for start, end in merged(hit.highlights):
            lines += wrapped(safe(document.text[start:end], context), _SENTENCE_LINES, context)
        return lines
    text, width = document.text[:_SHOWN], context.layout.body
    if title is None and len(text) <= width * _PASSAGE_LINES:
        return wrapped(safe(text, context), _PASSAGE_LINES + 1, context)
    start, end = hit.score.best if hit.score.best and hit.score.windows > 1 else (0, len(document.text))
    start += best_passage(document.text[start:end], context.words, skip=title)
    if title is None and start < width:  # the passage is among the first words
        return wrapped(safe(text, context), _PASSAGE_LINES + 1, context)
    if title is None:
        lines = wrapped(safe(text, context), 1, context, style="bold")
    passage = safe(document.text[start:end], context)
    if passage and passage != safe(title or "", context):
        lines += wrapped(passage, _PASSAGE_LINES, context)
    return lines


def explained(hit: Hit, context: RenderContext) -> list[Text]:
    """`--explain`: the figures behind the score, what the stages did, and the scored text, line by line."""
    score, glyphs = hit.score, context.glyphs
    value = glyphs.missing if score.value is None else f"{score.value:.6g}"
    facts = [
        f"{context.shape.value_name} {value}",
        f"{score.tokens} tokens",
        f"{score.windows} window{'s' * (score.windows != 1)}",
    ]
    for number_of, one in enumerate(score.by_query, start=1):
        facts.append(f"query {number_of}: {glyphs.missing if one is None else f'{one:.6g}'}")
    if score.best:
        facts.append("best chunk {}-{}".format(*score.best))
    if score.truncated:
        facts.append("truncated")
    lines = wrapped(glyphs.between.join(facts), 3, context, style="dim")
    if hit.staged and hit.staged.effects:
        lines += wrapped(glyphs.between.join(map(effect, hit.staged.effects)), 3, context, style="dim")
    for part in hit.document.text[:_SHOWN].splitlines():
        lines += wrapped(safe(part, context), _SHOWN, context, style="dim")
    return lines


def effect(done: Mapping[str, Any]) -> str:
    """What a stage did, in words: `diversity: similarity 0.31, to 4`."""
    what = (
        name.replace("_", " ") + ("" if value is True else f" {value:.4g}")
        for name, value in done.items()
        if name != "stage" and value is not None and value is not False
    )
    return f"{done['stage']}: {', '.join(what)}".removesuffix(": ")


def wrapped(text: str, most: int, context: RenderContext, style: str = "") -> list[Text]:
    """Text with the query's words highlighted, in at most `most` lines of the document's column."""
    width, ellipsis = context.layout.body, context.glyphs.ellipsis
    cut = text[: width * (most + 1) + 20]  # more is not visible, and wrapping is slow
    lines = list(highlighted(cut, context, style).wrap(context.console, width, overflow="fold"))
    for line in lines:
        line.rstrip()
    if len(lines) <= most and cut == text:
        return lines
    lines = lines[:most]
    shorten(lines[-1], width - len(ellipsis))
    lines[-1].append(ellipsis)
    return lines


def shorten(line: Text, width: int) -> None:
    """Cut a line to a width, at the end of a word if one ends in its last third."""
    if line.cell_len > width:
        line.truncate(width)
        space = line.plain.rfind(" ")
        if space > len(line) * 2 // 3:
            line.right_crop(len(line) - space)
    line.rstrip()


def highlighted(text: str, context: RenderContext, style: str) -> Text:
    """Text with the query's words in colour, or between asterisks where there is none."""
    from rich.text import Text

    spans = word_spans(text, context.words)
    if not context.console.no_color:
        result = Text(text, style=style)
        for start, end in spans:
            result.stylize("bold red", start, end)
        return result
    pieces, last = [], 0
    for start, end in spans:
        pieces += [text[last:start], "*", text[start:end], "*"]
        last = end
    return Text("".join([*pieces, text[last:]]))


def rendered(context: RenderContext, lines: list[Text]) -> bytes:
    """Lines as bytes, none wider than the terminal."""
    console = context.console
    out = console.file = StringIO()
    for line in lines:
        line.truncate(context.layout.width)
        line.rstrip()
        console.print(line, soft_wrap=True)
    return out.getvalue().encode("utf-8", "replace")
