"""What every format writes of a hit beside its document: which keys, in which order, as JSON members or columns.

Also cuts rankings into blocks, and reads a document back as named values. Knows nothing of output files or terminals.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank_cli.hits import column
from rerank_cli.writers.members import decode_string, encode, encode_string, members, numbers, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rerank_cli.records import Document, Hit, Ranking, Source
    from rerank_cli.settings import OutputSettings

BLOCK = 128  # hits written at once: enough to share costs, few enough that blocks of 1 MB documents fit in memory
HIGHLIGHTS = ("highlights",)
PLACED = ("context_tokens", "context_truncated", "context_end")
TITLE_KEYS = ("title", "name", "subject", "headline", "heading")


class Shape(NamedTuple):
    """What is written of each hit of one ranking."""

    further_scores: tuple[str, ...]  # beside relevance_score; the last one orders the hits
    explain: bool
    value_name: str  # how `--explain` calls Score.value
    queries: tuple[str, ...] = ()  # if there are several
    parts: tuple[str, ...] = ()  # what stages say of parts of a document, in JSON

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of a hit, in order."""
        last = ("explain",) if self.explain else ()
        return ("index", "rank", "relevance_score", *self.further_scores, *self.parts, *last)

    @property
    def order_name(self) -> str:
        """What tables call the score that orders the hits; nothing where relevance_score does."""
        return self.further_scores[-1].removesuffix("_score") if self.further_scores else ""


def sources_of(ranking: Ranking) -> list[Source]:
    """Where all documents came from, those that are not shown too; each once."""
    return list(ranking.sources) or list(
        {id(hit.document.source): hit.document.source for hit in ranking.hits}.values()
    )


def shape_of(ranking: Ranking, settings: OutputSettings) -> Shape:
    """What the hits of a ranking carry: further scores if any has one, an explanation if asked for."""
    local = ranking.meta.score_scale in {"probability", "logit"}
    fused = any(score is not None for score in column(ranking.hits, "fused_score"))
    staged = list(filter(None, column(ranking.hits, "staged")))
    final = any(one.final_score is not None for one in staged)
    further = (*(("fused_score",) if fused else ()), *(("final_score",) if final else ()))
    highlights = HIGHLIGHTS if any(one.highlights is not None for one in staged) else ()
    placed = PLACED if any(one.place for one in staged) else ()
    name = "logit" if local else "score"
    return Shape(further, settings.explain, name, ranking.meta.queries, (*highlights, *placed))


def blocks_of(hits: Sequence[Hit]) -> Iterator[Sequence[Hit]]:
    """The hits in slices of at most BLOCK."""
    for start in range(0, len(hits), BLOCK):
        yield hits[start : start + BLOCK]


def score_members(hits: Sequence[Hit], shape: Shape) -> list[bytes]:
    """The JSON members of each hit, without braces."""
    names = ("index", "rank", "relevance_score", *shape.further_scores)
    form = ",".join(f'"{name}":%b' for name in names).encode()
    # A column at a time, then split: half the time of formatting each number.
    columns = [numbers(column(hits, name)) for name in names]
    plain = [form % row for row in zip(*columns, strict=True)]
    if shape.parts:
        plain = [b"%b%b" % (tail, parts_members(hit)) for tail, hit in zip(plain, hits, strict=True)]
    if shape.explain:
        plain = [b'%b,"explain":%b' % (tail, explanation(hit, shape)) for tail, hit in zip(plain, hits, strict=True)]
    return plain


def parts_members(hit: Hit) -> bytes:
    """The members of a hit about parts of its text, in order, each behind a comma."""
    parts = parts_of(hit)
    return b"," + encode(parts)[1:-1] if parts else b""


def parts_of(hit: Hit) -> dict[str, Any]:
    """Highlights, best first, and what stands in the prompt; offsets are characters of the scored text."""
    found: dict[str, Any] = {}
    if hit.highlights is not None:
        found["highlights"] = [one._asdict() for one in hit.highlights]
    if hit.staged and (place := hit.staged.place):
        found |= {"context_tokens": place.tokens, "context_truncated": place.truncated, "context_end": place.end}
    return found


def explanation(hit: Hit, shape: Shape) -> bytes:
    """The `explain` object of a hit; offsets are characters of `text`."""
    score = hit.score
    effects = b',"stages":%b' % encode(hit.staged.effects) if hit.staged else b""
    if score.by_query:
        asked = zip(shape.queries, score.by_query, strict=True)
        effects += b',"queries":%b' % encode([{"query": one, shape.value_name: value} for one, value in asked])
    return b'{"text":%b,"tokens":%d,"%b":%b,"windows":%d,"best_chunk":%b,"truncated":%b%b}' % (
        encode_string(hit.document.text),
        score.tokens,
        shape.value_name.encode(),
        numbers([score.value])[0],
        score.windows,
        offsets(score.best),
        b"true" if score.truncated else b"false",
        effects,
    )


def offsets(best: tuple[int, int] | None) -> bytes:
    """Character offsets as JSON."""
    return b"null" if best is None else b"[%d,%d]" % best


def columns(document: Document) -> list[tuple[str, str]]:
    """A document as named texts: the columns of a row, the members of an object; `text` of a line, `id` of a file.

    Strings are their value, null is empty, everything else is its own JSON text, so that no number is ever rounded.
    """
    kind, raw = document.source.kind, document.raw
    if kind == "line":
        return [("text", document.text)]
    if kind == "file":
        return [("id", raw.decode("utf-8", "replace"))]
    if kind == "row":
        return row_cells(document)
    if raw.lstrip().startswith(b'"'):
        return [("text", decode_string(raw))]
    return [(member.key, value_text(raw[member.value : member.end])) for member in members(raw)]


def keys(document: Document) -> list[str]:
    """The names that `columns` gives."""
    raw = document.raw
    if document.source.kind == "json" and not raw.lstrip().startswith(b'"'):
        return [member.key for member in members(raw)]
    return list(document.source.columns) or [name for name, _ in columns(document)]


def value_text(raw: bytes) -> str:
    """One JSON value as the text of a cell."""
    value = one_line(raw)
    if value.startswith(b'"'):
        return decode_string(value)
    return "" if value == b"null" else value.decode("utf-8")


def row_cells(document: Document) -> list[tuple[str, str]]:
    """The fields of a row under their column's name; fields beyond the header under none."""
    fields = [field_text(raw) for raw in row_fields(document.raw, document.source.delimiter)]
    columns = document.source.columns
    fields += [""] * (len(columns) - len(fields))
    return list(zip((*columns, *("" for _ in fields[len(columns) :])), fields, strict=True))


def row_fields(raw: bytes, delimiter: str) -> list[bytes]:
    """The fields of a CSV/TSV row as they are, quotes included."""
    separator = delimiter.encode()
    return [match.group(1) for match in _field(separator).finditer(separator + raw)]


@cache
def _field(separator: bytes) -> re.Pattern[bytes]:
    """A delimiter and the field behind it, read as the csv module does: quotes count only at a field's start."""
    escaped = re.escape(separator)
    return re.compile(rb'%b((?:"[^"]*(?:""[^"]*)*"?)?[^%b]*)' % (escaped, escaped))


def field_text(raw: bytes) -> str:
    """The value of one field."""
    if not raw.startswith(b'"'):
        return raw.decode("utf-8", "replace")
    inside = re.match(rb'"([^"]*(?:""[^"]*)*)"?', raw)
    value = inside.group(1).replace(b'""', b'"') + raw[inside.end() :] if inside else raw
    return value.decode("utf-8", "replace")


def title_of(document: Document) -> str | None:
    """The title of a structured document: a short text under one of the usual names."""
    if document.source.kind not in {"json", "row"} or document.raw.lstrip().startswith(b'"'):
        return None
    named = {key.casefold(): value for key, value in columns(document)}
    return next((named[key] for key in TITLE_KEYS if named.get(key, "").strip()), None)


def id_of(document: Document) -> str | None:
    """The id of a document, or the path of a whole file; None if it has neither."""
    if document.id:
        return document.id
    return document.raw.decode("utf-8", "replace") if document.source.kind == "file" else None


def id_member(hit: Hit, settings: OutputSettings) -> bytes:
    """The id as a further member of an object without the document; nothing if there is none, or its key is taken."""
    name = None if settings.result_key == "id" else id_of(hit.document)
    return b"" if name is None else b',"id":%b' % encode_string(name)
