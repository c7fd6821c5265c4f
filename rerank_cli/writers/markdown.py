r"""A Markdown table (GitHub's): whatever a document holds, it comes out as its own text and never as markup.

Everything that could be markup is escaped with a backslash, line breaks are `<br>`, white space at a cell's edges is
written as character references because Markdown would drop it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rerank_cli.text import to_utf8
from rerank_cli.writers.members import numbers
from rerank_cli.writers.passages import merged
from rerank_cli.writers.results import blocks_of, id_of, shape_of, title_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.records import Highlight, Hit, Ranking
    from rerank_cli.settings import OutputSettings

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$&])")
_EDGE = re.compile(r"^[^\S\x00-\x08\x0b-\x1f\x7f-\x9f]+|[^\S\x00-\x08\x0b-\x1f\x7f-\x9f]+$")


def blocks(ranking: Ranking, settings: OutputSettings) -> Iterator[bytes]:
    """The table, some rows at a time: rank, score, text, and of further score, id and title what any hit has."""
    shape = shape_of(ranking, settings)
    ids = any(id_of(hit.document) is not None for hit in ranking.hits)
    titles = settings.documents and any(title_of(hit.document) is not None for hit in ranking.hits)
    shown = {"rank": True, "score": True, shape.order_name: bool(shape.order_name), "id": ids, "title": titles}
    shown["text"] = settings.documents
    names = [name for name, is_shown in shown.items() if is_shown]
    alignment = ["---:" if name in {"rank", "score", "fused", "final"} else "---" for name in names]
    yield row(names) + row(alignment)
    for hits in blocks_of(ranking.hits):
        yield b"".join([row(values(hit, score, names)) for hit, score in zip(hits, scores(hits), strict=True)])


def scores(hits: Sequence[Hit]) -> list[str]:
    """Scores in full; a document without one has a dash."""
    return ["–" if number == b"null" else number.decode() for number in numbers([hit.relevance_score for hit in hits])]


def values(hit: Hit, score: str, names: list[str]) -> list[str]:
    """The cells of one row, escaped."""
    document = hit.document
    cells = {
        "rank": str(hit.rank),
        "score": score,
        "fused": score_or_dash(hit.fused_score),
        "final": score_or_dash(hit.final_score),
        "id": escaped(id_of(document) or ""),
        "title": escaped(title_of(document) or "") if "title" in names else "",
        "text": marked(document.text, hit.highlights or ()) if "text" in names else "",
    }
    return [cells[name] for name in names]


def marked(text: str, highlights: Sequence[Highlight]) -> str:
    """A text, escaped, with its highlights in `<mark>`."""
    if not highlights:
        return escaped(text)
    text = text.replace("\0", "\ufffd")
    left, right = len(text) - len(text.lstrip()), len(text.rstrip())
    pieces, last = [escaped(text[:left])], left
    for start, end in merged(highlights):
        pieces += [without_markup(text[last:start]), "<mark>", without_markup(text[start:end]), "</mark>"]
        last = end
    return "".join([*pieces, without_markup(text[last:right]), escaped(text[max(last, right) :])])


def score_or_dash(score: float | None) -> str:
    """A score in full; a dash where there is none."""
    return "–" if score is None else repr(score)


def row(cells: list[str]) -> bytes:
    """One line of the table."""
    return to_utf8("| " + " | ".join(cells) + " |\n")


def escaped(text: str) -> str:
    """Text that renders as itself inside a cell."""
    text = text.replace("\0", "\ufffd")
    return without_markup(_EDGE.sub(lambda match: "".join(f"\0{ord(letter)};" for letter in match.group()), text))


def without_markup(text: str) -> str:
    """Text that renders as itself within a cell; NUL stands for the `&#` of a character reference."""
    plain = _MARKUP.sub(r"\\\1", text)
    return plain.replace("\0", "&#").replace("\r\n", "&#13;<br>").replace("\n", "<br>").replace("\r", "&#13;")
